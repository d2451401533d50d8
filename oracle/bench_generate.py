"""Samples many prompts here and in transformers' generate, side by side, and compares tokens per second.

    python bench_generate.py [--worker PATH] [--sizes 1M,7M] [--prompts 64] [--samples 16] [--tokens 96] [--rounds 5] [--quick] [--out DIR]

Every contender is a process of its own with the same random weights, prompts of mixed length, number of samples at temperature 1
from the whole vocabulary, number of new tokens (nothing ends early) and threads. transformers tries several batch sizes, and a
static cache with a compiled step, and goes on with what is fastest in each precision. First the gate: greedy tokens of all prompts
must be those of transformers in float32; in bfloat16 the share that agrees is reported. Then all take turns, A B C … and back, a
turn being all samples of all prompts. Medians over rounds and their ratios with 95 % intervals (bootstrap over rounds) go to
standard output, DIR/bench-generate.json and DIR/bench-generate.md.
"""

import argparse
import json
import os
import pathlib
import select
import sys
import tempfile

import numpy as np

import bench_report
import contender
import peer_sample
import peer_train

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONTEXT = 256
GATE_TOKENS = 16
BATCHES = (64, 256, 1024)
# What compiling may take before a static cache is left out.
PATIENCE = 120


def said(text):
    print(text, file=sys.stderr, flush=True)


class Job(contender.Job):
    """What is sampled: the same for all contenders."""

    def __init__(self, size, args, folder):
        args.shapes = {size: (peer_train.SIZES[size][0], 1, CONTEXT)}
        super().__init__(size, args, folder)
        random = np.random.default_rng(1)
        lengths = random.integers(20, 61, args.prompts)
        self.prompts = [random.integers(self.shape.vocab, size=n).tolist() for n in lengths]
        (self.files / "prompts").write_text(json.dumps(self.prompts), encoding="utf-8")


class Sampler(contender.Contender):
    """A process that makes all samples when told to."""

    def ask(self, word, number, patience=None):
        self.process.stdin.write(f"{word} {number}\n")
        self.process.stdin.flush()
        if patience and not select.select([self.process.stdout], [], [], patience)[0]:
            self.process.kill()
            raise contender.Failed(f"{self.name}: no answer to {word} {number} within {patience} s")
        return self.answer()

    def turn(self):
        answer = self.ask("go", 1)
        self.made = answer["tokens"]
        self.rounds.append(float(answer["ms"][0]))


def ours(job, precision, **more):
    """Ours with the weights of the folder that all read."""
    request = {"what": "sample", "config": "", "model": str(job.files / "model"), "prompts": job.prompts, "samples": job.args.samples}
    request |= {"new_tokens": job.args.tokens, "precision": precision, "threads": job.args.threads} | more
    return Sampler(f"plasticity {precision}", precision, [job.args.worker, "bench", json.dumps(request)], job)


def export_weights(job):
    """Writes random weights as a Hugging Face folder."""
    sets = [f"{k}={v}" for k, v in contender.settings(job, "f32").items()]
    ours(job, "f32", model="", sets=sets, hf=str(job.files / "model")).finish()


def peer(job, mode):
    args = job.args
    flags = [f"--model={job.files / 'model'}", f"--prompts={job.files / 'prompts'}", f"--mode={mode}", f"--threads={args.threads}"]
    flags += [f"--samples={args.samples}", f"--tokens={args.tokens}"]
    return Sampler(f"transformers {mode}", mode.partition("+")[0], [sys.executable, peer_sample.__file__, *flags], job)


def best_peer(job, precision, tried):
    """transformers in the fastest of its ways; what all of them reached goes to `tried`."""
    best, best_rate, best_batch = None, 0, 0
    for cache in job.args.caches:
        try:
            c = peer(job, precision + cache)
            rates = {}
            for b in job.args.batches:
                if b <= job.args.prompts * job.args.samples:
                    rates[b] = c.ask("batch", b, PATIENCE if cache else None)["tokens_per_second"]
                    tried.append({"size": job.size, "mode": precision + cache, "batch": b, "tokens_per_second": rates[b]})
                    said(f"{job.size} {c.name}, {b} at a time: {rates[b]:,.0f} tokens/s")
        except contender.Failed as e:
            said(f"left out: {e}")
            tried.append({"size": job.size, "mode": precision + cache, "failed": str(e)})
            if not rates:
                continue
            c = peer(job, precision + cache)
        batch = max(rates, key=rates.get)
        if rates[batch] > best_rate:
            if best:
                best.finish()
            best, best_rate, best_batch = c, rates[batch], batch
        else:
            c.finish()
    if not best:
        raise contender.Failed(f"transformers does not work in {precision}")
    return use(best, best_batch)


def use(c, batch):
    c.ask("use", batch)
    c.name += f", {batch} at a time"
    return c


def gate(contenders, reference):
    """The share of prompts whose greedy tokens are the reference's; all must be in float32."""
    want = reference.ask("greedy", GATE_TOKENS)["tokens"]
    for c in contenders:
        got = want if c is reference else c.ask("greedy", GATE_TOKENS)["tokens"]
        same = [a == b for g, w in zip(got, want, strict=True) for a, b in zip(g, w, strict=True)]
        c.agrees = float(np.mean(same))
        if c.precision == "f32" and c.agrees < 1:
            raise contender.Failed(f"{c.name}: {100 * c.agrees:.2f} % of the greedy tokens are those of {reference.name}: not the same work")


def ratio(of, to):
    """How many times as long `of` takes, of medians over the same resampled rounds."""
    a, b = np.array(of.rounds), np.array(to.rounds)
    picks = np.random.default_rng(1).integers(len(a), size=(10_000, len(a)))
    return float(np.median(a) / np.median(b)), bench_report.interval(np.median(a[picks], 1) / np.median(b[picks], 1))


def bench(args, size):
    """The rows of one size, and what transformers tried."""
    tried = []
    with tempfile.TemporaryDirectory() as folder:
        job = Job(size, args, folder)
        export_weights(job)
        mine = [ours(job, p, batch=args.batch) for p in args.precisions]
        if args.peers:
            peers = [use(peer(job, mode), batch) for mode, batch in args.peers]
        else:
            peers = [best_peer(job, p, tried) for p in args.precisions]
        contenders = mine + peers
        gate(contenders, next((c for c in peers if c.precision == "f32"), peers[0]))
        for c in mine:
            c.ask("go", 1)
        for c in contenders:
            c.forget_peak()
        order = list(contenders)
        for _ in range(args.rounds):
            for c in order:
                c.turn()
            order.reverse()
        for c in contenders:
            c.finish()
    best = min(peers, key=lambda c: np.median(c.rounds))
    rows = []
    for c in contenders:
        times, interval = ratio(best, c)
        rows.append({
            "size": size, "contender": c.name, "parameters": c.ready["parameters"], "tokens": c.made, "ms": float(np.median(c.rounds)),
            "rounds_ms": c.rounds, "tokens_per_second": c.made / float(np.median(c.rounds)) * 1e3, "times_best_peer": times,
            "times_interval": interval, "best_peer": best.name, "greedy_agrees": c.agrees, "peak_mib": c.peak_mib,
        })  # fmt: skip
    return rows, tried


def table(rows):
    lines = [
        "| size | contender | tokens/s | × transformers' best | seconds | greedy tokens as transformers f32 | peak MiB |",
        "|" + "---|" * 7,
    ]
    for r in rows:
        low, high = r["times_interval"]
        cells = [
            r["size"], r["contender"], f"{r['tokens_per_second']:,.0f}", f"{r['times_best_peer']:.2f} ({low:.2f} – {high:.2f})",
            f"{r['ms'] / 1e3:.2f}", f"{100 * r['greedy_agrees']:.1f} %", f"{r['peak_mib']:.0f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def verdict(rows):
    lines = []
    for r in rows:
        if r["contender"].startswith("plasticity"):
            low, high = r["times_interval"]
            lines.append(f"{r['size']}: {r['contender']} makes {r['times_best_peer']:.2f} (95 %: {low:.2f} – {high:.2f}) times the tokens of {r['best_peer']}")
    return "\n".join(lines)


def flags():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--worker", default=str(ROOT / "bin/plasticity-worker"))
    p.add_argument("--sizes", default="1M,7M", help="of " + ", ".join(peer_train.SIZES))
    p.add_argument("--precisions", default="f32,bf16", type=lambda text: text.split(","))
    p.add_argument("--prompts", type=int, default=0, help="default 64")
    p.add_argument("--samples", type=int, default=16, help="of each prompt")
    p.add_argument("--tokens", type=int, default=0, help="new ones of each sample (default 96)")
    p.add_argument("--caches", default="dynamic,static", help="of transformers, that are tried")
    p.add_argument("--batches", default=",".join(map(str, BATCHES)), help="of transformers, in sequences, that are tried")
    p.add_argument("--peers", default="", help="transformers as it is, MODE:BATCH,…, instead of what is found to be its fastest")
    p.add_argument("--batch", type=int, default=0, help="samples that ours continues at once; 0: its own choice")
    p.add_argument("--rounds", type=int, default=0, help="default 5")
    p.add_argument("--threads", type=int, default=min(2, os.cpu_count()))
    p.add_argument("--cpus", default="", help="keep all contenders on these, such as 0,1")
    p.add_argument("--quick", action="store_true", help="a test of the harness: eight prompts, 32 tokens, two rounds")
    p.add_argument("--out", default=str(ROOT / "build"), help="folder of bench-generate.json and .md; empty: none")
    args = p.parse_args()
    args.cpus = {int(c) for c in args.cpus.split(",") if c}
    args.isa = "native"
    args.caches = ["" if c == "dynamic" else "+" + c for c in args.caches.split(",")]
    args.peers = [(mode, int(batch)) for mode, _, batch in (p.partition(":") for p in args.peers.split(",") if p)]
    args.batches = [int(b) for b in args.batches.split(",")]
    args.prompts = args.prompts or (8 if args.quick else 64)
    args.tokens = args.tokens or (32 if args.quick else 96)
    args.rounds = args.rounds or (2 if args.quick else 5)
    if args.rounds < 2 or min(args.threads, args.prompts, args.samples) < 1 or not 1 <= args.tokens <= CONTEXT - 60:
        p.error(f"at least two rounds, a thread, a prompt and a sample are needed, and 1 to {CONTEXT - 60} tokens")
    for size in args.sizes.split(","):
        if size not in peer_train.SIZES:
            p.error(f"no size {size!r}: there are {', '.join(peer_train.SIZES)}")
    return args


def main() -> None:
    args = flags()
    result = {"machine": bench_report.machine(args), "prompts": args.prompts, "samples": args.samples, "new_tokens": args.tokens, "rounds": args.rounds}
    result |= {"transformers": peer_sample.transformers.__version__, "tried": [], "rows": []}
    for size in args.sizes.split(","):
        try:
            rows, tried = bench(args, size)
        except contender.Failed as e:
            sys.exit(f"error: {e}")
        result["rows"] += rows
        result["tried"] += tried
        said(verdict(rows))
    text = table(result["rows"])
    if args.out:
        out = pathlib.Path(args.out)
        out.mkdir(parents=True, exist_ok=True)
        (out / "bench-generate.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
        (out / "bench-generate.md").write_text(text, encoding="utf-8")
    print(text + "\n" + verdict(result["rows"]))


if __name__ == "__main__":
    main()
