#!/usr/bin/env bash
# Checks and times the CUDA side on this machine's GPU (make setup-cuda first).
#
#   tools/gpu.sh check          every kernel against double precision, the step against the CPU's reference, both families
#   tools/gpu.sh bench […]      the kernels' times, then our step against PyTorch's (oracle/gpu_bench.py --help)
#
# The benchmark uses the active Python's torch if it sees the GPU, else the oracles' with the libraries of the set-up.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

check() {
  build/native/cuda_kernels_test
  # A skipped test must not pass for a check.
  go test -count=1 -v -run 'TestGraph_|TestCUDALibrary' ./trainer ./cgo | tee build/gpu-check.log
  ! grep -q 'needs a GPU' build/gpu-check.log || {
    echo "there is no GPU to check: its reason is above" >&2
    exit 69
  }
}

bench() {
  local python=${PYTHON:-python3}
  build/native/cuda_kernels_time
  if ! (cd / && "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null); then
    python=$(tools/get.sh oracle)
  fi
  exec "$python" oracle/gpu_bench.py "$@"
}

case ${1:-} in
  check) check ;;
  bench)
    shift
    bench "$@"
    ;;
  *)
    echo "usage: tools/gpu.sh check|bench" >&2
    exit 64
    ;;
esac
