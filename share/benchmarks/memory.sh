#!/usr/bin/env bash
# Peak memory of a training run against n, N and the number of ranks, beside what it is to be: (1 + copies) shares of the ensemble, p x N,
# N x N and the data set, each once, and 64 MiB a rank.
#   share/benchmarks/memory.sh [-n "SIZE..."] [-N "MEMBERS..."] [-r "RANKS..."] [-p OBSERVATIONS] [-e]
# Defaults: -n "100000 1000000" -N "64 256" -r "1 2 4" -p 10000. Each is one cycle of etki, its score and its snapshot. Then, for the last n and
# N of the lists, momentum (a copy of the ensemble) and exchange by messages, on 2 ranks; -e: these two alone.
# Memory is PSS, polled all the time (pss.py), summed over the ranks; "most" is the rank that took most. KALMIA names the program (default:
# build/kalmia). Exits with 1 where a ratio is above 1.15 and n >= 10^6. For the defaults: 7 GiB of memory and of $TMPDIR, five minutes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=jobs/setup.sh
. "$root/jobs/setup.sh"
kalmia=${KALMIA:-$root/build/kalmia}
sizes="100000 1000000"
members="64 256"
counts="1 2 4"
p=10000
extra=0
while getopts n:N:r:p:e option; do
  case $option in
    n) sizes=$OPTARG ;;
    N) members=$OPTARG ;;
    r) counts=$OPTARG ;;
    p) p=$OPTARG ;;
    e) extra=1 ;;
    *) sed -n '2,9s/^# //p' "$0" >&2 && exit 2 ;;
  esac
done
if [ ! -x "$kalmia" ]; then
  echo "memory: $kalmia is not there: build it, or name the program in KALMIA" >&2
  exit 1
fi
python=
for name in "${KALMIA_PYTHON:-/usr/bin/python3}" python3; do
  if [ -z "$python" ] && "$name" -c 'import h5py, numpy' 2>/dev/null; then python=$name; fi
done
if [ -z "$python" ] || [ ! -r /proc/self/smaps_rollup ]; then
  echo "memory: this needs a Python with numpy and h5py, and a /proc with smaps_rollup" >&2
  exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# 1000 inputs, 10 classes, one hidden layer: a batch is the whole training set.
samples=$(((p + 9) / 10))
"$python" "$root/tests/programs/makedata.py" classes data.h5 "$samples" 1000 10
above=0

# row N RANKS COPIES WHAT OPTION...: for a network of `hidden` hidden units
row() {
  local N=$1 ranks=$2 copies=$3 what=$4 n=$((1011 * hidden + 10)) sampler code=0 sum most
  shift 4
  rm -f pids run.h5*
  "$python" "$here/pss.py" "$ranks" pids >peak &
  sampler=$!
  # shellcheck disable=SC2016 # expanded in that shell
  timeout 230 mpiexec -n "$ranks" bash -c 'echo $$ >>pids; exec "$@"' - "$kalmia" -observations_path data.h5 -mlp_layers "1000,$hidden,10" -ensemble_size "$N" \
    -run_cycles 1 -snapshot_path run.h5 "$@" </dev/null >log 2>&1 || code=$?
  if [ ! -s pids ]; then kill $sampler; fi
  wait $sampler || true
  read -r sum most <peak
  if [ $code -ne 0 ] || [ "$sum" = 0 ]; then
    echo "memory: the run on $ranks ranks failed: $(tail -n 1 log)" >&2
    return 1
  fi
  awk -v n="$n" -v N="$N" -v ranks="$ranks" -v copies="$copies" -v what="$what" -v p=$((10 * samples)) -v data="$(stat -c %s data.h5)" -v sum="$sum" -v most="$most" 'BEGIN {
    estimate = ((1 + copies) * n * N * 8 + p * N * 8 + N * N * 8 + data) / 1048576 / ranks
    ratio = sum / 1024 / ranks / (estimate + 64)
    printf "%9d %5d %5d %6d %-9s %10.1f %10.1f %10.1f %8.3f\n", n, N, ranks, copies, what, estimate, sum / 1024 / ranks, most / 1024, ratio
    exit n >= 1000000 && ratio > 1.15 }' || above=1
}

printf 'MiB a rank%66s\n' 'measured/'
printf '%9s %5s %5s %6s %-9s %10s %10s %10s %8s\n' n N ranks copies exchange estimate measured most '(e. + 64)'
for n in $sizes; do
  hidden=$(((n + 1000) / 1011))
  for N in $members; do
    for ranks in $counts; do
      if [ $extra = 0 ]; then row "$N" "$ranks" 0 auto -analysis_type etki; fi
    done
  done
done
row "$N" 2 1 auto -analysis_type eki -eki_momentum nesterov
row "$N" 2 0 messages -analysis_type etki -ensemble_exchange messages
exit $above
