#!/usr/bin/env bash
# Compares with PyTorch, transformers and tokenizers, live: runs the tests named …Oracle… or
# …HuggingFace… with the pinned Python.
#
#   tools/oracle.sh [-update]   -update writes the golden numbers that `make test` uses without Python
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PLASTICITY_ORACLE=$(tools/get.sh oracle)
export PLASTICITY_ORACLE TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
mapfile -t packages < <(grep -rl --include='*_test.go' PLASTICITY_ORACLE -- [a-z]*/ | xargs -n 1 dirname | sort -u | sed 's|^|./|')
go test -count=1 -v -run 'Oracle|HuggingFace' "${packages[@]}" "$@" |
  awk '/^=== / {next} {print} /no tests to run/ {none = 1} END {exit none}' # a renamed test must not pass by absence
