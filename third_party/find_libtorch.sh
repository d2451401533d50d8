#!/usr/bin/env bash
# Prints the folder of a libtorch that this project can be built with (it has include/ and lib/).
#
#   third_party/find_libtorch.sh [--no-install | --cuda]
#
# Looked for in this order:
#   1. $LIBTORCH, if set: taken as it is, or refused with the reason
#   2. the active Python's torch, if its version fits
#   3. the user's cache: $PLASTICITY_CACHE, else $XDG_CACHE_HOME/plasticity, else ~/.cache/plasticity
#   4. unless --no-install: the pinned wheels (libtorch.txt), installed by pip into that cache
#
# With --cuda, 3 and 4 are those with the libraries that a GPU needs (cuda_run.txt); once they are in the
# cache, they come first without it, too.
#
# Nothing is installed into the user's Python, and nothing needs root.
set -euo pipefail

readonly want=2.11
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pins=$here/libtorch.txt
run_pins=$here/cuda_run.txt
readonly here pins run_pins
# shellcheck source=third_party/cache.sh
source "$here/cache.sh"

# version DIR prints the version in the headers of the libtorch at DIR, or nothing.
version() {
  local header
  for header in "$1"/include/torch/headeronly/version.h \
    "$1"/include/torch/csrc/api/include/torch/version.h "$1"/include/torch/version.h; do
    if grep -qs 'define TORCH_VERSION_MAJOR' "$header"; then
      awk '$2 == "TORCH_VERSION_MAJOR" {a = $3} $2 == "TORCH_VERSION_MINOR" {b = $3}
           $2 == "TORCH_VERSION_PATCH" {c = $3} END {print a "." b "." c}' "$header"
      return
    fi
  done
}

# wrong DIR prints why the libtorch at DIR does not fit, or nothing when it does.
wrong() {
  local dir=$1 found missing
  found=$(version "$dir")
  if [[ -z $found ]]; then
    echo "has no libtorch headers (include/torch)"
  elif [[ $found != "$want".* ]]; then
    echo "holds libtorch $found, and this project needs $want"
  elif [[ ! -f $dir/include/ATen/ATen.h || ! -f $dir/lib/libtorch_cpu.so || ! -f $dir/lib/libc10.so ]]; then
    echo "is not complete (include/ATen, lib/libtorch_cpu.so, lib/libc10.so)"
  elif ! missing=$(ldd "$dir/lib/libtorch_cpu.so" 2>/dev/null); then
    echo "has a damaged lib/libtorch_cpu.so"
  elif missing=$(awk '/not found/ {printf " %s", $1}' <<<"$missing") && [[ -n $missing ]]; then
    echo "lacks libraries that libtorch_cpu.so needs:$missing"
  fi
}

# of_python prints the folder of the active Python's torch, or nothing. It asks from /, because
# this repository has a folder torch/ too, which Python would find first.
of_python() {
  command -v "$python" >/dev/null || return 0
  (cd / && "$python" -c '
import importlib.util
spec = importlib.util.find_spec("torch")
print(spec.submodule_search_locations[0] if spec and spec.origin else "")' 2>/dev/null) || true
}

# foreign_python prints pip's options for a Python that no pinned wheel is made for: the wheel of
# another Python has the same libraries.
foreign_python() {
  "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' ||
    printf "%s\n" --ignore-requires-python --implementation=cp --python-version=3.12 --abi=cp312 \
      --platform=manylinux_2_28_x86_64 --platform=manylinux_2_25_x86_64 \
      --platform=manylinux2014_x86_64
}

# install FOLDER installs the pinned wheels into FOLDER and looks whether they are right.
install() {
  local reason options
  need_pip "libtorch (or set LIBTORCH to a libtorch $want folder)"
  echo "installing libtorch into the cache: 530 MB to fetch, 1.3 GB on disk" >&2
  mapfile -t options < <(foreign_python)
  pip_install "$1" "$pins" "${options[@]}"
  reason=$(wrong "$1/torch")
  [[ -z $reason ]] || fail "the installed libtorch $reason; nothing was kept: start again, and report it if it stays"
}

# install_cuda FOLDER installs libtorch with what its CUDA side loads; in one go, since the wheels share a
# folder.
install_cuda() {
  local reason options
  need_pip "libtorch with CUDA (or set LIBTORCH to the torch folder of a PyTorch $want)"
  echo "installing libtorch with CUDA into the cache: 2.2 GB to fetch, 4.5 GB on disk" >&2
  mapfile -t options < <(foreign_python)
  mkdir -p "$1/.tmp"
  cat "$pins" "$run_pins" >"$1/.requirements"
  pip_install "$1" "$1/.requirements" "${options[@]}"
  reason=$(wrong "$1/torch")
  [[ -z $reason ]] || fail "the installed libtorch $reason; nothing was kept: start again, and report it if it stays"
}

main() {
  local reason found target
  [[ $(uname -sm) == "Linux x86_64" ]] || fail "$(uname -sm) is not supported: this project runs on x86-64 Linux"

  if [[ -n ${LIBTORCH:-} ]]; then
    reason=$(wrong "$LIBTORCH")
    [[ -z $reason ]] || fail "LIBTORCH=$LIBTORCH $reason: correct it, or unset it to have the pinned one installed"
    (cd "$LIBTORCH" && pwd)
    return
  fi
  found=$(of_python)
  if [[ -n $found && -z $(wrong "$found") ]]; then
    echo "$found"
    return
  fi
  target=$(cache_folder)/$cuda_name
  if [[ ${1:-} == --cuda ]]; then
    target=$(once "$cuda_name" 7000 install_cuda)
  elif complete "$target"; then
    : # a set-up with CUDA serves both
  elif [[ ${1:-} == --no-install ]]; then
    target=$(cache_folder)/$name
    complete "$target" || fail "libtorch is not installed: run make build, or set LIBTORCH to a libtorch $want folder"
  else
    target=$(once "$name" 3500 install)
  fi
  echo "$target/torch"
}

name=libtorch-$want-$(hash_of "$pins")
cuda_name=cudatorch-$want-$(hash_of "$pins" "$run_pins")
main "$@"
