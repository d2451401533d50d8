#!/usr/bin/env bash
# Our training step against PyTorch's, interleaved on this machine (oracle/bench.py --help).
#
#   tools/bench.sh [--sizes S,1M,7M,34M,olmo2-7M] [--isa avx512_bf16] [--quick] …
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec "$(tools/get.sh oracle)" oracle/bench.py "$@"
