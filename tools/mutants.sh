#!/usr/bin/env bash
# Plants the errors of cgo/src/tests/mutants.txt into copies of the engine, one at a time, and demands that the engine's
# test fails with each. `make mutants` calls it; it takes some minutes.
#
#   tools/mutants.sh [WORD]    only those whose line contains WORD
#
# ISA chooses the instruction set (default: avx512, or the best that this processor has).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dir=$PWD/build/mutants
base=$dir/base
cxx=${CXX:-c++}
flags=(-std=c++20 -O1 -march=x86-64-v2 -fno-math-errno -fno-trapping-math -w)

die() {
  echo "$*" >&2
  exit 1
}

# Whether this processor has an instruction set.
has() {
  local f
  case $1 in
    avx2) f=avx2 ;;
    avx512) f=avx512bw ;;
    avx512_bf16) f=avx512_bf16 ;;
    amx) f=amx_bf16 ;;
    *) die "ISA is $1: amx, avx512_bf16, avx512 and avx2 exist" ;;
  esac
  grep -qw "$f" /proc/cpuinfo
}

# The flags with which CMakeLists.txt compiles it.
isa_flags() {
  local avx2="-fno-strict-aliasing -mavx2 -mfma"
  local avx512="$avx2 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512"
  case $1 in
    avx2) echo "$avx2" ;;
    avx512) echo "$avx512" ;;
    avx512_bf16) echo "$avx512 -mavx512bf16" ;;
    amx) echo "$avx512 -mavx512bf16 -mamx-tile -mamx-bf16" ;;
  esac
}

# compile ROOT SOURCE OBJECT [FLAG…]: a source below ROOT/src.
compile() {
  "$cxx" "${flags[@]}" "${@:4}" -c "$1/src/$2" -o "$3"
}

# A file that says of all instruction sets but one that they are missing.
others() {
  local i
  echo '#include "engine/isa.hh"'
  echo '#include "tests/engine/probe.hh"'
  for i in amx avx512_bf16 avx512 avx2; do
    if [[ $i != "$1" ]]; then
      echo "namespace tgo::engine { const Kernels* kernels_$i(bool) { return nullptr; } }"
      echo "namespace tgo::tests { const Probe* probe_$i(bool) { return nullptr; } }"
    fi
  done
}

copy() {
  mkdir -p "$1/src"
  cp -r cgo/src/engine cgo/src/tests "$1/src/"
}

# What no error changes: the tests and the reference.
build_base() {
  local f
  rm -rf "$dir"
  copy "$base"
  for f in "$base"/src/tests/engine/*.cc "$base/src/tests/engine_test.cc"; do
    if [[ $f != */probe_* ]]; then
      compile "$base" "${f#"$base/src/"}" "$base/$(basename "$f" .cc).o" -O2
    fi
  done
  for f in plan run features; do
    compile "$base" "engine/$f.cc" "$base/engine_$f.o"
  done
}

# Builds the test in ROOT for an instruction set, compiling only what may differ from the base.
build_test() {
  local root=$1 isa=$2 changed=$3 f
  local -a objects=("$base"/[!e]*.o "$base/engine_cases.o" "$base/engine_test.o") extra
  read -ra extra <<<"$(isa_flags "$isa")"
  others "$isa" >"$root/src/others.cc"
  compile "$root" others.cc "$root/others.o"
  for f in plan run features; do
    if [[ $changed == "$f.cc" ]]; then
      compile "$root" "engine/$f.cc" "$root/engine_$f.o"
      objects+=("$root/engine_$f.o")
    else
      objects+=("$base/engine_$f.o")
    fi
  done
  if [[ $changed == *.cc && -e $base/engine_probe_$isa.o ]]; then
    objects+=("$base/engine_probe_$isa.o")
  else
    compile "$root" "tests/engine/probe_$isa.cc" "$root/probe_$isa.o" "${extra[@]}"
    objects+=("$root/probe_$isa.o")
  fi
  "$cxx" "${objects[@]}" "$root/others.o" -Wl,--wrap=mmap,--wrap=munmap -pthread -o "$root/engine_test"
}

# Replaces the one occurrence of a text in a file.
plant() {
  local file=$1 from=$2 to=$3 text rest
  text=$(<"$file")
  rest=${text#*"$from"}
  [[ $rest != "$text" ]] || return 1
  [[ ${rest#*"$from"} == "$rest" ]] || return 1
  printf '%s\n' "${text%%"$from"*}$to$rest" >"$file"
}

caught=0 survived=0 skipped=0
mutant() {
  local file=$1 from=$2 to=$3 what=$4 isa=$5 root=$dir/one verdict=caught status=0
  if ! has "$isa"; then
    verdict="not run: no $isa here"
    skipped=$((skipped + 1))
  else
    rm -rf "$root"
    copy "$root"
    plant "$root/src/engine/$file" "$from" "$to" ||
      die "$file does not hold this text exactly once, see cgo/src/tests/mutants.txt: $from"
    build_test "$root" "$isa" "$file"
    { timeout 900 "$root/engine_test" --isa "$isa" --stop 1; } >"$root/log" 2>&1 || status=$?
    if ((status == 0 || status == 124)); then # 124: no answer in time, which is none
      verdict=SURVIVED
      survived=$((survived + 1))
    else
      ((status == 1)) || verdict="caught, exit status $status" # a crash
      caught=$((caught + 1))
    fi
  fi
  printf '%-17s %-12s %-9s %s\n' "$file" "$isa" "$verdict" "$what"
}

main() {
  local isa=${ISA:-} word=${1:-} record="" line
  if [[ -z $isa ]]; then
    isa=avx2
    ! has avx512 || isa=avx512
  fi
  build_base
  copy "$dir/none"
  build_test "$dir/none" "$isa" none
  "$dir/none/engine_test" --isa "$isa" >"$dir/none/log" 2>&1 ||
    die "the test fails without any planted error: $dir/none/log"
  cp "$dir/none/probe_$isa.o" "$base/engine_probe_$isa.o"
  while IFS= read -r line || [[ -n $line ]]; do
    if [[ -z $record && ($line == "#"* || -z $line) ]]; then
      continue
    fi
    record+=${record:+$'\n'}$line
    mapfile -t -d $'\x1f' fields < <(printf '%s' "${record// ⇒ /$'\x1f'}")
    if ((${#fields[@]} < 4)); then
      continue # the text goes on in the next line
    fi
    if [[ $record == *"$word"* ]]; then
      mutant "${fields[0]}" "${fields[1]}" "${fields[2]}" "${fields[3]}" "${fields[4]:-$isa}"
    fi
    record=""
  done <cgo/src/tests/mutants.txt
  echo "$caught caught, $survived survived, $skipped not run"
  ((survived == 0 && caught > 0))
}

main "$@"
