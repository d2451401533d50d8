"""What bench.py says of its measurements: statistics, a table, one line a size."""

import datetime
import os
import pathlib
import platform

import numpy as np
import torch

# Of loss and gradient norm in the first steps, relative to the reference.
TOLERANCE = {"f32": (1e-3, 2e-2), "bf16": (2e-2, 2e-1), "autocast": (2e-2, 2e-1)}


def interval(values):
    low, high = np.percentile(values, [2.5, 97.5])
    return [float(low), float(high)]


def compare(contenders, reference):
    """The largest relative differences of losses and gradient norms; beyond the tolerance a row is void."""
    for c in contenders:
        c.difference = float(np.max(np.abs(c.losses - reference.losses) / reference.losses))
        c.norm_difference = float(np.max(np.abs(c.norms - reference.norms) / reference.norms))
        loss, norm = TOLERANCE[c.precision]
        c.void = not (c.difference <= loss and c.norm_difference <= norm)


def rows(job, contenders, base, products):
    return [{"size": job.size} | row(job, c, base, products) for c in contenders]


def row(job, c, base, products):
    """Medians over rounds with intervals; the ratio is of the medians of the same, resampled rounds."""
    own, reference = np.array(c.rounds), np.array(base.rounds)
    picks = np.random.default_rng(1).integers(len(own), size=(10_000, len(own)))
    median = float(np.median(own))
    full, causal = (flops * job.tokens / median / 1e6 for flops in job.shape.flops_per_token(job.context))
    product = products[("f32" if c.precision == "f32" else "bf16") + f" × {job.args.threads}"]["median"]
    return {
        "contender": c.name, "step": c.ready.get("step", ""), "ms": median, "ms_interval": interval(np.median(own[picks], 1)),
        "ms_best": float(min(own)), "tokens_per_second": job.tokens / median * 1e3,
        "ratio": median / float(np.median(reference)), "ratio_interval": interval(np.median(own[picks], 1) / np.median(reference[picks], 1)),
        "gflops_full": full, "gflops_causal": causal, "share_full": full / product, "share_causal": causal / product,
        "peak_mib": c.peak_mib, "peak_at_start_mib": c.peak_at_start, "startup_seconds": c.startup, "warmup_seconds": c.warmup,
        "rounds_ms": c.rounds, "loss_difference": c.difference, "norm_difference": c.norm_difference, "void": c.void,
    }  # fmt: skip


def table(rows, base):
    lines = [
        f"| size | contender | ms a step | tokens/s | × {base} | GFLOP/s full / causal | % of products | peak MiB (at start) "
        "| start-up s | compiling s | largest difference of loss / norm |",
        "|" + "---|" * 11,
    ]
    for r in rows:
        (a, b), (c, d) = r["ms_interval"], r["ratio_interval"]
        ratio = "void" if r["void"] else f"{r['ratio']:.2f} ({c:.2f} – {d:.2f})"
        cells = [
            r["size"], r["contender"], f"{r['ms']:.1f} ({a:.1f} – {b:.1f})", f"{r['tokens_per_second']:,.0f}", ratio,
            f"{r['gflops_full']:.0f} / {r['gflops_causal']:.0f}", f"{100 * r['share_full']:.0f} / {100 * r['share_causal']:.0f}",
            f"{r['peak_mib']:.0f} ({r['peak_at_start_mib']:.0f})", f"{r['startup_seconds']:.1f}",
            f"{r['warmup_seconds']:.1f}" if "+compile" in r["contender"] or "+autotune" in r["contender"] else "–",
            f"{r['loss_difference']:.1e} / {r['norm_difference']:.1e}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def products_table(products):
    """The products of each size's run; a wide range means that the machine was not quiet."""
    lines = ["| size | product × threads | GFLOP/s, median | range |", "|---|---|---|---|"]
    for size, rates in products.items():
        lines += [f"| {size} | {name} | {r['median']:.0f} | {r['least']:.0f} – {r['most']:.0f} |" for name, r in rates.items()]
    return "\n".join(lines) + "\n"


def verdict(rows):
    """One line a size: PyTorch's best mode against ours, with and without compiling. Void rows do not count."""
    lines = []
    for size in dict.fromkeys(r["size"] for r in rows):
        peers = [r for r in rows if r["size"] == size and r["contender"].startswith("PyTorch") and not r["void"]]
        eager = [r for r in peers if "+compile" not in r["contender"] and "+autotune" not in r["contender"]]
        for what, some in (("best mode", peers), ("best eager mode", eager)):
            if not some:
                continue
            best = min(some, key=lambda r: r["ms"])
            low, high = best["ratio_interval"]
            lines.append(f"{size}: PyTorch's {what} ({best['contender']}) takes {best['ratio']:.2f} (95 %: {low:.2f} – {high:.2f}) times as long")
    return "\n".join(lines)


def machine(args):
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    fields = dict(tuple(x.strip() for x in line.split(":", 1)) for line in text.splitlines() if ":" in line)
    flags = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in fields.get("flags", "").split()]
    return {
        "date": datetime.date.today().isoformat(), "cpu": fields.get("model name", platform.machine()), "flags": flags,
        "isa": args.isa, "threads": args.threads, "cpus": sorted(args.cpus), "cores": os.cpu_count(), "load": os.getloadavg()[0],
        "torch": torch.__version__, "python": platform.python_version(),
    }  # fmt: skip
