#!/usr/bin/env bash
# labels: long memory
# Peak memory at n = 10^6, N = 256: PSS summed over the ranks, sampled from start to end (analysis and snapshot included),
# stays within 1.15 of (1 + copies) n N 8 bytes + p N 8 + N N 8 + the data set + 64 MiB a rank.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

[ -r /proc/self/smaps_rollup ] || skip "this system has no /proc/PID/smaps_rollup"
case "${KALMIA_SANITIZE:-}${ASAN_OPTIONS:-}" in ?*) skip "a sanitizer's own memory would be counted" ;; esac
gib() { awk -v kib="$1" 'BEGIN { printf "%.1f", kib / 1048576 }'; }
available=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
[ "$available" -ge $((7 << 20)) ] || skip "$(gib "$available") GiB of memory are free, 7 are needed"
shm=$(df -Pk /dev/shm | awk 'NR == 2 { print $4 }')
[ "$shm" -ge $((5 << 20)) ] || skip "$(gib "$shm") GiB of /dev/shm are free, 5 are needed"
disk=$(df -Pk . | awk 'NR == 2 { print $4 }')
[ "$disk" -ge $((6 << 20)) ] || skip "$(gib "$disk") GiB of disk are free in $scratch, 6 are needed"

make_data classes classes.h5 80 1000 10
samples=20

# measure "what" RANKS COPIES OPTION...
measure() {
  local what=$1 ranks=$2 copies=$3 peak most
  shift 3
  rm -f pids run.h5*
  "$PYTHON" "$KALMIA_SOURCE/share/benchmarks/pss.py" "$ranks" pids >peak &
  local sampler=$!
  check "$what: runs" run "$ranks" bash -c 'echo $$ >>pids; exec "$@"' - "$KALMIA_BIN/kalmia" -observations_path classes.h5 -observations_batch $samples \
    -mlp_layers 1000,990,10 -ensemble_size 256 -snapshot_path run.h5 -snapshot_keep 1 "$@" >out 2>err || grep kalmia: err
  wait $sampler
  read -r peak most <peak
  check "$what: the snapshot holds it all" [ "$(stat -c %s run.h5)" -ge $(((1 + copies) * 1000890 * 256 * 8)) ]
  check "$what: peak $peak KiB, $most in one rank" awk -v peak="$peak" -v ranks="$ranks" -v copies="$copies" -v p=$((samples * 10)) -v data="$(stat -c %s classes.h5)" 'BEGIN {
    n = 1000 * 990 + 990 + 990 * 10 + 10; N = 256
    stated = ((1 + copies) * n * N * 8 + p * N * 8 + N * N * 8 + data) / 1024 + ranks * 65536
    printf "    peak PSS %.0f MiB, stated %.0f MiB, ratio %.3f\n", peak / 1024, stated / 1024, peak / stated
    exit !(peak > 0.9 * (1 + copies) * n * N * 8 / 1024 && peak <= 1.15 * stated) }'
  rm -f run.h5*
}

measure "etki, 1 rank" 1 0 -run_cycles 1 -analysis_type etki
measure "eki with perturbed observations, messages, 2 ranks" 2 0 -run_cycles 1 -analysis_type eki -eki_update stochastic -observations_loss squared -ensemble_exchange messages
measure "eki with momentum and redraw, shared, 2 ranks" 2 1 -run_cycles 2 -analysis_type eki -eki_momentum nesterov -eki_redraw_cycles 1 -ensemble_exchange shared
measure "etki with momentum, messages, 4 ranks" 4 1 -run_cycles 2 -analysis_type etki -etki_momentum nesterov -ensemble_exchange messages
summary
