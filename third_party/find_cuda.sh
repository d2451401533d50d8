#!/usr/bin/env bash
# Prints the folder of a CUDA 13.0 compiler (bin/nvcc and include/): $CUDA_HOME if its nvcc fits, else the
# pinned wheels (cuda_build.txt), installed by pip into the user's cache. Needs no GPU and no root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here want=13.0
# shellcheck source=third_party/cache.sh
source "$here/cache.sh"

# nvcc runs its parts by paths relative to itself; the wheels lie as it expects them.
install() {
  need_pip "the CUDA compiler (or set CUDA_HOME to a CUDA $want)"
  echo "installing the CUDA compiler into the cache: 105 MB to fetch" >&2
  pip_install "$1" "$here/cuda_build.txt"
  "$1/nvidia/cu13/bin/nvcc" --version >/dev/null ||
    fail "the installed nvcc does not run (its words are above); nothing was kept"
}

main() {
  if [[ -n ${CUDA_HOME:-} ]]; then
    "$CUDA_HOME/bin/nvcc" --version 2>/dev/null | grep -q "release $want," ||
      fail "CUDA_HOME=$CUDA_HOME has no nvcc $want: correct it, or unset it to have the pinned one installed"
    echo "$CUDA_HOME"
    return
  fi
  echo "$(once "nvcc-$want-$(hash_of "$here/cuda_build.txt")" 400 install)/nvidia/cu13"
}

main
