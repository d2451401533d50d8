#!/usr/bin/env bash
# Prints the path of a tool that `make check` or `make oracle` needs; makes it once, in the cache.
#
#   tools/get.sh golangci-lint   built from tools/go.mod
#   tools/get.sh clang-format    version 14, whose output cgo/ is compared with
#   tools/get.sh oracle          a Python with torch, transformers, tokenizers (third_party/oracle.txt)
#   tools/get.sh answers         a Python with math-verify (third_party/answers.txt)
#   tools/get.sh probes          a Python with scikit-learn (third_party/probes.txt)
#   tools/get.sh prometheus      Prometheus with promtool beside it: installed, or Debian's package unpacked in the cache
#   tools/get.sh grafana-schema  a folder with Grafana's schema and TypeScript (third_party/grafana-schema)
#   tools/get.sh pages           a folder with axe and what drives Chromium (third_party/pages)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
# shellcheck source=third_party/cache.sh
source "$root/third_party/cache.sh"

golangci_lint() {
  echo "building golangci-lint once (some minutes)" >&2
  (cd "$root/tools" && GOFLAGS=-mod=readonly go build -o "$1/golangci-lint" \
    github.com/golangci/golangci-lint/v2/cmd/golangci-lint)
}

clang_format() {
  need_pip "clang-format (or install clang-format 14)"
  pip_install "$1" "$root/third_party/clang-format.txt"
}

# environment FOLDER REQUIREMENTS makes an environment of the user's Python. Its packages go where they
# belong by --target, so that it needs no pip of its own and can be renamed.
environment() {
  need_pip "the oracles' Python environment"
  "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' ||
    fail "the oracles need Python 3.11 to 3.14 and $python is $("$python" -V): set PYTHON to one of those"
  "$python" -m venv --without-pip --symlinks "$1"
  pip_install "$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" "$2"
}

# can_import FOLDER MODULES stops when the environment in FOLDER has them not.
can_import() {
  (cd / && "$1/bin/python" -c "import $2") ||
    fail "the environment cannot be used (its words are above); nothing was kept"
}

oracle() {
  echo "installing the oracles' Python environment: 1.6 GB to fetch, 3.9 GB on disk" >&2
  environment "$1" "$root/third_party/oracle.txt"
  can_import "$1" "torch, transformers, safetensors, tokenizers"
}

answers() {
  environment "$1" "$root/third_party/answers.txt"
  can_import "$1" math_verify
}

probes() {
  environment "$1" "$root/third_party/probes.txt"
  can_import "$1" sklearn
}

# prometheus FOLDER unpacks Debian's package, which apt checks; no root is needed. Lists of its own only where there are none.
prometheus() (
  remedy="Prometheus is needed: install it (Debian: apt install prometheus)"
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "$remedy"
  cd "$1"
  if ! apt-get download prometheus; then
    mkdir -p apt/lists/partial apt/archives/partial
    options=(-o "Dir::State::Lists=$1/apt/lists" -o "Dir::Cache=$1/apt" -o APT::Update::Post-Invoke=)
    apt-get "${options[@]}" update && apt-get "${options[@]}" download prometheus || fail "$remedy"
  fi
  dpkg-deb -x prometheus_*.deb .
  rm -rf apt prometheus_*.deb
  usr/bin/prometheus --version || fail "Debian's prometheus does not start here: $remedy"
)

# npm_packages FOLDER PINNED installs what a folder of third_party pins.
npm_packages() {
  command -v npm >/dev/null || fail "npm is needed: install it (Debian: apt install npm)"
  cp "$2"/package*.json "$1"
  npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund
}

grafana_schema() { npm_packages "$1" "$root/third_party/grafana-schema"; }

pages() { npm_packages "$1" "$root/third_party/pages"; }

# python_version prints the user's Python version, which is part of an environment's name.
python_version() {
  "$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null ||
    fail "python3 is needed for the oracles: install it (Debian: apt install python3-venv python3-pip)"
}

case ${1:-} in
  golangci-lint)
    dir=$(once "lint-$(cat "$root"/tools/go.{mod,sum} <(go env GOVERSION) | hash_of)" 400 golangci_lint)
    echo "$dir/golangci-lint"
    ;;
  clang-format)
    if clang-format --version 2>/dev/null | grep -q 'version 14\.'; then
      command -v clang-format
    else
      dir=$(once "format-$(hash_of "$root/third_party/clang-format.txt")" 100 clang_format)
      echo "$dir/clang_format/data/bin/clang-format"
    fi
    ;;
  oracle)
    version=$(python_version)
    dir=$(once "oracle-py$version-$(hash_of "$root/third_party/oracle.txt")" 6000 oracle)
    echo "$dir/bin/python"
    ;;
  answers)
    version=$(python_version)
    dir=$(once "answers-py$version-$(hash_of "$root/third_party/answers.txt")" 200 answers)
    echo "$dir/bin/python"
    ;;
  probes)
    version=$(python_version)
    dir=$(once "probes-py$version-$(hash_of "$root/third_party/probes.txt")" 400 probes)
    echo "$dir/bin/python"
    ;;
  prometheus)
    if command -v promtool >/dev/null && command -v prometheus; then
      exit
    fi
    name=prometheus-$(uname -m)-$(hash_of /etc/os-release)
    if [[ ${2:-} == --there ]]; then # what is there already, or nothing
      dir=$(cache_folder)/$name
      complete "$dir"
    else
      dir=$(once "$name" 300 prometheus)
    fi
    echo "$dir/usr/bin/prometheus"
    ;;
  grafana-schema)
    once "grafana-$(hash_of "$root"/third_party/grafana-schema/package*.json)" 100 grafana_schema
    ;;
  pages)
    once "pages-$(hash_of "$root"/third_party/pages/package*.json)" 100 pages
    ;;
  *)
    fail "usage: tools/get.sh golangci-lint|clang-format|oracle|answers|probes|prometheus|grafana-schema|pages"
    ;;
esac
