#!/usr/bin/env bash
# Opens the report of a grid and the pages of `plasticity serve` in a headless Chromium (tools/pages.mjs) and keeps pictures of them.
#
#   tools/pages.sh [RUNS]   folder of a grid's runs (default: the quickstart's)   →   build/pages/*.png
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

runs=${1:-runs/weight-decay-quickstart}
[[ -d $runs ]] || { echo "$runs is not there: make quickstart" >&2; exit 1; }
first=$(find "$runs" -maxdepth 2 -name run.json -printf '%h\n' | sort | sed -n 1p)
[[ -n $first ]] || { echo "$runs is not the folder of a grid: no run lies in it" >&2; exit 1; }
chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome) ||
  { echo "Chromium is needed: install it (Debian: apt install chromium)" >&2; exit 1; }
packages=$(tools/get.sh pages)
work=build/pages
mkdir -p "$work"
bin/plasticity report --runs "$runs" --out "$work/report" --quiet
rm -f "$work/address" # of an earlier server
bin/plasticity serve --runs "$(dirname "$runs")" --listen 127.0.0.1:0 --quiet >"$work/address" &
server=$!
trap 'kill "$server"' EXIT
for _ in {1..50}; do
  [[ -s $work/address ]] && break
  sleep 0.1
done
url=$(head -n 1 "$work/address")
node tools/pages.mjs "$packages" "$chromium" "$work" "report=file://$PWD/$work/report/index.html" "serve-index=$url" \
  "serve-grid=${url}grid/$(basename "$runs")" "serve-run=${url}run/$(basename "$first")"
echo "pictures: $work/*.png" >&2
