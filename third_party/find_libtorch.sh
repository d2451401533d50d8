#!/usr/bin/env bash
# Prints the folder of a libtorch that this project can be built with (it has include/ and lib/).
#
#   third_party/find_libtorch.sh [--no-install]
#
# Looked for in this order:
#   1. $LIBTORCH, if set: taken as it is, or refused with the reason
#   2. the active Python's torch, if its version fits
#   3. the user's cache: $PLASTICITY_CACHE, else $XDG_CACHE_HOME/plasticity, else ~/.cache/plasticity
#   4. unless --no-install: the pinned wheels (libtorch.txt), installed by pip into that cache
#
# Nothing is installed into the user's Python, and nothing needs root. An installation is made in
# a folder of its own, checked, and renamed into place last, under a lock: a stop half-way leaves
# nothing that a later start would take for complete.
set -euo pipefail

readonly want=2.11
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly pins=$here/libtorch.txt
readonly python=${PYTHON:-python3}

say() { printf 'libtorch: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

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
  elif missing=$(ldd "$dir/lib/libtorch_cpu.so" | awk '/not found/ {print $1}') && [[ -n $missing ]]; then
    echo "lacks libraries that libtorch_cpu.so needs:" $missing
  fi
}

# sizes DIR lists the libraries of the installation at DIR with their sizes: what the marker of a
# complete installation holds, and what is compared with it at every start.
sizes() { (cd "$1" && find torch/lib nvidia -name '*.so*' -type f -printf '%s %p\n' | LC_ALL=C sort); }

# complete DIR: whether DIR is an installation that was finished and is still whole.
complete() { [[ -f $1/.complete ]] && sizes "$1" 2>/dev/null | cmp -s - "$1/.complete"; }

# of_python prints the folder of the active Python's torch, or nothing. It asks from /, because
# this repository has a folder torch/ too, which Python would find first.
of_python() {
  command -v "$python" >/dev/null || return 0
  (cd / && "$python" -c '
import importlib.util
spec = importlib.util.find_spec("torch")
print(spec.submodule_search_locations[0] if spec and spec.origin else "")' 2>/dev/null) || true
}

cache_folder() {
  local dir=${PLASTICITY_CACHE:-}
  [[ -n $dir ]] || dir=${XDG_CACHE_HOME:-${HOME:?neither PLASTICITY_CACHE nor HOME is set: set one}/.cache}/plasticity
  mkdir -p "$dir" 2>/dev/null && [[ -w $dir ]] ||
    fail "the cache folder $dir cannot be written: set PLASTICITY_CACHE to a folder of yours"
  (cd "$dir" && pwd)
}

# foreign_python prints pip's options for a Python that no pinned wheel is made for: the wheel of
# another Python has the same libraries.
foreign_python() {
  "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' ||
    printf '%s\n' --implementation=cp --python-version=3.12 --abi=cp312 \
      --platform=manylinux_2_28_x86_64 --platform=manylinux_2_25_x86_64 \
      --platform=manylinux2014_x86_64
}

# install CACHE TARGET makes the installation TARGET. The caller holds the lock.
install() {
  local cache=$1 target=$2 partial reason free options
  command -v "$python" >/dev/null ||
    fail "python3 is needed to install libtorch: install it (Debian: apt install python3-pip), or set LIBTORCH to a libtorch $want folder"
  "$python" -m pip --version >/dev/null 2>&1 ||
    fail "python3 has no pip: install it (Debian: apt install python3-pip), or set LIBTORCH to a libtorch $want folder"
  free=$(df --output=avail -k "$cache" | tail -1)
  ((free > 3500000)) ||
    fail "installing takes 3.5 GB and $cache has $((free / 1000)) MB free: make room, or set PLASTICITY_CACHE to another disk"

  rm -rf "$cache"/libtorch-*.partial # left by a set-up that was stopped; the lock is ours
  partial=$target.partial
  mkdir -p "$partial/tmp"
  say "installing the pinned wheels (530 MB to fetch, 1.3 GB on disk) into $target"
  mapfile -t options < <(foreign_python)
  if ! TMPDIR=$partial/tmp PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 "$python" -m pip install \
    --require-hashes --no-deps --no-compile --no-input --disable-pip-version-check \
    --only-binary=:all: "${options[@]}" --target "$partial/site" --requirement "$pins" \
    >&2 2> >(tee "$partial/errors" >&2); then
    reason="pip could not fetch the wheels (its words are above): check the network and start again, or set LIBTORCH to a libtorch $want folder"
    if grep -q 'DO NOT MATCH THE HASHES' "$partial/errors"; then
      reason="a wheel is not the one pinned in third_party/libtorch.txt, so nothing was installed: check the proxy or mirror that pip uses"
    fi
    rm -rf "$partial"
    fail "$reason"
  fi

  reason=$(wrong "$partial/site/torch")
  if [[ -n $reason ]]; then
    rm -rf "$partial"
    fail "the installation $reason; nothing was kept: start again, and report it if it stays"
  fi
  sizes "$partial/site" >"$partial/site/.complete"
  sync -f "$partial/site/.complete"
  rm -rf "$target"
  mv -T "$partial/site" "$target"
  rm -rf "$partial"
}

main() {
  local reason found cache target
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

  cache=$(cache_folder)
  target=$cache/libtorch-${want}-$(sha256sum "$pins" | cut -c1-12)
  if ! complete "$target"; then
    [[ ${1:-} != --no-install ]] || fail "not installed: run make build, or set LIBTORCH to a libtorch $want folder"
    exec 9>"$cache/libtorch.lock"
    flock --nonblock 9 || {
      say "another set-up is installing; waiting for it"
      flock 9
    }
    complete "$target" || install "$cache" "$target"
  fi
  echo "$target/torch"
}

main "$@"
