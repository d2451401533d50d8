"""The processes that bench.py measures: our worker, PyTorch, and products as a measure of the machine.

All speak JSON lines: one when they are ready, then one for each "go N".
"""

import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np

import peer_train

GATE_STEPS = 20
OPTIMIZER = dict(lr=1e-3, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, clip=1.0)
NO_DECAY = "*norm*"

# What makes each library leave instructions out: oneDNN (bfloat16 and float32 products), MKL (float32 products), ATen's own
# kernels and what torch.compile generates. Our engine is told by its configuration, and by PLASTICITY_ISA.
ISAS = {
    "native": {},
    "avx512_bf16": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16", "ATEN_CPU_CAPABILITY": "avx512", "PLASTICITY_ISA": "avx512_bf16"},
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "ATEN_CPU_CAPABILITY": "avx512", "PLASTICITY_ISA": "avx512"},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "PLASTICITY_ISA": "avx2"},
}


class Failed(Exception):
    """A contender that does not work; its own words are on standard error."""


class Job:
    """What is trained, and how: the same for all contenders."""

    def __init__(self, size, args, folder):
        self.size, self.args, self.files = size, args, pathlib.Path(folder)
        self.shape, self.sequences, self.context = args.shapes[size]
        self.tokens = self.sequences * self.context

    def write_tokens(self, batches=64):
        """Tokens of a skewed distribution, so that there is something to learn, for ours and, behind a header, for PyTorch."""
        p = 1.0 / np.arange(1, self.shape.vocab + 1)
        ids = np.random.default_rng(1).choice(self.shape.vocab, batches * self.tokens + 1, p=p / p.sum()).astype("<i4")
        header = bytearray(64)
        header[12] = 4  # bytes a token
        (self.files / "tokens").write_bytes(ids.tobytes())
        (self.files / "shard").write_bytes(header + ids.tobytes())


class Contender:
    """A process that trains when told to."""

    def __init__(self, name, precision, command, job):
        self.name, self.precision, self.rounds = name, precision, []
        pipes, environment = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True), self.environment(job)
        began = time.perf_counter()
        try:
            self.process = subprocess.Popen(command, env=environment, preexec_fn=pinned(job.args.cpus), **pipes)
        except OSError as e:
            raise Failed(f"{name} cannot be started: {e}") from e
        self.ready = self.answer()
        self.startup = time.perf_counter() - began

    def environment(self, job):
        # glibc's allocator gives large blocks back to the kernel each time unless told not to. Our worker tells it; so that
        # this is no part of the comparison, PyTorch gets the same by the environment. Each compiles with an empty cache.
        allocator = dict(MALLOC_ARENA_MAX="1", MALLOC_MMAP_THRESHOLD_=str(32 << 20), MALLOC_TRIM_THRESHOLD_=str(2**31 - 1))
        cache = job.files / ("compiled-" + self.name.replace(" ", "-"))
        return dict(os.environ, OMP_NUM_THREADS=str(job.args.threads), TORCHINDUCTOR_CACHE_DIR=str(cache), **allocator, **ISAS[job.args.isa])

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.name} ended with code {self.process.wait()}; what it said is above")
        answer = json.loads(line)
        if "error" in answer:
            self.process.wait()
            raise Failed(f"{self.name}: {answer['error']}")
        return answer

    def go(self, steps):
        try:
            self.process.stdin.write(f"go {steps}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # its end is what there is to read
        return self.answer()

    def times(self, steps):
        return [float(x) for x in self.go(steps)["step_ms"]]

    def gate(self):
        """The first steps, which warm it up, too: what they add to the time of later ones is compiling, mostly."""
        turn = self.go(GATE_STEPS)
        times = np.array(turn["step_ms"], float)
        self.first = float(np.median(times[GATE_STEPS // 2 :]))
        self.warmup = max(0.0, float(times.sum() - GATE_STEPS * self.first)) / 1e3
        self.losses, self.norms = np.array(turn["losses"], float), np.array(turn["grad_norms"], float)
        self.peak_at_start = self.peak()
        return self

    def forget_peak(self):
        """Lets the kernel count the peak of resident memory anew, without start and compiling."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", encoding="ascii")

    def peak(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024

    def finish(self):
        self.peak_mib = self.peak()
        self.process.stdin.close()
        self.process.wait()


def pinned(cpus):
    """Keeps a child on these CPUs; none: where the kernel likes."""
    return (lambda: os.sched_setaffinity(0, cpus)) if cpus else None


def settings(job, precision):
    """The configuration of our side."""
    shape, o = job.shape, OPTIMIZER
    return {
        "model.family": shape.family, "model.layers": shape.layers, "model.width": shape.width, "model.heads": shape.heads,
        "model.kv_heads": shape.kv_heads, "model.ffn": shape.ffn, "model.vocab": shape.vocab, "model.context": job.context,
        "model.rope_theta": shape.rope_theta, "model.norm_eps": shape.norm_eps, "precision": precision, "threads": job.args.threads,
        "seed": 1, "batch.sequences": job.sequences, "budget.steps": 1 << 20, "schedule.kind": "constant",
        "schedule.warmup_fraction": 0, "optimizer.lr": o["lr"], "optimizer.betas": f"[{o['beta1']}, {o['beta2']}]",
        "optimizer.eps": o["eps"], "optimizer.weight_decay": o["weight_decay"], "optimizer.clip_norm": o["clip"],
        "optimizer.no_decay": f"['{NO_DECAY}']",
    }  # fmt: skip


def worker(job, label, precision, sets, **more):
    sets = [f"{k}={v}" for k, v in settings(job, precision).items()] + list(sets)
    request = {"what": "serve", "config": "", "sets": sets, "tokens": str(job.files / "tokens")} | more
    return Contender(label, precision, [job.args.worker, "bench", json.dumps(request)], job)


def export_weights(job):
    """Writes the initial weights that all start from."""
    worker(job, "plasticity", "f32", [], weights=str(job.files / "model.safetensors")).finish()


def ours(job, label, sets):
    """A contender of ours; its precision is the last word of the label."""
    c = worker(job, f"plasticity {label}", label.split()[-1], sets)
    if c.ready["step"] not in label:
        c.name += f" ({c.ready['step']})"
    return c


def peer(job, mode):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIMIZER.items()]
    flags += ["--no-decay", NO_DECAY, f"--shape={json.dumps(job.shape.__dict__)}", f"--sequences={job.sequences}", f"--context={job.context}"]
    flags += [f"--mode={mode}", f"--threads={job.args.threads}", f"--model={job.files}", f"--shard={job.files / 'shard'}"]
    return Contender(f"PyTorch {mode}", mode.split("+")[0], [sys.executable, peer_train.__file__, *flags], job)


class Products(Contender):
    """Large matrix products in PyTorch: what the machine gives at most, in the same minutes. See products.py."""

    def __init__(self, job):
        threads = sorted({1, job.args.threads})
        command = [sys.executable, str(pathlib.Path(__file__).with_name("products.py")), *map(str, threads)]
        super().__init__("products", "", command, job)
        self.rates = []

    def measure(self):
        self.rates.append(self.go(1)["gflops"])

    def summary(self):
        """Median and extremes of each product's rate over the measurements, in GFLOP/s."""
        out = {}
        for key in self.rates[0]:
            values = [r[key] for r in self.rates]
            out[key] = {"median": float(np.median(values)), "least": min(values), "most": max(values)}
        return out
