#!/usr/bin/env bash
# Every experiment at a scale, one after the other, and a table of what came of it. `make exp-smoke` calls it.
#
#   tools/experiments.sh [smoke|laptop|paper]
#
# The output of each goes to reports/NAME-SCALE.log. One that fails does not keep the others from running; the exit code says so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scale=${1:-smoke}
mkdir -p reports
table='' failed=0 began=$SECONDS
for grid in sweeps/grids/*.yaml; do
  name=$(basename "$grid" .yaml)
  [[ $name != weight-decay-quickstart ]] || continue # make quickstart
  echo "exp-$name at scale $scale …" >&2
  at=$SECONDS log=reports/$name-$scale.log said=
  if tools/experiment.sh "$name" "$scale" >"$log" 2>&1; then
    said=$(grep -oE '[0-9]+ of [0-9]+ (fine-tuned )?runs counted' "$log" | paste -sd, - || true)
    said=${said//,/, }
  else
    said="FAILED, see $log" failed=1
    tail -n 5 "$log" >&2
  fi
  table+=$(printf '%-22s %6d s  %s' "$name" "$((SECONDS - at))" "$said")$'\n'
done
printf '\n%-22s %8s  %s\n%s' experiment time result "$table"
printf '%-22s %6d s\n' together "$((SECONDS - began))"
exit "$failed"
