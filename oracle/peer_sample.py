"""transformers' side of `make bench-generate`: samples of many prompts by `generate`.

    python peer_sample.py --model DIR --mode f32|bf16[+static] --threads N --prompts FILE --samples N --tokens N

Loads a Hugging Face folder and prompts (JSON, token ids of each) and says that it is ready; then answers lines of a word and a
number:

    ← {"mode": …, "threads": …, "parameters": …, "transformers": …}
    → use B       from now on B sequences at a time, whole prompts; warms up and compiles:  ← {"at_once": …}
    → batch B     the same, and measures one batch:                       ← {"tokens_per_second": …}
    → go N        all samples of all prompts, N times:                    ← {"ms": […], "tokens": …}
    → greedy N    the likeliest N tokens after each prompt:               ← {"tokens": [[…], …]}

+static is a static cache with the step of decoding compiled. Prompts go in the order of their lengths, so that little is padded.
Every sequence gets exactly as many tokens as were asked for. On a failure one line {"error": …} is written and the exit code is 1.
"""

import argparse
import json
import sys
import time

import torch
import transformers
from transformers.generation.configuration_utils import CompileConfig


class Sampler:
    def __init__(self, args):
        precision, _, self.cache = args.mode.partition("+")
        dtype = torch.float32 if precision == "f32" else torch.bfloat16
        self.model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype).eval()
        self.model.generation_config = transformers.GenerationConfig(pad_token_id=0)
        self.model.config.eos_token_id = None  # nothing ends early
        with open(args.prompts, encoding="utf-8") as file:
            prompts = json.load(file)
        self.order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        self.prompts = [prompts[i] for i in self.order]
        self.samples, self.tokens = args.samples, args.tokens
        self.longest = len(self.prompts[-1])

    def generate(self, prompts, tokens, **options):
        """New tokens [sequences, tokens] of some prompts, padded on the left; with a static cache all to one length."""
        width = self.longest if self.cache else max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        if self.cache:
            compiling = CompileConfig(fullgraph=False, dynamic=False, mode="default")
            compiling._compile_all_devices = True
            options |= dict(cache_implementation="static", compile_config=compiling)
        config = transformers.GenerationConfig(max_new_tokens=tokens, pad_token_id=0, **options)
        out = self.model.generate(ids, attention_mask=mask, generation_config=config)[:, width:]
        if out.shape[1] != tokens:
            raise RuntimeError(f"{out.shape[1]} tokens were made instead of {tokens}")
        return out

    def sample(self, prompts, tokens):
        """All samples of some prompts; how many tokens they have."""
        out = self.generate(prompts, tokens, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, num_return_sequences=self.samples)
        return out.numel()

    def some(self):
        """A batch of all lengths."""
        return self.prompts[:: len(self.prompts) // self.at_once][: self.at_once]

    def use(self, sequences):
        self.at_once = max(1, min(len(self.prompts), sequences // self.samples))
        self.sample(self.some(), self.tokens if self.cache else 2)
        return {"at_once": self.at_once * self.samples}

    def batch(self, sequences):
        self.use(sequences)
        some = self.some()
        start = time.perf_counter()
        made = self.sample(some, self.tokens)
        return {"tokens_per_second": made / (time.perf_counter() - start)}

    def go(self, times):
        milliseconds = []
        for _ in range(times):
            start = time.perf_counter()
            made = sum(self.sample(self.prompts[i : i + self.at_once], self.tokens) for i in range(0, len(self.prompts), self.at_once))
            milliseconds.append((time.perf_counter() - start) * 1e3)
        return {"ms": milliseconds, "tokens": made}

    def greedy(self, tokens):
        out = [None] * len(self.prompts)
        for i, row in zip(self.order, self.generate(self.prompts, tokens, do_sample=False).tolist(), strict=True):
            out[i] = row
        return {"tokens": out}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True)
    p.add_argument("--mode", choices=["f32", "bf16", "f32+static", "bf16+static"], required=True)
    p.add_argument("--threads", type=int, required=True)
    p.add_argument("--prompts", required=True)
    p.add_argument("--samples", type=int, required=True)
    p.add_argument("--tokens", type=int, required=True)
    args = p.parse_args()
    try:
        torch.set_num_threads(args.threads)
        torch.set_flush_denormal(True)
        torch.set_grad_enabled(False)
        transformers.logging.set_verbosity_error()
        sampler = Sampler(args)
        ready = {"mode": args.mode, "threads": args.threads, "parameters": sampler.model.num_parameters(), "transformers": transformers.__version__}
        print(json.dumps(ready), flush=True)
        for line in sys.stdin:
            word, number = line.split()
            answer = {"use": sampler.use, "batch": sampler.batch, "go": sampler.go, "greedy": sampler.greedy}[word](int(number))
            print(json.dumps(answer), flush=True)
    except Exception as e:
        print(json.dumps({"error": f"{type(e).__name__}: {e}"[:2000]}), flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
