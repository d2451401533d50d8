"""Our training step against PyTorch's on one GPU: the same weights, tokens, batch and optimizer, in turns.

    python gpu_bench.py [--worker PATH] [--sizes 7M,1B] [--modes MODE,…] [--rounds 10] [--seconds 1.0] [--out DIR]

Ours stays in the device's memory from beginning to end. The contenders of PyTorch come one after another, each a process
of its own: warm-up and gate (its losses must agree with ours, or its row is void), then rounds, ours and theirs in turns,
A B B A …, a turn about --seconds long. Of each contender: the median of its turns, and the median over rounds of its
time divided by ours with a bootstrap interval. MFU counts 6·N + 12·L·d·s a token (full) and half the attention (causal)
against the 989.5 TFLOP/s of dense bfloat16 that an H100 or H200 has.

Results go to standard output, DIR/gpu-bench.json and DIR/gpu-bench.md.
"""

import argparse
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch

import peer_train

ROOT = pathlib.Path(__file__).resolve().parent.parent
OPTIMIZER = dict(beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, clip=1.0)
NO_DECAY = "*norm*"
PEAK = 989.5e12
GATE_STEPS = 20
TOLERANCE = 2e-2  # of the loss, relative to ours
SEQUENCES = {"7M": 32, "1B": 12}
MODES = {
    "7M": ["bf16+graphs", "autocast+graphs", "bf16", "autocast", "bf16+compile", "bf16+autotune"],
    "1B": ["autocast+compile", "bf16+compile", "autocast", "bf16+autotune"],
}


class Contender:
    """A process that trains when told to."""

    def __init__(self, name, command):
        self.name, self.turns, self.peak = name, [], 0
        self.started = time.perf_counter()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.facts = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with code {self.process.wait()}; what it said is above")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        return answer

    def go(self, steps):
        self.process.stdin.write(f"go {steps}\n")
        self.process.stdin.flush()
        turn = self.answer()
        self.peak, self.last = turn.get("device_peak_bytes", 0), turn
        return [float(x) for x in turn["step_ms"]], [float(x) for x in turn.get("loss") or turn["losses"]]

    def gate(self):
        """The first steps, which also compile; then the steps that fill a turn."""
        _, losses = self.go(GATE_STEPS)
        self.warm_seconds = time.perf_counter() - self.started
        times, _ = self.go(5)
        self.estimate = float(np.mean(times))
        return np.array(losses)

    def finish(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def ours(args, size, files):
    shape, _, context = peer_train.SIZES[size]
    o = OPTIMIZER
    sets = {
        "model.layers": shape.layers, "model.width": shape.width, "model.heads": shape.heads, "model.kv_heads": shape.kv_heads,
        "model.ffn": shape.ffn, "model.vocab": shape.vocab, "model.context": context, "model.rope_theta": shape.rope_theta,
        "model.norm_eps": shape.norm_eps, "precision": "bf16", "device": "cuda", "seed": 1, "batch.sequences": SEQUENCES[size],
        "batch.micro_sequences": SEQUENCES[size], "budget.steps": 1 << 20, "schedule.kind": "constant", "schedule.warmup_fraction": 0,
        "optimizer.lr": args.lr, "optimizer.betas": f"[{o['beta1']}, {o['beta2']}]", "optimizer.eps": o["eps"],
        "optimizer.weight_decay": o["weight_decay"], "optimizer.clip_norm": o["clip"], "optimizer.no_decay": f"['{NO_DECAY}']",
    }  # fmt: skip
    request = {
        "what": "serve", "config": "", "sets": [f"{k}={v}" for k, v in sets.items()],
        "tokens": str(files / "tokens"), "weights": str(files / "model.safetensors"),
    }  # fmt: skip
    return Contender("plasticity", [args.worker, "bench", json.dumps(request)])


def peer(args, mode, size, files):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in (OPTIMIZER | {"lr": args.lr}).items()]
    flags += ["--no-decay", NO_DECAY, f"--size={size}", f"--mode={mode}", "--threads=4", "--device=cuda"]
    flags += [f"--model={files}", f"--shard={files / 'shard'}", f"--sequences={SEQUENCES[size]}"]
    return Contender(f"PyTorch {mode}", [sys.executable, peer_train.__file__, *flags])


def write_tokens(files, size):
    """Tokens of a skewed distribution, for ours and, behind a header, for PyTorch."""
    shape, _, context = peer_train.SIZES[size]
    p = 1.0 / np.arange(1, shape.vocab + 1)
    ids = np.random.default_rng(1).choice(shape.vocab, 64 * SEQUENCES[size] * context + 1, p=p / p.sum()).astype("<i4")
    header = bytearray(64)
    header[12] = 4  # bytes a token
    (files / "tokens").write_bytes(ids.tobytes())
    (files / "shard").write_bytes(header + ids.tobytes())


def interval(values):
    low, high = np.percentile(values, [2.5, 97.5])
    return [float(low), float(high)]


def flops(size):
    """Operations a token, full and causal: config.Model.FLOPsPerToken."""
    s, _, context = peer_train.SIZES[size]
    head = s.width // s.heads
    layer = 2 * s.width * s.width + 2 * s.width * s.kv_heads * head + 3 * s.width * s.ffn
    matmul = 6 * (s.layers * layer + s.width * s.vocab)
    attention = 12 * s.layers * s.width * context
    return matmul + attention, matmul + attention / 2


def row(size, c, times, ratios, difference, rng):
    tokens = SEQUENCES[size] * peer_train.SIZES[size][2]
    full, causal = flops(size)
    median = float(np.median(times))
    rate = tokens / median * 1e3
    ratios = np.array(ratios)
    picks = rng.integers(len(ratios), size=(10_000, len(ratios)))
    return {
        "size": size, "contender": c.name, "tokens_per_step": tokens, "ms": median, "ms_turns": times, "tokens_per_second": rate,
        "mfu_full": rate * full / PEAK, "mfu_causal": rate * causal / PEAK, "ratio": float(np.median(ratios)),
        "ratio_interval": interval(np.median(ratios[picks], 1)), "peak_gib": c.peak / 2**30, "warm_seconds": c.warm_seconds,
        "loss_difference": difference, "void": not difference <= TOLERANCE,
    }  # fmt: skip


def duel(mine, theirs, args):
    """Turns A B B A …: the mean step of each turn, and theirs divided by ours of the same round."""
    a, b = [], []
    n, m = (max(2, round(args.seconds * 1e3 / c.estimate)) for c in (mine, theirs))
    for i in range(args.rounds):
        for who in ("AB", "BA")[i % 2]:
            c, turns, steps = (mine, a, n) if who == "A" else (theirs, b, m)
            turns.append(float(np.mean(c.go(steps)[0])))
    return a, b


def measure(args, size, keep):
    """Rows of a size; `keep` is called with all so far whenever there is a new one."""
    rng = np.random.default_rng(1)
    rows = []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        files = pathlib.Path(folder)
        write_tokens(files, size)
        mine = ours(args, size, files)
        reference = mine.gate()
        print(f"{size}: {mine.facts.get('hardware')}, {mine.last.get('launch')}, {mine.estimate:.2f} ms, warm after {mine.warm_seconds:.0f} s", flush=True)
        all_mine = []
        for mode in args.modes.split(",") if args.modes else MODES[size]:
            try:
                theirs = peer(args, mode, size, files)
                losses = theirs.gate()
            except RuntimeError as e:
                print(f"{size}: {e}", flush=True)
                continue
            a, b = duel(mine, theirs, args)
            difference = float(np.max(np.abs(losses - reference) / reference))
            rows.append(row(size, theirs, b, np.array(b) / np.array(a), difference, rng))
            print(line(rows[-1]), flush=True)
            all_mine += a
            theirs.finish()
            keep([own(size, mine, all_mine, rng), *rows])
        print(line(own(size, mine, all_mine, rng)), flush=True)
        mine.finish()
    return [own(size, mine, all_mine, rng), *rows]


def own(size, mine, turns, rng):
    r = row(size, mine, turns or [mine.estimate], [1.0], 0.0, rng)
    last = mine.last
    return r | {"planned_gib": last.get("device_planned_bytes", 0) / 2**30, "hardware": mine.facts.get("hardware"), "launch": last.get("launch")}


HEADER = [
    "| size | contender | ms a step | tokens/s | MFU full | MFU causal | × plasticity | peak GiB | warm-up s | largest loss difference |",
    "|---|---|---|---|---|---|---|---|---|---|",
]


def line(r):
    low, high = r["ratio_interval"]
    ratio = "void" if r["void"] else f"{r['ratio']:.2f} ({low:.2f} – {high:.2f})"
    return (
        f"| {r['size']} | {r['contender']} | {r['ms']:.3g} | {r['tokens_per_second']:,.0f} | {r['mfu_full']:.1%} | {r['mfu_causal']:.1%} | {ratio} "
        f"| {r['peak_gib']:.1f} | {r['warm_seconds']:.0f} | {r['loss_difference']:.1e} |"
    )


def machine():
    smi = subprocess.run(
        ["nvidia-smi", "--query-gpu=name,driver_version,clocks.sm,power.draw,temperature.gpu", "--format=csv,noheader"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return {
        "date": datetime.date.today().isoformat(), "gpu": smi.stdout.strip(), "torch": torch.__version__, "cudnn": torch.backends.cudnn.version(),
        "cuda": torch.version.cuda, "cores": os.cpu_count(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", default=str(ROOT / "bin/plasticity-worker"))
    parser.add_argument("--sizes", default="7M,1B")
    parser.add_argument("--modes", default="", help="PyTorch's, separated by commas; none: a choice for each size")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--sequences", type=int, default=0, help="of a step; 0: a choice for each size")
    parser.add_argument("--out", default=str(ROOT / "build"))
    args = parser.parse_args()
    if args.sequences:
        SEQUENCES.update(dict.fromkeys(SEQUENCES, args.sequences))
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    print(machine(), flush=True)
    rows = []

    def save(new):
        every = rows + new
        (out / "gpu-bench.json").write_text(json.dumps({"machine": machine(), "rows": every}, indent=1), encoding="utf-8")
        (out / "gpu-bench.md").write_text("\n".join(HEADER + [line(r) for r in every]) + "\n", encoding="utf-8")

    for size in args.sizes.split(","):
        new = measure(args, size, save)
        save(new)
        rows += new


if __name__ == "__main__":
    main()
