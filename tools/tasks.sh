#!/usr/bin/env bash
# Makes synthetic tasks where grids look for them.
#
#   tools/tasks.sh NAME[:LEVEL] …   →   data/tasks/NAME/{task.json,train.jsonl,test.jsonl}
#
# Done again it writes nothing. gosource is cut from the source text of the Go distribution.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for task in "$@"; do
  name=${task%%:*} out=data/tasks/${task%%:*}
  if [[ -f $out/task.json ]]; then
    echo "$out is there already" >&2
    continue
  fi
  flags=(--out "$out")
  [[ $task == "$name" ]] || flags+=(--level "${task#*:}")
  [[ $name != gosource ]] || flags+=(--from "$(bin/plasticity data fetch goroot)")
  bin/plasticity data task "$name" "${flags[@]}"
done
