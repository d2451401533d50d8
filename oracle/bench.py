"""Trains the same small models here and in PyTorch, side by side, and compares the time of a step.

    python bench.py [--worker PATH] [--sizes S,1M,7M] [--rounds 15] [--threads 2] [--isa avx512_bf16] [--quick] [--out DIR]

Every contender is a process of its own with the same initial weights, tokens, batch, optimizer and number of threads. The
first steps are the gate: losses and gradient norms must agree with PyTorch's float32, or a contender's row is void; what
they take longer than later ones is reported as compiling. Then all take turns, A B C … and back, so that whatever else the
machine does reaches all of them; a turn lasts about half a second. Large products are timed between the rounds. Medians of
steps, their ratios over rounds with 95 % intervals (bootstrap over rounds), operations a second by both counts and their
share of the products' rate go to a table on standard output, DIR/bench-results.json and DIR/bench-results.md.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import bench_report
import contender
import peer_train

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODES = ["f32", "bf16", "autocast", "f32+compile", "bf16+compile", "autocast+compile"]
# Ours: a label whose last word is the precision, and what its configuration has besides. The first is what others are
# compared with.
OURS = [("bf16", []), ("f32", [])]
REFERENCE = [("reference bf16", ["step=reference"])]
# A way to compute attention that loses by more than this without compiling is not compiled.
HOPELESS = 1.5


def said(text):
    print(text, file=sys.stderr, flush=True)


def attempt(make, failures):
    """A contender after its gate; none, with the reason kept, when it does not work here."""
    try:
        return make().gate()
    except contender.Failed as e:
        said(f"left out: {e}")
        failures.append(str(e))
        return None


def variants(mode, eager):
    """PyTorch has two implementations of attention: mode with both, or with the only promising one."""
    precision, *options = mode.split("+")
    times = eager.get(precision)
    if not options or times is None or None in times:
        return [mode, mode + "+math"]
    fused, math = times
    return [m for m, hopeless in ((mode, fused > HOPELESS * math), (mode + "+math", math > HOPELESS * fused)) if not hopeless]


def peers(job, failures):
    """PyTorch in all modes, of each the faster attention; and the one that others must agree with."""
    kept, eager, reference = [], {}, None
    for mode in job.args.modes:
        names = variants(mode, eager)
        tried = [attempt(lambda name=name: contender.peer(job, name), failures) for name in names]
        if "+" not in mode:
            eager[mode] = [c and c.first for c in tried]
        if mode == "f32":
            reference = tried[0]
        tried = sorted((c for c in tried if c), key=lambda c: c.first)
        for loser in tried[1:]:
            loser.finish()
        kept += tried[:1]
    return kept, reference


def take_turns(job, contenders, products):
    """Fills in each contender's median step of every round, in ms."""
    steps = []
    for c in contenders:
        steps.append(max(2, round(job.args.turn * 1e3 / np.median(c.times(3)))))
        c.forget_peak()
    order = list(zip(contenders, steps))
    for i in range(job.args.rounds):
        if i % max(1, job.args.rounds // 5) == 0:
            products.measure()
        for c, n in order:
            c.rounds.append(float(np.median(c.times(n))))
        order.reverse()


def bench(args, size):
    """The rows of one size, the rates of products, and what did not work."""
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        job = contender.Job(size, args, folder)
        job.write_tokens()
        contender.export_weights(job)
        products = contender.Products(job)  # first, so that a cold disk is no part of PyTorch's start-up
        mine = [c for label, sets in args.ours if (c := attempt(lambda: contender.ours(job, label, sets), failures))]  # noqa: B023
        if not mine:
            sys.exit("none of ours works; what was said is above")
        others, reference = peers(job, failures)
        contenders = mine + others
        bench_report.compare(contenders, reference or mine[-1])
        take_turns(job, contenders, products)
        for c in [*contenders, products]:
            c.finish()
    rates = products.summary()
    return bench_report.rows(job, contenders, mine[0], rates), rates, failures


def known_keys(args):
    """The keys at the top of our configuration: older builds cannot choose the step or its instructions."""
    program = pathlib.Path(args.worker).with_name("plasticity")
    schema = subprocess.run([program, "config", "schema"], capture_output=True, text=True, check=False)
    return set(json.loads(schema.stdout)["properties"]) if schema.returncode == 0 else set()


def adapt(args, keys):
    """What the configuration can say of the contenders that were asked for."""
    out = []
    for label, sets in args.ours:
        if any(s.partition("=")[0] not in keys for s in sets if "." not in s):
            said(f"left out: plasticity {label}: this build has no such key")
            continue
        if args.isa != "native" and "isa" in keys and "step=reference" not in sets:
            sets = [*sets, f"isa={args.isa}"]
        out.append((label, sets))
    return out


def contender_of(text):
    """LABEL or LABEL:key=value,key=value."""
    label, _, sets = text.partition(":")
    if label.split()[-1:] not in (["f32"], ["bf16"]):
        raise argparse.ArgumentTypeError(f"{label!r}: the last word must be f32 or bf16")
    return label, [s for s in sets.split(",") if s]


def flags():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--worker", default=str(ROOT / "bin/plasticity-worker"))
    p.add_argument("--sizes", default="", help="of " + ", ".join(peer_train.SIZES) + " (default S,1M,7M)")
    p.add_argument("--shape", default="", help="instead of sizes: JSON with name, sequences, context and shape")
    p.add_argument("--modes", default="", help="of PyTorch, see peer_train.py (default " + ",".join(MODES) + ")")
    p.add_argument("--ours", type=contender_of, action="append", help="one of ours, LABEL:key=value,…; may be repeated (default bf16, f32)")
    p.add_argument("--reference", action="store_true", help="our reference step, too")
    p.add_argument("--rounds", type=int, default=0, help="default 15")
    p.add_argument("--turn", type=float, default=0.5, help="seconds")
    p.add_argument("--threads", type=int, default=min(2, os.cpu_count()))
    p.add_argument("--cpus", default="", help="keep all contenders on these, such as 0,1")
    p.add_argument("--isa", choices=contender.ISAS, default="native", help="forbid better instructions to all contenders")
    p.add_argument("--quick", action="store_true", help="a test of the harness: one size, three modes, three rounds")
    p.add_argument("--json", action="store_true", help="JSON on standard output instead of tables")
    p.add_argument("--out", default=str(ROOT / "build"), help="folder of bench-results.json and .md; empty: none")
    args = p.parse_args()
    args.cpus = {int(c) for c in args.cpus.split(",") if c}
    args.modes = (args.modes or ("f32,autocast,autocast+compile" if args.quick else ",".join(MODES))).split(",")
    args.rounds = args.rounds or (3 if args.quick else 15)
    if args.rounds < 2 or args.threads < 1 or not args.turn > 0:
        p.error("at least two rounds, one thread and a turn that takes time are needed")
    if args.isa != "native" and any("autotune" in mode for mode in args.modes):
        p.error("max-autotune generates code for this CPU whatever --isa says: leave one of them out")
    args.ours = args.ours or OURS + REFERENCE * args.reference
    args.shapes = dict(peer_train.SIZES)
    if args.shape:
        given = json.loads(args.shape)
        args.sizes = given["name"]
        args.shapes[given["name"]] = (peer_train.Shape(**given["shape"]), given["sequences"], given["context"])
    args.sizes = (args.sizes or ("S" if args.quick else "S,1M,7M")).split(",")
    for size in args.sizes:
        if size not in args.shapes:
            p.error(f"no size {size!r}: there are {', '.join(peer_train.SIZES)}")
    return args


def main() -> None:
    args = flags()
    args.ours = adapt(args, known_keys(args))
    result = {"machine": bench_report.machine(args), "rounds": args.rounds, "turn_seconds": args.turn, "products": {}, "rows": [], "failures": []}
    base = ""
    for size in args.sizes:
        try:
            rows, result["products"][size], failures = bench(args, size)
        except contender.Failed as e:
            sys.exit(f"error: {e}")
        result["rows"] += rows
        result["failures"] += failures
        base = rows[0]["contender"]
        said(bench_report.verdict(rows))
    text = bench_report.table(result["rows"], base) + "\n" + bench_report.products_table(result["products"])
    if args.out:
        out = pathlib.Path(args.out)
        out.mkdir(parents=True, exist_ok=True)
        (out / "bench-results.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
        (out / "bench-results.md").write_text(text, encoding="utf-8")
    print(json.dumps(result) if args.json else text + "\n" + bench_report.verdict(result["rows"]))


if __name__ == "__main__":
    main()
