#!/usr/bin/env bash
# Compares with PyTorch and transformers, live: runs every TestOracle… with the pinned Python.
#
#   tools/oracle.sh [-update]   -update writes the golden numbers that `make test` uses without Python
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PLASTICITY_ORACLE=$(tools/get.sh oracle)
export PLASTICITY_ORACLE TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
mapfile -t packages < <(grep -rl --include='*_test.go' PLASTICITY_ORACLE [a-z]* | xargs -n 1 dirname | sort -u | sed 's|^|./|')
go test -count=1 -v -run Oracle "${packages[@]}" "$@" | { grep -v '^=== ' || true; }
