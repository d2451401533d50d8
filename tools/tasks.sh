#!/usr/bin/env bash
# Makes synthetic tasks where grids look for them.
#
#   tools/tasks.sh [NAME[:LEVEL] …]   →   data/tasks/NAME/{task.json,train.jsonl,test.jsonl}
#
# Without a level it is the first, which the small models can learn. Done again it writes nothing. gosource is cut from the source text of
# the Go distribution.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for task in "$@"; do
  name=${task%%:*} level=1 out=data/tasks/${task%%:*}
  [[ $task == "$name" ]] || level=${task#*:}
  if [[ -f $out/task.json ]]; then
    echo "$out is there already" >&2
    continue
  fi
  flags=(--out "$out" --level "$level")
  [[ $name != gosource ]] || flags+=(--from "$(bin/plasticity data fetch goroot)")
  bin/plasticity data task "$name" "${flags[@]}"
done
