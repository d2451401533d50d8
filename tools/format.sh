#!/usr/bin/env bash
# Runs clang-format with the given flags (-i, or --dry-run -Werror) over our C and C++ sources.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
find cgo \( -name '*.h' -o -name '*.hh' -o -name '*.cc' -o -name '*.cu' -o -name '*.cuh' \) -not -name tgo_stamp.h -print0 |
  xargs -0 "$(tools/get.sh clang-format)" "$@"
