#!/usr/bin/env bash
# How the local filter scales: letkf on Lorenz-96 with n = 10^6, N = 64 and 10^5 observations, on 1, 2, ... ranks of this machine.
#   share/benchmarks/scaling.sh [-n SIZE] [-c CYCLES] [RANKS...]
# RANKS are 1 and as many as there are cores by default. Seconds are those of the last cycle (the slowest rank's), which should be run with
# nothing else on the machine. KALMIA names the program (default: build/kalmia). About 1.5 GiB of memory for the default size.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=jobs/setup.sh
. "$root/jobs/setup.sh"
kalmia=${KALMIA:-$root/build/kalmia}
size=1000000
cycles=2
while getopts n:c: option; do
  case $option in
    n) size=$OPTARG ;;
    c) cycles=$OPTARG ;;
    *) sed -n '2,6s/^# //p' "$0" >&2 && exit 2 ;;
  esac
done
shift $((OPTIND - 1))
if [ $# -eq 0 ]; then set -- 1 "$(kal_cores)"; fi

printf '%5s %10s %10s %10s %10s %11s  %s\n' ranks forecast observe analysis cycle efficiency checksum
base=
for ranks in "$@"; do
  log=$(mpiexec -n "$ranks" "$kalmia" -model_type lorenz96 -lorenz96_size "$size" -lorenz96_variance 1 -observations_type twin -observations_stride 10 -observations_noise 1 \
    -ensemble_size 64 -analysis_type letkf -letkf_batch 6 -localization_type gaspari-cohn -localization_radius 100 -inflation_factor 1.05 -run_cycles "$cycles" -run_monitor_every 1 </dev/null)
  line=$(grep "^cycle *$cycles " <<<"$log" | sed 's/.*  s \([^ ]*\).*/\1/')
  sum=$(sed -n 's/^result:.* checksum=//p' <<<"$log")
  IFS=+ read -r forecast observe analysis <<<"$line"
  total=$(awk -v a="$forecast" -v b="$observe" -v c="$analysis" 'BEGIN { print a + b + c }')
  base=${base:-$(awk -v t="$total" -v r="$ranks" 'BEGIN { print t * r }')}
  printf '%5d %10.2f %10.2f %10.2f %10.2f %11.2f  %s\n' "$ranks" "$forecast" "$observe" "$analysis" "$total" "$(awk -v b="$base" -v t="$total" -v r="$ranks" 'BEGIN { print b / t / r }')" "$sum"
done
