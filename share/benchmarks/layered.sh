#!/usr/bin/env bash
# Networks trained layer by layer, and PyTorch's Adam on the same data: test accuracy at the last epoch, mean of the seeds.
#   share/benchmarks/layered.sh [-s SEEDS] [NAME...]
# NAME is relu, heaviside, deep, sign, lenet, cnn (share/kalmia/layered-NAME.yaml) or adam-NAME (default: all). Each run has KALMIA_RANKS
# ranks (default: the cores), PyTorch as many threads. Prints, for each, accuracy with the standard deviation over seeds, negative
# log-likelihood, calibration error, seconds of training (median) and seconds to an accuracy of 0.88 (median of the seeds that reach it).
# KALMIA names the program (default: build/kalmia). Further arguments for kalmia go into KALMIA_ARGUMENTS.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=jobs/setup.sh
. "$root/jobs/setup.sh"
kalmia=${KALMIA:-$root/build/kalmia}
seeds=5
names=()
while [ $# -gt 0 ]; do
  case $1 in
    -s) seeds=${2:?} && shift 2 ;;
    -*) sed -n '2,7s/^# //p' "$0" >&2 && exit 2 ;;
    *) names+=("$1") && shift ;;
  esac
done
if [ ${#names[@]} -eq 0 ]; then names=(relu heaviside deep sign lenet cnn adam-relu adam-deep adam-lenet); fi
if [ ! -x "$kalmia" ]; then
  echo "layered: $kalmia is not there: build it, or name the program in KALMIA" >&2
  exit 1
fi
for name in "${names[@]}"; do
  if [ ! -f "$root/share/kalmia/layered-${name#adam-}.yaml" ]; then
    echo "layered: $name is no network; there are relu, heaviside, deep, sign, lenet, cnn and adam-… of them" >&2
    exit 1
  fi
done
kal_packages data
case "${names[*]}" in *adam-*) kal_packages torch ;; esac
ranks=${KALMIA_RANKS:-$(kal_cores)}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# One line of a run: accuracy nll ece seconds seconds-to-0.88 (or -).
train() {
  local name=$1 seed=$2
  if [ "$name" != "${name#adam-}" ]; then
    OMP_NUM_THREADS=$ranks /usr/bin/python3 "$here/layered.py" "$root/share/kalmia/layered-${name#adam-}.yaml" --seed "$seed" --threads "$ranks"
    return
  fi
  # shellcheck disable=SC2086
  mpiexec -n "$ranks" "$kalmia" -options_file "$root/share/kalmia/layered-$name.yaml" -run_seed "$seed" ${KALMIA_ARGUMENTS:-} >"$log"
  awk '
    /^cycle/ { for (i = 1; i < NF; i++) { if ($i == "accuracy") a = $(i + 1); if ($i == "cycle") c = $(i + 1) }
               if (a >= 0.88 && !reached) reached = c }
    /^result/ { for (i = 1; i <= NF; i++) { split($i, p, "="); v[p[1]] = p[2] } }
    END { print v["accuracy"], v["nll"], v["ece"], v["seconds"], reached ? v["seconds"] * reached / v["cycles"] : "-" }' "$log"
}

printf '%-12s %-18s %-8s %-8s %-8s %s\n' network accuracy nll ece seconds "seconds to 0.88"
for name in "${names[@]}"; do
  for ((seed = 1; seed <= seeds; seed++)); do train "$name" "$seed"; done | /usr/bin/python3 -c '
import statistics, sys
rows = [line.split() for line in sys.stdin]
column = lambda k: [float(row[k]) for row in rows]
reached = [float(row[4]) for row in rows if row[4] != "-"]
a = column(0)
spread = statistics.stdev(a) if len(a) > 1 else 0.0
to = f"{statistics.median(reached):.1f} ({len(reached)} of {len(rows)})" if reached else "-"
print(f"{sys.argv[1]:12} {statistics.mean(a):.4f} +- {spread:.4f}  {statistics.mean(column(1)):.4f}   {statistics.mean(column(2)):.4f}   {statistics.median(column(3)):<8.1f} {to}", flush=True)' "$name"
done
