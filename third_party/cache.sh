# Things that are installed once into the user's cache; sourced by the other scripts.
#
# An installation is made in a folder of its own, renamed into place last, under a lock: a stop
# half-way leaves nothing that a later start would take for complete.

set -euo pipefail
shopt -s inherit_errexit
python=${PYTHON:-python3}

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# cache_folder prints the cache: $PLASTICITY_CACHE, else $XDG_CACHE_HOME/plasticity, else
# ~/.cache/plasticity.
cache_folder() {
  local dir=${PLASTICITY_CACHE:-}
  [[ -n $dir ]] || dir=${XDG_CACHE_HOME:-${HOME:?set HOME or PLASTICITY_CACHE}/.cache}/plasticity
  { mkdir -p "$dir" && [[ -w $dir ]]; } 2>/dev/null ||
    fail "the cache folder $dir cannot be written: set PLASTICITY_CACHE to a folder of yours"
  (cd "$dir" && pwd)
}

# hash_of FILE… prints a short hash of files (of their content, not of their names).
hash_of() { cat "$@" | sha256sum | cut -c1-12; }

# libraries DIR lists the shared libraries under DIR with their sizes: what the marker of a complete
# installation holds, and what is compared with it at every start.
libraries() { (cd "$1" && find . -name '*.so*' -type f -printf '%s %p\n' | LC_ALL=C sort); }

complete() { [[ -f $1/.complete ]] && libraries "$1" | cmp -s - "$1/.complete"; }

# once NAME MEGABYTES MAKER prints the folder NAME in the cache; MAKER FOLDER fills it if it is not
# there or not whole. MAKER says why when it fails.
once() {
  local name=$1 megabytes=$2 maker=$3 cache target free
  cache=$(cache_folder)
  target=$cache/$name
  if ! complete "$target"; then
    exec 9>"$cache/${name%%-*}.lock"
    flock --nonblock 9 || {
      echo "another set-up is making $target; waiting for it" >&2
      flock 9
    }
    if ! complete "$target"; then
      free=$(df --output=avail -m "$cache" | tail -1)
      ((free > megabytes)) ||
        fail "$target needs $megabytes MB and the disk has $((free)) MB free: make room, or set PLASTICITY_CACHE to another disk"
      rm -rf "$cache/${name%%-*}"-*.partial # left by a set-up that was stopped; the lock is ours
      mkdir "$target.partial"
      # shellcheck disable=SC2064 # the name as it is now
      trap "rm -rf '$target.partial'" EXIT
      "$maker" "$target.partial" >&2
      libraries "$target.partial" >"$target.partial/.complete"
      sync -f "$target.partial/.complete"
      rm -rf "$target"
      mv -T "$target.partial" "$target"
      trap - EXIT
    fi
    exec 9>&-
  fi
  echo "$target"
}

# need_pip PURPOSE stops with a remedy when there is no Python with pip.
need_pip() {
  command -v "$python" >/dev/null ||
    fail "python3 is needed to install $1: install it (Debian: apt install python3-pip)"
  "$python" -m pip --version >/dev/null 2>&1 ||
    fail "python3 has no pip, which is needed to install $1: install it (Debian: apt install python3-pip)"
}

# pip_install FOLDER REQUIREMENTS [OPTION…] installs pinned wheels into FOLDER, never into the user's Python.
pip_install() {
  local folder=$1 requirements=$2 errors status=0
  shift 2
  mkdir -p "$folder/.tmp"
  errors=$folder/.tmp/errors
  TMPDIR=$folder/.tmp PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_ROOT_USER_ACTION=ignore \
    "$python" -m pip install --require-hashes --no-deps --no-compile --no-input \
    --disable-pip-version-check --only-binary=:all: "$@" --target "$folder" --requirement "$requirements" \
    >&2 2>"$errors" || status=$?
  grep -v '^WARNING: Target directory' "$errors" >&2 || true
  if ((status)); then
    if grep -q 'DO NOT MATCH THE HASHES' "$errors"; then
      fail "a wheel is not the one pinned in $requirements, so nothing was installed: check the proxy or mirror that pip uses"
    fi
    fail "pip could not install what $requirements asks for (its words are above), and nothing was kept: check the network, then start again"
  fi
  rm -rf "$folder/.tmp"
}
