#!/usr/bin/env bash
# How the cost of a token grows with context, width and batch, beside the operations it takes: a Markdown table.
# One axis moves at a time, from a model of 4 layers, width 128, context 128 and 16 sequences. All rows are measured in each of several
# passes, and a row's time is that of its fastest pass: what a shared machine does meanwhile can only add to it.
#
#   tools/scaling.sh [STEPS [PASSES]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

steps=${1:-12} passes=${2:-3}

# field NAME reads a number of the JSON on standard input.
field() { grep -oE "\"$1\":[0-9.e+-]+" | head -n 1 | cut -d: -f2; }

declare -a names=()
declare -A sets=() best=()

# row NAME KEY=VALUE… adds a model.
row() {
  names+=("$1")
  sets[$1]="${*:2}"
}

# measure NAME keeps its times when they are the best so far.
measure() {
  local json ms
  # shellcheck disable=SC2086 # the keys are words
  json=$(bin/plasticity bench train --quiet --products=false --json --steps "$steps" --warmup 2 \
    --config sweeps/configs/llama2-1m.yaml $(printf -- '--set=%s ' ${sets[$1]}))
  ms=$(field step_ms_median <<<"$json")
  if [[ -z ${best[$1]-} ]] || awk -v a="$ms" -v b="${best[$1]%% *}" 'BEGIN { exit !(a < b) }'; then
    best[$1]="$ms $(field tokens_per_second <<<"$json") $(field gflops <<<"$json") $(field peak_mib <<<"$json")"
  fi
}

small="model.layers=4 model.width=128 model.heads=4 model.kv_heads=4 model.ffn=352 model.vocab=512"
for context in 32 64 128 256 512 1024 2048; do
  row "context $context" $small model.context=$context batch.sequences=$((4096 / context))
done
for width in 32 64 128 256 512 1024; do
  row "width $width" model.layers=4 model.width=$width model.heads=$((width / 32)) model.kv_heads=$((width / 32)) \
    model.ffn=$((width * 11 / 4)) model.vocab=512 model.context=128 batch.sequences=16
done
for batch in 1 2 4 8 16 32 64; do
  row "batch $batch" $small model.context=128 batch.sequences=$batch
done

for ((pass = 0; pass < passes; pass++)); do
  for name in "${names[@]}"; do
    measure "$name"
  done
done
echo "| axis | ms a step | µs a token | MFLOP a token | GFLOP/s | peak MiB |"
echo "|---|---|---|---|---|---|"
for name in "${names[@]}"; do
  read -r ms tokens gflops mib <<<"${best[$name]}"
  awk -v n="$name" -v t="$tokens" -v ms="$ms" -v g="$gflops" -v m="$mib" 'BEGIN {
    printf "| %s | %.2f | %.2f | %.2f | %.0f | %.0f |\n", n, ms, 1e6 / t, g * 1e3 / t, g, m}'
done
