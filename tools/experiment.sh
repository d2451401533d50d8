#!/usr/bin/env bash
# One experiment of the paper: its grid at a scale, and the report. `make exp-NAME` calls it.
#
#   tools/experiment.sh NAME [smoke|laptop|paper]
#
# The paper's scale is planned, not run: it needs prepared web text and GPUs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=$1 scale=${2:-smoke}
flags=(--grid "sweeps/grids/$name.yaml" --out runs --scale "$scale")
if [[ $scale == paper ]]; then
  bin/plasticity sweep plan "${flags[@]}"
  echo "planned only; to train it: bin/plasticity sweep run ${flags[*]}" >&2
  exit
fi
tools/prepare.sh sotu 512
bin/plasticity sweep run "${flags[@]}"
folder=$(bin/plasticity sweep status "${flags[@]}" --json | grep -oE '"dir":"[^"]*"' | head -n 1 | cut -d'"' -f4)
bin/plasticity report --runs "$folder" --out "reports/$name-$scale"
echo "report: reports/$name-$scale/index.html" >&2
