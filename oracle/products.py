"""Rates of large matrix products in PyTorch, as a measure of this machine.

    python products.py THREADS…

Says that it is ready, then answers each line "go N" with {"gflops": {"bf16 × 2": …, …}}: for float32 and bfloat16 and each
number of threads the best of N times three products of 2048 × 2048 × 2048, the right side transposed as in a linear layer.
"""

import json
import sys
import time

import torch

SIZE = 2048


def rate(dtype: torch.dtype, repeats: int) -> float:
    torch.manual_seed(1)
    x, w = torch.randn(SIZE, SIZE).to(dtype), torch.randn(SIZE, SIZE).to(dtype)
    best = float("inf")
    torch.nn.functional.linear(x[:256], w)  # the first product of a shape chooses its kernel
    for _ in range(repeats):
        start = time.perf_counter()
        torch.nn.functional.linear(x, w)
        best = min(best, time.perf_counter() - start)
    return 2 * SIZE**3 / best / 1e9


def main() -> None:
    threads = [int(x) for x in sys.argv[1:]]
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        rates = {}
        for n in threads:
            torch.set_num_threads(n)
            for name, dtype in (("bf16", torch.bfloat16), ("f32", torch.float32)):
                rates[f"{name} × {n}"] = rate(dtype, 3 * int(line.split()[1]))
        print(json.dumps({"gflops": rates}), flush=True)


if __name__ == "__main__":
    main()
