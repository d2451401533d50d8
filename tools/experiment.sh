#!/usr/bin/env bash
# One experiment of the paper: its grid at a scale, with the scales SCALE-… beside it, and one report of them all.
# `make exp-NAME` calls it.
#
#   tools/experiment.sh NAME [smoke|laptop|paper]
#
# Every step finds what it did before: a second start trains nothing, an interrupted one continues.
# The paper's scale is planned, not run: it needs prepared web text and GPUs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=$1 scale=${2:-smoke}
grid=sweeps/grids/$name.yaml
runs=runs/exp-$name-$scale report=reports/$name-$scale
if [[ $scale == paper ]]; then
  bin/plasticity sweep plan --grid "$grid" --out "$runs" --scale paper
  echo "planned only; to train it: bin/plasticity sweep run --grid $grid --out $runs --scale paper" >&2
  exit
fi
tools/prepare.sh sotu 512
! grep -q '^finetune:' "$grid" || tools/tasks.sh arithmetic:1 choice4:1 judge:1 gosource:1
mapfile -t companions < <(sed -nE "s/^  ($scale-[a-z0-9-]+):.*/\1/p" "$grid")
for part in "$scale" "${companions[@]}"; do
  bin/plasticity sweep run --grid "$grid" --out "$runs" --scale "$part"
done
bin/plasticity report --runs "$runs" --out "$report" --grid "$grid"
echo "report: $report/index.html" >&2
