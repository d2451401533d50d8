"""transformers' side of `plasticity bench generate --against pytorch`.

    python peer_generate.py --model DIR --precision f32|bf16 --threads N --prompt-tokens N --max-tokens N

Loads a Hugging Face folder and says that it is ready; then answers each line "go N" with N greedy generations:

    ← {"name": …, "precision": …, "threads": …, "parameters": …}
    → go N
    ← {"prefill_ms": […], "decode_ms": […], "peak_mib": …}

prefill is the generation of one token, decode what generating all of them takes longer than that. On a failure one line
{"error": …} is written and the exit code is 1.
"""

import argparse
import json
import resource
import sys
import time

import torch
import transformers


def generate(model, ids, tokens):
    """Milliseconds of a greedy continuation by exactly this many tokens."""
    start = time.perf_counter()
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=tokens, max_new_tokens=tokens, pad_token_id=0)
    milliseconds = (time.perf_counter() - start) * 1e3
    if out.shape[1] != ids.shape[1] + tokens:
        raise RuntimeError(f"{out.shape[1] - ids.shape[1]} tokens were made instead of {tokens}")
    return milliseconds


def serve(model, ids, tokens):
    for line in sys.stdin:
        word, *rest = line.split() or [""]
        if word == "quit":
            return
        prefill, decode = [], []
        for _ in range(int(rest[0])):
            prefill.append(generate(model, ids, 1))
            decode.append(max(1e-6, generate(model, ids, tokens) - prefill[-1]))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"prefill_ms": prefill, "decode_ms": decode, "peak_mib": peak}), flush=True)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True)
    p.add_argument("--precision", choices=["f32", "bf16"], required=True)
    p.add_argument("--threads", type=int, required=True)
    p.add_argument("--prompt-tokens", type=int, required=True)
    p.add_argument("--max-tokens", type=int, required=True)
    args = p.parse_args()
    try:
        torch.set_num_threads(args.threads)
        torch.set_flush_denormal(True)
        torch.set_grad_enabled(False)
        dtype = torch.float32 if args.precision == "f32" else torch.bfloat16
        model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype).eval()
        torch.manual_seed(1)
        ids = torch.randint(model.config.vocab_size, (1, args.prompt_tokens))
        print(json.dumps({"name": "transformers", "precision": args.precision, "threads": args.threads, "parameters": model.num_parameters()}), flush=True)
        serve(model, ids, args.max_tokens)
    except Exception as e:
        print(json.dumps({"error": f"{type(e).__name__}: {e}"[:2000]}), flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
