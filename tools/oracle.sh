#!/usr/bin/env bash
# Compares with PyTorch, transformers, tokenizers, math-verify and scikit-learn, live: runs the tests named …Oracle… or
# …HuggingFace… with the pinned Pythons; math-verify and scikit-learn have ones of their own, which are small.
#
#   tools/oracle.sh [-update]   -update writes the golden numbers that `make test` uses without Python
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PLASTICITY_ORACLE=$(tools/get.sh oracle)
PLASTICITY_ANSWERS=$(tools/get.sh answers)
PLASTICITY_PROBES=$(tools/get.sh probes)
bin/plasticity data fetch sotu >/dev/null # what probes are compared on
export PLASTICITY_ORACLE PLASTICITY_ANSWERS PLASTICITY_PROBES TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
mapfile -t packages < <(grep -rlE --include='*_test.go' 'PLASTICITY_(ORACLE|ANSWERS|PROBES)' -- [a-z]*/ | xargs -n 1 dirname | sort -u | sed 's|^|./|')
go test -count=1 -v -run 'Oracle|HuggingFace' "${packages[@]}" "$@" |
  awk '/^=== / {next} {print} /no tests to run/ {bad = 1} /^ *--- SKIP/ {bad = 1} END {exit bad}' # no test may pass by absence
