"""PyTorch's side of `make bench`: the same training step as ours, in PyTorch's own best form.

    python peer_train.py --size S|1M|7M|34M|1B|olmo2-7M | --model DIR  --mode MODE  [--threads 2] [--device cuda]
                         [--shard FILE] [--lr 3e-3] [--weight-decay 0.1] [--no-decay '*norm*'] …

A Llama-2 or OLMo-2 in plain torch modules: scaled_dot_product_attention, cross-entropy in float32, clipping
by the global norm, fused AdamW. MODE is a precision with options joined by '+':

    f32        float32 throughout
    bf16       weights, gradients and moments in bfloat16
    autocast   float32 weights, products in bfloat16
    +compile   torch.compile of model and loss
    +autotune  torch.compile with max-autotune
    +graphs    torch.compile with reduce-overhead: CUDA graphs
    +gqa       grouped heads are left to the attention kernel; else keys and values are repeated
    +math      attention as plain products (ATen's fused bfloat16 backward is slow on a CPU)

With --model, a Hugging Face folder (config.json, model.safetensors), shapes and initial weights are its;
else weights are drawn here. Batches are windows of a token shard in file order, from the beginning
again at its end (a shard of batch × context + 1 tokens gives the same batch in every step), or random
tokens.

The process stays, so that contenders can be interleaved. It speaks JSON lines:

    ← {"ready": true, "size": …, "mode": …, "threads": …, "torch": …, "parameters": …, "tokens_per_step": …}
    → go N
    ← {"size": …, "mode": …, "steps": N, "step_ms": […], "losses": […], "grad_norms": […]}
    → quit (or the end of the input)

A step's time covers the batch, forward, backward, clip, update and reading the loss; on a GPU losses and
norms are read at the end of a turn, so that nothing waits for them, and a step's time is the turn's share.
The first steps of a compiled mode compile: the driver drops them as warm-up. On a failure one line {"error": …} is
written and the exit code is 1.
"""

import argparse
import fnmatch
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Shape:
    layers: int
    width: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    family: str = "llama2"

    def matmul_parameters(self) -> int:
        """Parameters that take part in products: the head, but not the input embedding or the gains."""
        size = self.width // self.heads
        attention = 2 * self.width * size * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.width * self.ffn) + self.width * self.vocab

    def flops_per_token(self, context: int) -> tuple[float, float]:
        """Operations of a training token with full and with causal attention (config/model.go counts the same)."""
        products, attention = 6 * self.matmul_parameters(), 12 * self.layers * self.width * context
        return products + attention, products + attention / 2


# Sizes of the benchmark, with their batch (sequences, context): on a CPU 2,048 tokens a step each.
SIZES = {
    "S": (Shape(2, 64, 2, 2, 176, 512), 16, 128),
    "1M": (Shape(4, 128, 4, 4, 352, 512), 16, 128),
    "7M": (Shape(6, 256, 8, 4, 688, 4096), 8, 256),
    "34M": (Shape(8, 512, 8, 4, 1376, 8192), 4, 512),
    "olmo2-7M": (Shape(6, 256, 8, 8, 688, 4096, 500_000.0, 1e-6, "olmo2"), 8, 256),
    "1B": (Shape(22, 2048, 32, 4, 5632, 32000), 8, 2048),  # 1.1 B, TinyLlama's; for a GPU
}

# Dimensions: B batch, T time, D width, H heads, K size of a head, V vocabulary.


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of x [B,H,T,K], halves paired."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def normalise(norm: nn.RMSNorm, x: torch.Tensor) -> torch.Tensor:
    """RMSNorm in the type of its gain: float32 under autocast, where ATen has no fused kernel for mixed types."""
    return norm(x.to(norm.weight.dtype))


class Attention(nn.Module):
    gqa = False

    def __init__(self, s: Shape):
        super().__init__()
        if s.family == "olmo2":  # over all heads at once, before the rotation
            self.q_norm = nn.RMSNorm(s.width, eps=s.norm_eps)
            self.k_norm = nn.RMSNorm(s.width // s.heads * s.kv_heads, eps=s.norm_eps)
        self.normalised = s.family == "olmo2"
        self.size, self.group = s.width // s.heads, s.heads // s.kv_heads
        self.q_proj = nn.Linear(s.width, s.heads * self.size, bias=False)
        self.k_proj = nn.Linear(s.width, s.kv_heads * self.size, bias=False)
        self.v_proj = nn.Linear(s.width, s.kv_heads * self.size, bias=False)
        self.o_proj = nn.Linear(s.heads * self.size, s.width, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        B, T, D = x.shape
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        if self.normalised:
            q, k = normalise(self.q_norm, q), normalise(self.k_norm, k)
        q, k, v = (y.view(B, T, -1, self.size).transpose(1, 2) for y in (q, k, v))
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        if self.gqa:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            return self.o_proj(y.transpose(1, 2).reshape(B, T, D))
        if self.group > 1:
            k, v = k.repeat_interleave(self.group, dim=1), v.repeat_interleave(self.group, dim=1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(B, T, D))


class MLP(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.gate_proj = nn.Linear(s.width, s.ffn, bias=False)
        self.up_proj = nn.Linear(s.width, s.ffn, bias=False)
        self.down_proj = nn.Linear(s.ffn, s.width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.self_attn, self.mlp = Attention(s), MLP(s)
        self.input_layernorm = nn.RMSNorm(s.width, eps=s.norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(s.width, eps=s.norm_eps)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class OLMo2Block(nn.Module):
    """Normalises what comes out of each sub-layer."""

    def __init__(self, s: Shape):
        super().__init__()
        self.self_attn, self.mlp = Attention(s), MLP(s)
        self.post_attention_layernorm = nn.RMSNorm(s.width, eps=s.norm_eps)
        self.post_feedforward_layernorm = nn.RMSNorm(s.width, eps=s.norm_eps)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        x = x + normalise(self.post_attention_layernorm, self.self_attn(x, cos, sin))
        return x + normalise(self.post_feedforward_layernorm, self.mlp(x))


class Transformer(nn.Module):
    """A model under Hugging Face's parameter names; forward returns the mean cross-entropy."""

    def __init__(self, s: Shape, context: int):
        super().__init__()
        block = OLMo2Block if s.family == "olmo2" else Block
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(s.vocab, s.width)
        self.model.layers = nn.ModuleList(block(s) for _ in range(s.layers))
        self.model.norm = nn.RMSNorm(s.width, eps=s.norm_eps)
        self.lm_head = nn.Linear(s.width, s.vocab, bias=False)
        size = s.width // s.heads
        frequencies = s.rope_theta ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
        angles = torch.outer(torch.arange(context, dtype=torch.float64), frequencies)  # [T, K/2]
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x = self.model.embed_tokens(ids)  # [B,T,D]
        for layer in self.model.layers:
            x = layer(x, self.cos, self.sin)
        logits = self.lm_head(self.model.norm(x))  # [B,T,V]
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


class Batches:
    """Batches of a token shard in file order, or of random tokens."""

    def __init__(self, shard: str, vocab: int, sequences: int, context: int, device: str):
        self.device = device
        self.sequences, self.context, self.step = sequences, context, 0
        if shard:
            width = int.from_bytes(Path(shard).read_bytes()[12:16], "little")  # bytes a token (data/shard.go)
            dtype = {2: np.uint16, 4: np.uint32}[width]
            self.tokens = np.fromfile(shard, dtype=dtype, offset=64).astype(np.int64)
        else:
            self.tokens = np.random.default_rng(1).integers(0, vocab, 1 << 20)
        self.windows = (len(self.tokens) - 1) // context
        if self.windows < sequences or self.tokens.max() >= vocab:
            raise ValueError(f"{shard}: {len(self.tokens)} tokens do not fit this batch and vocabulary {vocab}")

    def next(self) -> tuple[torch.Tensor, torch.Tensor]:
        first = self.step * self.sequences
        starts = [(first + i) % self.windows * self.context for i in range(self.sequences)]
        rows = torch.from_numpy(np.stack([self.tokens[s : s + self.context + 1] for s in starts]))
        self.step += 1
        inputs, targets = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
        if self.device == "cpu":
            return inputs, targets
        both = torch.stack((inputs, targets)).pin_memory().to(self.device, non_blocking=True)
        return both[0], both[1]


class Trainer:
    def __init__(self, args: argparse.Namespace):
        precision, *options = args.mode.split("+")
        unknown = set(options) - {"compile", "autotune", "graphs", "gqa", "math"}
        if unknown or precision not in ("f32", "bf16", "autocast"):
            raise ValueError(f"mode {args.mode!r}: see --help")
        shape, sequences, context = load_shape(args)
        Attention.gqa = "gqa" in options
        self.device = args.device
        with torch.device(self.device):
            self.model = Transformer(shape, context)
        load_weights(self.model, args.model)
        if precision == "bf16":
            self.model.to(torch.bfloat16)
        self.parameters = list(self.model.parameters())
        self.optimizer = optimizer(self.model, args)
        self.batches = Batches(args.shard, shape.vocab, sequences, context, self.device)
        self.tokens_per_step = sequences * context
        self.clip = args.clip
        self.autocast = torch.autocast(self.device, torch.bfloat16, enabled=precision == "autocast", cache_enabled=True)
        torch.backends.cuda.enable_flash_sdp("math" not in options)  # the switch of the CPU's, too
        self.loss = self.model
        self.graphs = bool({"graphs", "autotune"} & set(options)) and self.device != "cpu"
        compiled = {"compile": None, "autotune": "max-autotune", "graphs": "reduce-overhead"}
        for option in set(options) & set(compiled):
            self.loss = torch.compile(self.model, mode=compiled[option])
        if self.device != "cpu":
            from torch.nn.attention import SDPBackend, sdpa_kernel

            order = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
            sdpa_kernel(order, set_priority=True).__enter__()  # for the life of the process

    def turn(self, steps: int) -> tuple[list[float], list[float], list[float]]:
        """Milliseconds, losses and norms of some steps."""
        milliseconds, values = [], []
        if self.device == "cpu":
            for _ in range(steps):
                start = time.perf_counter()
                values.append([x.item() for x in self.step()])
                milliseconds.append((time.perf_counter() - start) * 1e3)
        else:
            torch.cuda.synchronize()
            start = time.perf_counter()
            values = [[x.detach().clone() for x in self.step()] for _ in range(steps)]
            torch.cuda.synchronize()
            milliseconds = [(time.perf_counter() - start) * 1e3 / steps] * steps
            values = [[x.item() for x in pair] for pair in values]
        return milliseconds, [v[0] for v in values], [v[1] for v in values]

    def step(self) -> tuple[torch.Tensor, torch.Tensor]:
        """One step; returns the loss before the update and the norm of the gradient before clipping."""
        ids, targets = self.batches.next()
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()
        with self.autocast:
            loss = self.loss(ids, targets)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss, norm


def load_shape(args: argparse.Namespace) -> tuple[Shape, int, int]:
    """The model's shape with sequences and context of a batch."""
    if args.shape:
        shape, sequences, context = Shape(**json.loads(args.shape)), args.sequences, args.context
    elif args.size:
        shape, sequences, context = SIZES[args.size]
    else:
        c = json.loads(Path(args.model, "config.json").read_text())
        theta = c.get("rope_theta") or c.get("rope_parameters", {}).get("rope_theta", 10000.0)
        family = "olmo2" if c.get("model_type") == "olmo2" else "llama2"
        shape = Shape(c["num_hidden_layers"], c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"],
                      c["intermediate_size"], c["vocab_size"], theta, c["rms_norm_eps"], family)  # fmt: skip
        sequences, context = 16, c["max_position_embeddings"]
    return shape, args.sequences or sequences, args.context or context


def load_weights(model: Transformer, folder: str) -> None:
    if folder:
        from safetensors.torch import load_file

        model.load_state_dict(load_file(Path(folder, "model.safetensors")))
        return
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            nn.init.normal_(parameter, std=0.02)


def optimizer(model: Transformer, args: argparse.Namespace) -> torch.optim.Optimizer:
    """Fused AdamW over two groups, with and without decay."""
    groups = {True: [], False: []}
    for name, parameter in model.named_parameters():
        groups[not any(fnmatch.fnmatch(name, pattern) for pattern in args.no_decay)].append(parameter)
    groups = [{"params": p, "weight_decay": args.weight_decay if decayed else 0.0} for decayed, p in groups.items() if p]
    return torch.optim.AdamW(groups, lr=args.lr, betas=(args.beta1, args.beta2), eps=args.eps, fused=True)


def say(**line: object) -> None:
    print(json.dumps(line), flush=True)


def serve(trainer: Trainer, label: dict[str, str]) -> None:
    for line in sys.stdin:
        command, *rest = line.split() or [""]
        if command == "quit":
            return
        if command != "go" or len(rest) != 1:
            raise ValueError(f"{line.strip()!r} is not 'go N' or 'quit'")
        milliseconds, losses, norms = trainer.turn(int(rest[0]))
        peak = torch.cuda.max_memory_allocated() if trainer.device != "cpu" else 0
        say(**label, steps=len(losses), step_ms=milliseconds, losses=losses, grad_norms=norms, device_peak_bytes=peak)


def flags() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--size", choices=SIZES, default="")
    p.add_argument("--shape", default="", help="a JSON object with the fields of Shape; needs --sequences and --context")
    p.add_argument("--model", default="", help="Hugging Face folder: shapes (unless --size) and initial weights")
    p.add_argument("--mode", default="autocast+compile")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    p.add_argument("--shard", default="", help="token shard; none: random tokens")
    p.add_argument("--sequences", type=int, default=0)
    p.add_argument("--context", type=int, default=0)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--beta1", type=float, default=0.9)
    p.add_argument("--beta2", type=float, default=0.95)
    p.add_argument("--eps", type=float, default=1e-8)
    p.add_argument("--weight-decay", type=float, default=0.1)
    p.add_argument("--no-decay", nargs="*", default=["*norm*"])
    p.add_argument("--clip", type=float, default=1.0)
    args = p.parse_args()
    if not (args.size or args.model or args.shape):
        p.error("--size, --shape or --model is needed")
    if args.shape and not (args.sequences > 0 and args.context > 0):
        p.error("--shape needs --sequences and --context")
    return args


def main() -> None:
    args = flags()
    label = {"size": args.size or Path(args.model).name or "shape", "mode": args.mode}
    try:
        torch.set_num_threads(args.threads)
        torch.set_num_interop_threads(1)
        torch.set_flush_denormal(True)
        trainer = Trainer(args)
        say(ready=True, **label, threads=torch.get_num_threads(), torch=torch.__version__,
            parameters=sum(p.numel() for p in trainer.parameters), tokens_per_step=trainer.tokens_per_step,
            capability=torch.backends.cpu.get_cpu_capability(), pid=os.getpid())  # fmt: skip
        serve(trainer, label)
    except Exception as e:
        say(error=f"{type(e).__name__}: {e}"[:2000], **label)
        sys.exit(1)


if __name__ == "__main__":
    main()
