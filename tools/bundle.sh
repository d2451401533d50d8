#!/usr/bin/env bash
# Makes bundle/plasticity-VERSION-linux-amd64: programs, libraries, configs and licences in one folder
# that runs on an x86-64 Linux without compilers, Python or network. `make bundle` calls it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=$1
name=plasticity-$version-linux-amd64
partial=bundle/.$name.partial

fail() {
  echo "bundle: $*" >&2
  exit 1
}

# libraries prints what libtgo.so needs of libtorch and its neighbours. The C and C++ runtimes are the
# machine's own: a bundled one would need a newer C library than everything else does.
libraries() {
  LD_LIBRARY_PATH=$libtorch/lib ldd "$partial/lib/libtgo.so" |
    awk -v site="${libtorch%/*}/" '/not found/ {print "missing " $1; exit}
      index($3, site) == 1 {print $3}' | sort -u
}

# licences copies the licence texts of everything in the bundle.
licences() {
  local info path dir file
  for info in "${libtorch%/*}"/{torch,nvidia_cuda_runtime,nvidia_cuda_cupti}-*.dist-info; do
    find "$info" -iname 'licen[sc]e*' -o -iname 'notice*' 2>/dev/null | while read -r file; do
      [[ ! -f $file ]] || install -Dm644 "$file" "$partial/licences/$(basename "${info%.dist-info}")/$(basename "$file")"
    done
  done
  install -Dm644 "$(go env GOROOT)/LICENSE" "$partial/licences/go/LICENSE"
  go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' ./cmd/... | sort -u |
    while read -r path dir; do
      find "$dir" -maxdepth 1 -type f \( -iname 'licen[sc]e*' -o -iname 'notice*' -o -iname 'copying*' \) |
        while read -r file; do
          install -Dm644 "$file" "$partial/licences/$path/$(basename "$file")"
        done
    done
}

# check looks whether the bundle stands alone: every library is in it or the C library's, and no
# search path leads out of it.
check() {
  local file line
  for file in "$1"/bin/plasticity-worker "$1"/lib/*.so*; do
    line=$(readelf -d "$file" | awk '/R(UN)?PATH/ {print $NF}' | tr -d '[]' | tr ':' '\n' | grep -v '^\$ORIGIN' || true)
    [[ -z $line ]] || fail "$file looks for libraries in $line"
  done
  line=$(env -i ldd "$1/bin/plasticity-worker" | awk -v lib="$(cd "$1" && pwd)/" '
    /=>/ && index($3, lib) != 1 && $1 !~ /^lib(c|m|dl|rt|util|pthread|gcc_s|stdc\+\+)\.so/ {print $1, $3}')
  [[ -z $line ]] || fail "the worker needs what is not in the bundle: $line"
  env -i "$1/bin/plasticity" --version >/dev/null || fail "its program does not start"
  env -i HOME="$PWD/$partial.home" "$1/bin/plasticity" doctor --products=false --json |
    grep -q '"native":{' || fail "its worker does not start"
}

libtorch=$(third_party/find_libtorch.sh)
rm -rf "bundle/$name" "$partial"
mkdir -p "$partial"/{bin,lib}
cgo/build.sh bundle
CGO_ENABLED=0 go build -trimpath -o "$partial/bin/" ./cmd/plasticity
CGO_ENABLED=1 go build -trimpath -tags bundle -o "$partial/bin/" ./cmd/plasticity-worker
install -m755 build/native/bundle/libtgo.so "$partial/lib/"
for library in $(libraries); do
  [[ $library != missing ]] || fail "a library that libtorch needs is not there: run make doctor"
  install -m755 "$library" "$partial/lib/"
done
mkdir -p "$partial/sweeps"
cp -r sweeps/configs sweeps/grids "$partial/sweeps/"
cp README.md LICENSE "$partial/"
licences
newest() { readelf -V "$partial"/bin/plasticity-worker "$partial"/lib/*.so* | grep -o "$1_[0-9.]*" | sort -Vu | tail -n 1; }
needs="$(newest GLIBC) and $(newest GLIBCXX)"
cat >"$partial/BUNDLE.txt" <<END
plasticity $version for x86-64 Linux with $needs (libc.so.6, libstdc++.so.6) or newer.
Start bin/plasticity from any folder; lib/ has to stay beside bin/. Licences are in licences/.
END
check "$partial"
rm -rf "$partial.home"
mv -T "$partial" "bundle/$name"
echo "bundle/$name ($(du -sh "bundle/$name" | cut -f1), needs $needs)"
