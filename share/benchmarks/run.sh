#!/usr/bin/env bash
# Runs the benchmarks of this folder and prints a table: published score, what was measured, share of runs that diverged.
#   share/benchmarks/run.sh [-s SEEDS] [-c CYCLES] [-n RANKS] [NAME...]
# NAME is a file's name without .yaml (default: all); SEEDS and CYCLES override what the file says; RANKS is 1 by default,
# and as many runs as there are cores go on at once. KALMIA names the program (default: build/kalmia).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=jobs/setup.sh
. "$root/jobs/setup.sh"
kalmia=${KALMIA:-$root/build/kalmia}
seeds=
cycles=
ranks=1
while getopts s:c:n: option; do
  case $option in
    s) seeds=$OPTARG ;;
    c) cycles=$OPTARG ;;
    n) ranks=$OPTARG ;;
    *) sed -n '2,5s/^# //p' "$0" >&2 && exit 2 ;;
  esac
done
shift $((OPTIND - 1))
if [ ! -x "$kalmia" ]; then
  echo "benchmarks: $kalmia is not there: build it, or name the program in KALMIA" >&2
  exit 1
fi
if [ $# -eq 0 ]; then
  for file in "$here"/*.yaml; do set -- "$@" "$(basename "$file" .yaml)"; done
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

one() { # NAME SEED: the run's result line
  mpiexec -n "$ranks" "$kalmia" -options_file "$here/$1.yaml" -run_seed "$2" -run_monitor_every 0 ${cycles:+-run_cycles $cycles} </dev/null >"$work/$1.$2.log" 2>&1 ||
    echo "benchmarks: $1, seed $2 failed: $(tail -n 1 "$work/$1.$2.log")" >&2
}

value() { sed -n "s/^result:.* $1=\([^ ]*\).*/\1/p" "$2"; }

printf '%-32s %9s %8s %8s %8s %9s %6s %5s %8s\n' benchmark published median mean error diverged seeds ranks "s a run"
for name in "$@"; do
  if [ ! -r "$here/$name.yaml" ]; then
    echo "benchmarks: there is no $name.yaml in $here" >&2
    exit 1
  fi
  published=$(sed -n 's/^# published \([^ ]*\) .*/\1/p' "$here/$name.yaml")
  count=${seeds:-$(sed -n 's/^# published .* seeds \([0-9]*\)$/\1/p' "$here/$name.yaml")}
  for ((seed = 1; seed <= count; seed++)); do
    one "$name" "$seed" &
    while [ "$(jobs -rp | wc -l)" -ge $(($(kal_cores) / ranks > 0 ? $(kal_cores) / ranks : 1)) ]; do wait -n; done
  done
  wait
  for ((seed = 1; seed <= count; seed++)); do
    log=$work/$name.$seed.log
    echo "$(value rmse_analysis "$log") $(value diverged "$log") $(value seconds "$log")"
  done | sort -g | awk -v name="$name" -v published="$published" -v ranks="$ranks" '
    NF == 3 { x[++n] = $1; sum += $1; square += $1 * $1; diverged += $2; seconds += $3 }
    END {
      if (!n) { printf "%-32s %9s  no run ended\n", name, published; exit }
      median = n % 2 ? x[(n + 1) / 2] : (x[n / 2] + x[n / 2 + 1]) / 2
      mean = sum / n
      error = n > 1 ? sqrt((square - n * mean * mean) / (n - 1) / n) : 0
      printf "%-32s %9s %8.4f %8.4f %8.4f %6d/%-2d %6d %5d %8.2f\n", name, published, median, mean, error, diverged, n, n, ranks, seconds / n
    }'
done
