#!/usr/bin/env bash
# The main job on real text, from nothing to a report. `make quickstart` calls it after the build.
#
#   tools/quickstart.sh [SCALE]   SCALE of the grid: smoke (seconds); none: the quickstart's own
#
# Every step finds what it did before: a second start trains nothing, an interrupted one continues.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scale=${1:-}
grid=sweeps/grids/weight-decay-quickstart.yaml
flags=(--grid "$grid" --out runs)
report=reports/quickstart
if [[ -n $scale ]]; then
  flags+=(--scale "$scale")
  report+=-$scale
fi

say() { printf '\n\033[1m%s\033[0m\n' "$*" >&2; }
[[ -t 2 && -z ${NO_COLOR:-} ]] || say() { printf '\n%s\n' "$*" >&2; }

say "1/5 text: fetch, train a tokenizer of 512 tokens, make shards (data/sotu-512)"
tools/prepare.sh sotu 512

say "2/5 tasks to fine-tune on: two synthetic ones and program source (data/tasks)"
tools/tasks.sh choice4 judge gosource

say "3/5 sweep: a small Llama-2 for each weight decay and seed, fine-tuned on each task and tested (runs/)"
bin/plasticity sweep run "${flags[@]}"

best=$(bin/plasticity sweep best "${flags[@]}")
say "4/5 a sample of the best base model ($best), and answers of two fine-tuned ones"
prompt=(--model "$best" --prompt "My fellow citizens, " --max-tokens 120 --temperature 0.7 --seed 1)
mkdir -p "$best/samples"
bin/plasticity generate "${prompt[@]}" --json >"$best/samples/.quickstart.partial"
mv "$best/samples/.quickstart.partial" "$best/samples/quickstart.json"
bin/plasticity generate "${prompt[@]}"
echo
bin/plasticity sweep answers "${flags[@]}" --task judge

say "5/5 report"
bin/plasticity report --runs "$(dirname "$best")" --out "$report" --grid "$grid"
say "report: $report/index.html"
