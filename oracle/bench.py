"""Our training step against PyTorch's, on this machine, interleaved. `make bench` calls it.

    python oracle/bench.py [--sizes S 1M 7M] [--rounds 15] [--threads 2] [--json FILE]

For each size, first the gate: from the same weights, on the same batches, ours (`plasticity train`) and
PyTorch (peer_train.py) must have the same losses and gradient norms for 20 steps, in float32 and in
bfloat16; a size that fails it has no row. Then every contender is a process of its own that stays. All
modes of PyTorch are tried; those that are not clearly slower than the best of their kind go into the
rounds with ours, in turns (A B C, C B A, …). Reported are the medians of the rounds, the scaled
median absolute deviation, and the ratio of the medians with a bootstrap interval over paired rounds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import numpy as np
from safetensors.torch import save_file

import peer_train

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data/sotu-512"
EAGER = ["f32", "bf16", "autocast", "f32+math", "bf16+math", "autocast+math"]
COMPILED = [f"{mode}+compile" for mode in ("f32", "bf16", "autocast", "autocast+math")]
GATE_STEPS = 20
# Largest difference allowed in the gate, relative: of a loss, and of a gradient norm.
TOLERANCE = {"f32": (1e-3, 1e-2), "bf16": (1e-2, 1e-1)}
PEER_PRECISION = {"f32": "f32", "bf16": "autocast"}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# ---- what is compared --------------------------------------------------------------------------


def settings(size: str, precision: str, threads: int) -> list[str]:
    """The --set values that make a config of ours the same training as peer_train.py's defaults."""
    _, sequences, context = peer_train.SIZES[size]
    return [
        f"model.preset=llama2-{size.lower()}", f"model.context={context}", f"batch.sequences={sequences}",
        f"precision={precision}", f"threads={threads}", "optimizer.lr=3e-3", "optimizer.weight_decay=0.1",
        "schedule.kind=constant", "schedule.warmup_fraction=0",
    ]  # fmt: skip


def write_model(size: str, folder: Path) -> None:
    """A Hugging Face folder with fresh weights of a size."""
    shape, _, context = peer_train.SIZES[size]
    model = peer_train.Llama(shape, context)
    peer_train.load_weights(model, "")
    folder.mkdir()
    save_file(dict(model.state_dict()), folder / "model.safetensors", {"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "attention_bias": False,
        "hidden_size": shape.width, "intermediate_size": shape.ffn, "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads, "vocab_size": shape.vocab,
        "max_position_embeddings": context, "rms_norm_eps": shape.norm_eps, "rope_theta": shape.rope_theta,
        "tie_word_embeddings": False, "torch_dtype": "float32",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))


def our_losses(size: str, precision: str, threads: int, model: Path, out: Path) -> np.ndarray:
    """Loss and gradient norm [steps, 2] of ours, through the whole product."""
    sets = settings(size, precision, threads) + [
        f"init={model}", f"data.train={DATA}/train", f"data.val={DATA}/val", "data.order=sequential",
        f"budget.steps={GATE_STEPS}", "metrics.log_every_steps=1", "eval.tokens=4096",
    ]  # fmt: skip
    command = [ROOT / "bin/plasticity", "--quiet", "train", "--config", ROOT / "sweeps/configs/llama2-s.yaml", "--out", out]
    subprocess.run([*command, *(f"--set={s}" for s in sets)], check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return np.array([[float(line["loss"]), float(line["grad_norm"])] for line in lines])


def gate(size: str, threads: int) -> bool:
    """Whether both sides train the same."""
    shard = sorted((DATA / "train").glob("*.bin"))[0]
    passed = True
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model")
        write_model(size, model)
        for precision, tolerance in TOLERANCE.items():
            ours = our_losses(size, precision, threads, model, Path(folder, precision))
            mode = PEER_PRECISION[precision]
            with Peer(size, mode, threads, f"--model={model}", f"--shard={shard}") as peer:
                answer = peer.go(GATE_STEPS)
            theirs = np.array([answer["loss"], answer["grad_norm"]]).T
            worst = np.max(np.abs(ours - theirs) / np.abs(theirs), axis=0)
            ok = bool(np.all(worst <= tolerance))
            say(f"{size}: gate {precision} against {mode}, {GATE_STEPS} steps: largest relative difference "
                f"{worst[0]:.1e} in loss, {worst[1]:.1e} in gradient norm: {'equal' if ok else 'NOT EQUAL'}")  # fmt: skip
            passed = passed and ok
    return passed


# ---- contenders --------------------------------------------------------------------------------


class Contender:
    """A process that makes N training steps on "go N" and answers with a line of JSON."""

    def __init__(self, name: str, command: list):
        self.name = name
        env = os.environ | {"PYTHONWARNINGS": "ignore", "TORCH_LOGS": "-all"}
        self.process = subprocess.Popen(
            [str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env=env, cwd=ROOT,
        )  # fmt: skip
        self.facts = self.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def read(self) -> dict:
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"ended with code {self.process.wait()}"}
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        return answer

    def go(self, steps: int) -> dict:
        self.process.stdin.write(f"go {steps}\n")
        self.process.stdin.flush()
        return self.read()

    def milliseconds(self, steps: int) -> float:
        return float(np.mean(self.go(steps)["step_ms"]))


class Peer(Contender):
    def __init__(self, size: str, mode: str, threads: int, *more: str):
        script = Path(__file__).with_name("peer_train.py")
        super().__init__(mode, [sys.executable, script, "--size", size, "--mode", mode, "--threads", threads, *more])


class Ours(Contender):
    def __init__(self, size: str, precision: str, threads: int):
        request = {
            "what": "serve", "config": str(ROOT / "sweeps/configs/llama2-s.yaml"),
            "sets": [*settings(size, precision, threads), "budget.steps=1000000"], "steps": 1, "warmup": 0,
        }  # fmt: skip
        super().__init__(f"plasticity {precision}", [ROOT / "bin/plasticity-worker", "bench", json.dumps(request)])


# ---- measuring ---------------------------------------------------------------------------------


def screen(size: str, modes: list[str], threads: int, keep: float) -> dict[str, float]:
    """ms a step of each mode in a short trial; those above keep × the best are not measured further."""
    trial = {}
    for mode in modes:
        try:
            with Peer(size, mode, threads) as peer:
                peer.go(3)  # warm-up; compiles
                trial[mode] = float(np.median(peer.go(5)["step_ms"]))
            say(f"{size}: trial of PyTorch {mode}: {trial[mode]:.1f} ms")
        except RuntimeError as e:
            say(f"{size}: PyTorch {mode} cannot be measured: {str(e)[:300]}")
    limit = keep * min(trial.values(), default=0)
    return {mode: ms for mode, ms in trial.items() if ms <= limit}


def rounds(contenders: list[Contender], count: int) -> np.ndarray:
    """ms a step [rounds, contenders], in turns, forwards and backwards."""
    steps = []
    for c in contenders:
        c.go(5)  # warm-up; compiles
        steps.append(max(2, min(50, round(400 / c.milliseconds(3)))))
    out = np.zeros((count, len(contenders)))
    for i in range(count):
        order = range(len(contenders)) if i % 2 == 0 else reversed(range(len(contenders)))
        for j in order:
            time.sleep(0.02)  # the last one's threads stop spinning
            out[i, j] = contenders[j].milliseconds(steps[j])
    return out


def interval(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Ratio of medians theirs / ours with its 95 % bootstrap interval over paired rounds."""
    draws = np.random.default_rng(1).integers(0, len(ours), (4000, len(ours)))
    ratios = np.median(theirs[draws], axis=1) / np.median(ours[draws], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(np.median(theirs) / np.median(ours)), float(low), float(high)


def spread(values: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def measure(size: str, args: argparse.Namespace) -> dict:
    names = list(screen(size, EAGER, args.threads, 1.25)) + list(screen(size, COMPILED, args.threads, 1.15))
    contenders: list[Contender] = []
    try:
        contenders.append(Ours(size, "bf16", args.threads))
        contenders += [Peer(size, name, args.threads) for name in names]
        times = rounds(contenders, args.rounds)
    finally:
        for c in contenders:
            c.__exit__()
    rows = []
    for j, c in enumerate(contenders):
        ratio, low, high = interval(times[:, 0], times[:, j])
        rows.append({
            "contender": c.name if j == 0 else f"PyTorch {c.name}", "median_ms": float(np.median(times[:, j])),
            "mad_ms": spread(times[:, j]), "ratio": ratio, "ratio_ci95": [low, high], "rounds_ms": times[:, j].tolist(),
        })  # fmt: skip
    facts = contenders[0].facts
    return {"size": size, "step": facts["step"], "parameters": facts["parameters"], "threads": args.threads, "rows": rows}


def show(result: dict) -> None:
    eager = min((r for r in result["rows"][1:] if "compile" not in r["contender"]), key=lambda r: r["median_ms"])
    best = min(result["rows"][1:], key=lambda r: r["median_ms"])
    print(f"\n{result['size']}: {result['parameters']} parameters, step {result['step']}, {result['threads']} threads")
    for r in result["rows"]:
        low, high = r["ratio_ci95"]
        mark = "  <- best eager" if r is eager else ""
        mark += "  <- best" if r is best else ""
        print(f"  {r['contender']:34} {r['median_ms']:9.2f} ms ± {r['mad_ms']:7.2f}   {r['ratio']:5.2f} × ours  [{low:.2f}, {high:.2f}]{mark}")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sizes", nargs="+", choices=peer_train.SIZES, default=["S", "1M", "7M"])
    p.add_argument("--rounds", type=int, default=15)
    p.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    p.add_argument("--json", default="", help="file for all numbers")
    args = p.parse_args()
    results, failed = [], []
    for size in args.sizes:
        if not gate(size, args.threads):
            failed.append(size)
            continue
        results.append(measure(size, args))
        show(results[-1])
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1))
    if failed:
        sys.exit(f"the two sides do not train the same at {', '.join(failed)}: their speeds are not compared")


if __name__ == "__main__":
    main()
