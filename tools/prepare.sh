#!/usr/bin/env bash
# Fetches a public text and makes token shards of it with a fresh tokenizer, where the configs look.
#
#   tools/prepare.sh NAME VOCABULARY   →   data/NAME-VOCABULARY/{train,val,tokenizer.json}
#
# Done again it writes nothing. Without a way to the text it takes the Go distribution's source text;
# the record of every run names the text it was trained on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=$1 vocabulary=$2
out=data/$name-$vocabulary
if [[ -f $out/train/manifest.json && -f $out/val/manifest.json ]]; then
  echo "$out is there already" >&2
  exit
fi
text=$(bin/plasticity data fetch "$name") || {
  echo "$name could not be fetched; taking the source text of the Go distribution instead" >&2
  text=$(bin/plasticity data fetch goroot)
}
bin/plasticity data prepare --in "$text" --tokenizer "bpe:$vocabulary" --out "$out"
