#!/usr/bin/env bash
# How the cost of a token grows with context, width and batch, beside the operations it takes: a Markdown table.
# One axis moves at a time, from a model of 4 layers, width 128, context 128 and 16 sequences.
#
#   tools/scaling.sh [STEPS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

steps=${1:-8}

# field NAME reads a number of the JSON on standard input.
field() { grep -oE "\"$1\":[0-9.e+-]+" | head -n 1 | cut -d: -f2; }

# row AXIS VALUE KEY=VALUE… times a model and prints its row.
row() {
  local axis=$1 value=$2 json tokens ms gflops mib
  shift 2
  json=$(bin/plasticity bench train --quiet --products=false --json --steps "$steps" --warmup 2 \
    --config sweeps/configs/llama2-1m.yaml "${@/#/--set=}")
  tokens=$(field tokens_per_second <<<"$json")
  ms=$(field step_ms_median <<<"$json") gflops=$(field gflops <<<"$json") mib=$(field peak_mib <<<"$json")
  awk -v a="$axis" -v v="$value" -v t="$tokens" -v ms="$ms" -v g="$gflops" -v m="$mib" 'BEGIN {
    printf "| %s %s | %.2f | %.2f | %.2f | %.0f | %.0f |\n", a, v, ms, 1e6 / t, g * 1e3 / t, g, m}'
}

echo "| axis | ms a step | µs a token | MFLOP a token | GFLOP/s | peak MiB |"
echo "|---|---|---|---|---|---|"
for context in 32 64 128 256 512 1024 2048; do
  row context $context model.layers=4 model.width=128 model.heads=4 model.kv_heads=4 model.ffn=352 \
    model.vocab=512 model.context=$context batch.sequences=$((context < 128 ? 4096 / context : 32 * 128 / context > 1 ? 32 * 128 / context : 2))
done
for width in 32 64 128 256 512 1024; do
  row width $width model.layers=4 model.width=$width model.heads=$((width / 32)) \
    model.kv_heads=$((width / 32)) model.ffn=$((width * 11 / 4)) model.vocab=512 model.context=128 batch.sequences=16
done
for batch in 1 2 4 8 16 32 64; do
  row batch $batch model.layers=4 model.width=128 model.heads=4 model.kv_heads=4 model.ffn=352 \
    model.vocab=512 model.context=128 batch.sequences=$batch
done
