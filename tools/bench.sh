#!/usr/bin/env bash
# Our training step against PyTorch's, or our samples against transformers', interleaved on this machine.
#
#   tools/bench.sh [--sizes S,1M,7M,34M,olmo2-7M] [--isa avx512_bf16] [--quick] …   training (oracle/bench.py --help)
#   tools/bench.sh generate [--sizes 1M,7M] [--rounds 5] [--quick] …                generation (oracle/bench_generate.py --help)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
script=bench
if [[ ${1-} == generate ]]; then
  script=bench_generate
  shift
fi
python=$(tools/get.sh oracle)
exec "$python" "oracle/$script.py" "$@"
