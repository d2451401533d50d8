#!/usr/bin/env bash
# Compares with PyTorch, transformers, tokenizers and math-verify, live: runs the tests named …Oracle… or
# …HuggingFace… with the pinned Pythons; math-verify has one of its own, which is small.
#
#   tools/oracle.sh [-update]   -update writes the golden numbers that `make test` uses without Python
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PLASTICITY_ORACLE=$(tools/get.sh oracle)
PLASTICITY_ANSWERS=$(tools/get.sh answers)
export PLASTICITY_ORACLE PLASTICITY_ANSWERS TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
mapfile -t packages < <(grep -rlE --include='*_test.go' 'PLASTICITY_(ORACLE|ANSWERS)' -- [a-z]*/ | xargs -n 1 dirname | sort -u | sed 's|^|./|')
go test -count=1 -v -run 'Oracle|HuggingFace' "${packages[@]}" "$@" |
  awk '/^=== / {next} {print} /no tests to run/ {none = 1} END {exit none}' # a renamed test must not pass by absence
