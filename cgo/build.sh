#!/usr/bin/env bash
# Builds the native library or its sanitized tests with CMake; finds or installs libtorch first.
#
#   cgo/build.sh native   build/lib/libtgo.so, what Go links
#   cgo/build.sh bundle   build/native/bundle/libtgo.so, which looks for libtorch beside itself
#   cgo/build.sh cuda     build/lib/libtgo_cuda.so beside it, and build/native/cuda_kernels_{test,time}
#   cgo/build.sh asan     build/asan/*_test, the C++ tests under sanitizers
#
# Builds only what changed. Two at a time wait for each other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

need() {
  command -v "$1" >/dev/null || {
    echo "$1 is needed to build the native library: install it (Debian: apt install $2)" >&2
    exit 1
  }
}

main() {
  local kind=$1 dir libtorch log cuda
  local -a options target=()
  case $kind in
    native | bundle) dir=native options=(-DTGO_OUTPUT="$PWD/build/lib") ;;
    cuda)
      # From here on `make build` builds both: one without the other would not fit.
      dir=native options=(-DTGO_OUTPUT="$PWD/build/lib" -DTGO_CUDA=ON) target=(--target all cuda_kernels_test cuda_kernels_time)
      cuda=$(third_party/find_cuda.sh)
      options+=(-DTGO_NVCC="$cuda/bin/nvcc" -DTGO_CUDA_INCLUDE="$cuda/include")
      ;;
    asan) dir=asan options=(-DTGO_ASAN=ON) ;;
    *)
      echo "usage: cgo/build.sh native|bundle|cuda|asan" >&2
      exit 64
      ;;
  esac
  if [[ $kind == bundle ]]; then
    target=(--target tgo_bundle)
  fi
  need cmake cmake
  need "${CXX:-c++}" g++
  libtorch=$(third_party/find_libtorch.sh)

  dir=$PWD/build/$dir
  mkdir -p "$dir"
  exec 8>"$dir.lock"
  flock 8
  # A folder configured elsewhere (the clone was moved) cannot be used again.
  if ! grep -qsx "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD/cgo" "$dir/CMakeCache.txt"; then
    rm -rf "$dir"
    mkdir -p "$dir"
    if command -v ninja >/dev/null; then
      options+=(-G Ninja)
    fi
  fi
  log=$dir/build.log
  if ! { cmake -S cgo -B "$dir" -DLIBTORCH="$libtorch" "${options[@]}" &&
    cmake --build "$dir" --parallel "$(nproc)" "${target[@]}"; } >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "the native build failed; the whole log is $log" >&2
    exit 1
  fi
}

main "${1:-}"
