#!/usr/bin/env bash
# Kalmia on two ranks beside what one would use instead on two threads: the ensemble's forward pass in PyTorch, whole cycles in NumPy.
#   share/benchmarks/compare.sh [-r ROUNDS] [--csv FILE] [ROW...]
# ROW is forward, eki or haber (default: all). Every formulation is tried; the fastest that leaves threads to the libraries, and the fastest
# that divides the members between two Python threads, then take turns with kalmia-bench over ROUNDS (5) rounds.
# Installs Debian's PyTorch and NumPy, and unpacks the OpenBLAS that has threads beside the build: installed, it would take the place of the
# one without, which Kalmia's ranks use. KALMIA_BENCH names the program (default: build/kalmia-bench). 4 GiB of memory, about five minutes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=jobs/setup.sh
. "$root/jobs/setup.sh"
bench=${KALMIA_BENCH:-$root/build/kalmia-bench}
options=()
rows=()
while [ $# -gt 0 ]; do
  case $1 in
    -r) options+=(--rounds "${2:?}") && shift 2 ;;
    --csv) options+=(--csv "${2:?}") && shift 2 ;;
    -*) sed -n '2,7s/^# //p' "$0" >&2 && exit 2 ;;
    *) rows+=("$1") && shift ;;
  esac
done
if [ ! -x "$bench" ]; then
  echo "compare: $bench is not there: build it, or name the program in KALMIA_BENCH" >&2
  exit 1
fi
kal_packages torch

# The folder of Debian's OpenBLAS with pthread's or OpenMP's threads, for LD_LIBRARY_PATH.
threaded() {
  local folder=openblas-$1 package=libopenblas0-$1 system unpacked=$root/build/openblas
  system=/usr/lib/$(uname -m)-linux-gnu
  if [ -d "$system/$folder" ]; then
    echo "$system/$folder"
    return 0
  fi
  if [ ! -d "$unpacked$system/$folder" ]; then
    mkdir -p "$unpacked"
    if ! (cd "$unpacked" && apt-get -q download "$package" && dpkg-deb -x "$package"_*.deb . && rm "$package"_*.deb) >"$unpacked/log" 2>&1; then
      tail -n 5 "$unpacked/log" >&2
      echo "compare: apt-get could not download $package; apt-get update may help" >&2
      return 1
    fi
  fi
  echo "$unpacked$system/$folder"
}

pthread=$(threaded pthread)
openmp=$(threaded openmp)
exec /usr/bin/python3 "$here/compare.py" --kalmia "$bench" --kernels "$(kal_blas_core)" "${options[@]}" --blas "$openmp" "$pthread" -- "${rows[@]}"
