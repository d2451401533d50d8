#!/usr/bin/env bash
# Our training step against PyTorch's, interleaved on this machine (oracle/bench.py --help).
#
#   tools/bench.sh [--sizes S,1M,7M,34M] [--compiled] …
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec "$(tools/get.sh oracle)" oracle/bench.py "$@"
