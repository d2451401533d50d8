"""Trains the same small models here and in PyTorch, side by side, and compares the time of a step.

    python bench.py [--worker PATH] [--sizes S,1M,7M] [--rounds 15] [--threads 2] [--compiled] [--out DIR]

Every contender is a process of its own with the same initial weights, tokens, batch, optimizer and number of threads. The
first steps are the gate: the losses of all contenders must agree, or a contender's row is void. Then they take turns, A B C …
and back, so that whatever else the machine does reaches all of them; a turn lasts about a second. Medians of steps, their
ratios over rounds and 95 % intervals (bootstrap over rounds) go to a table on standard output, DIR/bench-results.json and
DIR/bench-results.md.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

import numpy as np
import torch

import peer_train

ROOT = pathlib.Path(__file__).resolve().parent.parent
GATE_STEPS, BATCHES = 20, 64
OPTIMIZER = dict(lr=1e-3, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, clip=1.0)
NO_DECAY = "*norm*"
TOLERANCE = {"f32": 1e-3, "bf16": 2e-2, "autocast": 2e-2}  # of the loss, relative to our f32
EAGER = ["f32", "bf16", "autocast"]
COMPILED = [mode + "+compile" for mode in EAGER]


class Contender:
    """A process that trains when told to."""

    def __init__(self, name, precision, command, threads):
        # glibc's allocator gives large blocks back to the kernel each time unless told not to. Our worker tells it; so that
        # this is no part of the comparison, PyTorch gets the same by the environment.
        env = dict(
            os.environ, OMP_NUM_THREADS=str(threads), MALLOC_ARENA_MAX="1", MALLOC_MMAP_THRESHOLD_=str(32 << 20), MALLOC_TRIM_THRESHOLD_=str(2**31 - 1)
        )
        self.name, self.precision, self.rounds = name, precision, []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended with code {self.process.wait()}; what it said is above")
        answer = json.loads(line)
        if "error" in answer:
            sys.exit(f"{self.name}: {answer['error']}")
        return answer

    def go(self, steps):
        self.process.stdin.write(f"go {steps}\n")
        self.process.stdin.flush()
        turn = self.answer()
        return [float(x) for x in turn["step_ms"]], [float(x) for x in turn.get("loss") or turn["losses"]]

    def finish(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        self.peak_mib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
        self.process.stdin.close()
        self.process.wait()


def ours(args, size, precision, files):
    shape, sequences, context = peer_train.SIZES[size]
    o = OPTIMIZER
    sets = {
        "model.layers": shape.layers, "model.width": shape.width, "model.heads": shape.heads, "model.kv_heads": shape.kv_heads,
        "model.ffn": shape.ffn, "model.vocab": shape.vocab, "model.context": context, "model.rope_theta": shape.rope_theta,
        "model.norm_eps": shape.norm_eps, "precision": precision, "threads": args.threads, "seed": 1, "batch.sequences": sequences,
        "budget.steps": 1 << 20, "schedule.kind": "constant", "schedule.warmup_fraction": 0, "optimizer.lr": o["lr"],
        "optimizer.betas": f"[{o['beta1']}, {o['beta2']}]", "optimizer.eps": o["eps"], "optimizer.weight_decay": o["weight_decay"],
        "optimizer.clip_norm": o["clip"], "optimizer.no_decay": f"['{NO_DECAY}']",
    }  # fmt: skip
    request = {"what": "serve", "config": "", "sets": [f"{k}={v}" for k, v in sets.items()], "steps": 0, "warmup": 0, "tokens": files / "tokens"}
    if precision == "f32":
        request["weights"] = files / "model.safetensors"
    return Contender(f"plasticity {precision}", precision, [args.worker, "bench", json.dumps(request, default=str)], args.threads)


def peer(args, mode, size, files):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIMIZER.items()]
    flags += ["--no-decay", NO_DECAY, f"--size={size}", f"--mode={mode}", f"--threads={args.threads}", f"--model={files}", f"--shard={files / 'shard'}"]
    return Contender(f"PyTorch {mode}", mode.split("+")[0], [sys.executable, peer_train.__file__, *flags], args.threads)


def write_tokens(files, size):
    """Tokens of a skewed distribution, so that there is something to learn, for ours and, behind a header, for PyTorch."""
    shape, sequences, context = peer_train.SIZES[size]
    p = 1.0 / np.arange(1, shape.vocab + 1)
    ids = np.random.default_rng(1).choice(shape.vocab, BATCHES * sequences * context + 1, p=p / p.sum()).astype("<i4")
    header = bytearray(64)
    header[12] = 4  # bytes a token
    (files / "tokens").write_bytes(ids.tobytes())
    (files / "shard").write_bytes(header + ids.tobytes())


def gate(contenders):
    """The first steps of each, compared with those of the first, our f32; also the warm-up."""
    reference = None
    for c in contenders:
        times, losses = c.go(GATE_STEPS)
        reference = np.array(losses) if reference is None else reference
        c.difference = float(np.max(np.abs(np.array(losses) - reference) / reference))
        c.first = float(np.median(times[GATE_STEPS // 2 :]))


def knock_out(contenders):
    """PyTorch has two implementations of attention: of each mode, the faster one goes on."""
    best = {}
    for c in sorted(contenders, key=lambda c: -c.first):
        best[c.name.removesuffix("+math")] = c
    for c in contenders:
        if c not in best.values():
            c.finish()
    return [c for c in contenders if c in best.values()]


def take_turns(contenders, rounds):
    """Fills in each contender's median step of every round, in ms."""
    steps = [max(2, round(1000 / np.median(c.go(3)[0]))) for c in contenders]
    order = list(zip(contenders, steps))
    for _ in range(rounds):
        for c, n in order:
            c.rounds.append(float(np.median(c.go(n)[0])))
        order.reverse()


def interval(values):
    low, high = np.percentile(values, [2.5, 97.5])
    return [float(low), float(high)]


def summary(c, base, rng, tokens):
    """Medians over rounds with intervals; the ratio is of the medians of the same, resampled rounds."""
    own, reference = np.array(c.rounds), np.array(base.rounds)
    picks = rng.integers(len(own), size=(10_000, len(own)))
    median = float(np.median(own))
    return {
        "contender": c.name, "ms": median, "ms_interval": interval(np.median(own[picks], 1)), "tokens_per_second": tokens / median * 1e3,
        "ratio": median / float(np.median(reference)), "ratio_interval": interval(np.median(own[picks], 1) / np.median(reference[picks], 1)),
        "peak_mib": c.peak_mib, "rounds_ms": c.rounds, "loss_difference": c.difference,
        "void": not c.difference <= TOLERANCE[c.precision],
    }  # fmt: skip


def bench(args, size):
    modes = [m for mode in EAGER for m in (mode, mode + "+math")] + (COMPILED if args.compiled else [])
    with tempfile.TemporaryDirectory() as folder:
        files = pathlib.Path(folder)
        write_tokens(files, size)
        contenders = [ours(args, size, p, files) for p in ("f32", "bf16")] + [peer(args, mode, size, files) for mode in modes]
        gate(contenders)
        contenders = knock_out(contenders)
        take_turns(contenders, args.rounds)
        for c in contenders:
            c.finish()
    rng = np.random.default_rng(1)
    _, sequences, context = peer_train.SIZES[size]
    return [{"size": size} | summary(c, contenders[1], rng, sequences * context) for c in contenders]


def table(rows):
    lines = [
        "| size | contender | ms a step | tokens/s | × plasticity bf16 | peak MiB | largest loss difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        (a, b), (c, d) = r["ms_interval"], r["ratio_interval"]
        ratio = "void" if r["void"] else f"{r['ratio']:.2f} ({c:.2f} – {d:.2f})"
        lines.append(f"| {r['size']} | {r['contender']} | {r['ms']:.1f} ({a:.1f} – {b:.1f}) | {r['tokens_per_second']:,.0f} | {ratio} | {r['peak_mib']:.0f} | {r['loss_difference']:.1e} |")
    return "\n".join(lines) + "\n"


def verdict(rows):
    """One line a size: the best eager mode against ours. A row is void when its losses differ."""
    lines = []
    for size in dict.fromkeys(r["size"] for r in rows):
        peers = [r for r in rows if r["size"] == size and r["contender"].startswith("PyTorch") and "compile" not in r["contender"] and not r["void"]]
        best = min(peers, key=lambda r: r["ms"])
        low, high = best["ratio_interval"]
        lines.append(f"{size}: PyTorch's best eager mode ({best['contender']}) takes {best['ratio']:.2f} (95 %: {low:.2f} – {high:.2f}) times as long")
    return "\n".join(lines)


def machine(threads):
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    fields = dict(tuple(x.strip() for x in line.split(":", 1)) for line in text.splitlines() if ":" in line)
    flags = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in fields.get("flags", "").split()]
    return {
        "date": datetime.date.today().isoformat(), "cpu": fields.get("model name", platform.machine()), "flags": flags,
        "threads": threads, "cores": os.cpu_count(), "torch": torch.__version__, "python": platform.python_version(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", default=str(ROOT / "bin/plasticity-worker"))
    parser.add_argument("--sizes", default="S,1M,7M", help="of " + ", ".join(peer_train.SIZES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compiled", action="store_true", help="torch.compile, too: some minutes more")
    parser.add_argument("--out", default=str(ROOT / "build"))
    args = parser.parse_args()
    rows = []
    for size in args.sizes.split(","):
        new = bench(args, size)
        print(table(new), flush=True)
        rows += new
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "bench-results.json").write_text(json.dumps({"machine": machine(args.threads), "rows": rows}, indent=1), encoding="utf-8")
    (out / "bench-results.md").write_text(table(rows), encoding="utf-8")
    print(verdict(rows))


if __name__ == "__main__":
    main()
