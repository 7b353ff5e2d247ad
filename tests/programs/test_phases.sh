#!/usr/bin/env bash
# labels: long
# What the phases of a cycle move: counted bytes and messages against the formula of the architecture page, on 1 to 7 ranks, in both exchanges.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

model=$KALMIA_SOURCE/share/performance/model.py
make_data classes classes.h5
network="-observations_path classes.h5 -mlp_layers 20,40,4 -observations_batch 97 -run_evaluate_ensemble 0"
common="-run_cycles 3 -run_monitor_every 0 -ensemble_block_rows 100"

# counted "what" "OPTIONS OF THE FORMULA" RANKS... -- OPTION...: one table for each number of ranks and exchange, held against the formula.
counted() {
  local what=$1 sizes=$2 ranks exchange counts=()
  shift 2
  while [ "$1" != -- ]; do counts+=("$1") && shift; done
  shift
  rm -f ./*.csv
  for ranks in "${counts[@]}"; do
    for exchange in messages shared; do
      # shellcheck disable=SC2086 # options by spaces
      run "$ranks" "$KALMIA_BIN/kalmia" $common "$@" -ensemble_exchange "$exchange" -run_phases "$exchange-$ranks.csv" >out 2>&1 || tail -n 3 out
    done
  done
  # shellcheck disable=SC2086
  check "$what: within 1.1 of the formula" "$PYTHON" "$model" check --block-rows 100 $sizes ./*.csv >report || cat report
  check "$what: something was compared" [ "$(wc -l <report)" -gt $((2 * ${#counts[@]})) ]
}

# shellcheck disable=SC2086
counted "eki" "--outputs 4" 1 2 3 4 5 6 7 -- $network -ensemble_size 13
# shellcheck disable=SC2086
counted "eki, blocks that travel together" "--outputs 4 --block-rows 16" 3 7 -- $network -ensemble_size 13 -ensemble_block_rows 16
# shellcheck disable=SC2086
counted "eki, sums in slices, momentum, perturbed observations" "--outputs 4 --copies 1 --stochastic" 3 7 -- $network -ensemble_size 101 -eki_momentum nesterov -eki_update stochastic -observations_loss squared
# shellcheck disable=SC2086
counted "haber" "--outputs 4" 3 7 -- $network -ensemble_size 12 -analysis_type haber
counted "etkf in time" "" 3 7 -- -model_type lorenz96 -lorenz96_size 500 -observations_type twin -observations_interval 0.05 -observations_stride 2 -ensemble_size 20 -analysis_type etkf

# A table: all phases, seconds that add up, nothing moved by one rank.
# shellcheck disable=SC2086
run 1 "$KALMIA_BIN/kalmia" $common $network -ensemble_size 13 -snapshot_path s.h5 -run_phases one.csv >out 2>&1
check "one rank moves nothing" awk -F, 'NR > 1 && ($11 + $13 + $15 + $19) { bad = 1 } END { exit bad }' one.csv
check "the snapshot at the end is counted" awk -F, '$9 == "snapshot" && $10 > 0 { found = 1 } END { exit !found }' one.csv
check "phases add up" awk -F, 'NR > 1 { if ($9 == "all") all = $10; else sum += $10 } END { d = all - sum; exit !(d * d < 1e-8 && all > 0) }' one.csv
check "cycles are counted" [ "$(awk -F, 'NR == 2 { print $8 }' one.csv)" = 3 ]
# shellcheck disable=SC2086
run 2 "$KALMIA_BIN/kalmia" $common $network -ensemble_size 13 -ensemble_exchange messages -run_phases two.csv -log_view :log.txt >out 2>&1
check "-log_view counts messages too" awk '$1 == "KalExchange" && $8 > 0 { found = 1 } END { exit !found }' log.txt
# shellcheck disable=SC2086
expect_fail "-run_phases none/table.csv cannot be written" run 2 "$KALMIA_BIN/kalmia" $common $network -ensemble_size 13 -run_phases none/table.csv
summary
