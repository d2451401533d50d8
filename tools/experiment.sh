#!/usr/bin/env bash
# One experiment: its grid at a scale, with the scales SCALE-… beside it, and one report of them all. `make exp-NAME` calls it.
#
#   tools/experiment.sh NAME [smoke|laptop|paper]
#
# What text and tasks there have to be, the grid itself says (`plasticity sweep needs`). Every step finds what it did before: a second
# start trains nothing, an interrupted one continues. The paper's scale is planned, not run: it needs prepared web text and GPUs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=$1 scale=${2:-smoke}
grid=sweeps/grids/$name.yaml
runs=runs/exp-$name-$scale report=reports/$name-$scale
needs=$(bin/plasticity sweep needs --grid "$grid" --scale "$scale")
mapfile -t parts < <(sed -n 's/^scale //p' <<<"$needs")

if [[ $scale == paper ]]; then
  for part in "${parts[@]}"; do
    plan=reports/$name-paper/$part
    rm -rf "$plan/configs"
    mkdir -p "$plan"
    bin/plasticity sweep plan --grid "$grid" --out "$runs" --scale "$part" --configs "$plan/configs" | tee "$plan/plan.txt"
    for config in "$plan"/configs/*.yaml; do
      bin/plasticity train --config "$config" --dry-run # which parameters decay, memory, disk; any mistake ends this
    done >"$plan/dry-run.txt"
  done
  echo "planned only: reports/$name-paper has it, with the configurations; to train it: bin/plasticity sweep run --grid $grid --out $runs --scale ${parts[0]}" >&2
  exit
fi

# data/NAME-VOCABULARY/{train,val} is what tools/prepare.sh makes, data/tasks/NAME what tools/tasks.sh makes.
mapfile -t texts < <(sed -nE 's|^text data/(.*)/[^/]*$|\1|p' <<<"$needs" | sort -u)
for text in "${texts[@]}"; do
  tools/prepare.sh "${text%-*}" "${text##*-}"
done
mapfile -t tasks < <(sed -n 's|^task data/tasks/||p' <<<"$needs")
tools/tasks.sh "${tasks[@]}"
# data/text/NAME is the text as it was published.
while read -r source; do
  mkdir -p data/text
  ln -sfn "$(bin/plasticity data fetch "$(basename "$source")")" "$source"
done < <(sed -n 's/^source //p' <<<"$needs")
for part in "${parts[@]}"; do
  bin/plasticity sweep run --grid "$grid" --out "$runs" --scale "$part"
done
bin/plasticity report --runs "$runs" --out "$report" --grid "$grid"
echo "report: $report/index.html" >&2
