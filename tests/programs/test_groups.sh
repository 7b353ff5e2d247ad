#!/usr/bin/env bash
# labels: long
# Groups of ranks that run members together: the result line of one rank, checksum included, in groups of 1 to 3 of 1 to 7 ranks; restarts with
# other groups, predictions, and what the groups move, against the formula.
# shellcheck disable=SC2086 # options by spaces
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

make_data classes classes.h5
network="-observations_path $PWD/classes.h5 -mlp_layers 20,13,4 -observations_batch 97"
lorenz="-model_type lorenz96 -lorenz96_size 60 -observations_type twin -observations_stride 2 -run_burn_in 0"
common="-run_cycles 5 -run_monitor_every 0 -run_seed 3"
line() { sed -n 's/^\(result: .*\) seconds=[0-9.]*\(.*\)/\1\2/p' "$1"; }

cases=(
  "eki, momentum, shared, single
   $network -analysis_type eki -eki_momentum nesterov -ensemble_size 13 -model_precision single -ensemble_exchange shared"
  "eki, messages, redraw, fewer members than groups
   $network -analysis_type eki -ensemble_size 2 -eki_redraw_cycles 2 -ensemble_exchange messages"
  "haber, line search
   $network -analysis_type haber -haber_line_search 3 -haber_step 1 -ensemble_size 11 -run_evaluate_every 2"
  "etkf
   $lorenz -analysis_type etkf -ensemble_size 9 -ensemble_exchange messages"
  "letkf
   $lorenz -analysis_type letkf -localization_radius 4 -ensemble_size 9 -ensemble_block_rows 7"
)
for case in "${cases[@]}"; do
  name=${case%%$'\n'*}
  read -ra options <<<"${case#*$'\n'} $common"
  run 1 "$KALMIA_BIN/kalmia" "${options[@]}" >one 2>&1
  check "$name: runs" [ -n "$(line one)" ] || tail -n 2 one
  for groups in "2 2" "3 3" "4 2" "6 3" "7 1"; do
    run "${groups% *}" "$KALMIA_BIN/kalmia" "${options[@]}" -run_ranks_per_member "${groups#* }" >out 2>&1
    check "$name: ${groups% *} ranks, ${groups#* } a member" [ "$(line out)" = "$(line one)" ] || tail -n 2 out
  done
done

# A model that one rank runs is warned of; a network is not.
run 2 "$KALMIA_BIN/kalmia" $lorenz $common -analysis_type etkf -ensemble_size 4 -run_ranks_per_member 2 >out 2>&1
check "a warning where groups are of no use" grep -q "warning: -run_ranks_per_member 2: a member of the model lorenz96 is run by one rank" out
run 2 "$KALMIA_BIN/kalmia" $network $common -ensemble_size 4 -run_ranks_per_member 2 >out 2>&1
check "and none where they are" [ "$(grep -c "warning:.*per_member" out)" = 0 ]

# The snapshot of one grouping goes on with another, which is no part of the run's description.
settings="$network $common -ensemble_size 13"
run 1 "$KALMIA_BIN/kalmia" $settings -snapshot_path whole.h5 >one 2>&1
run 4 "$KALMIA_BIN/kalmia" $settings -run_cycles 2 -run_ranks_per_member 2 -snapshot_path part.h5 >out 2>&1
cp part.h5 other.h5
run 3 "$KALMIA_BIN/kalmia" -restart part.h5 -run_cycles 5 -snapshot_path part.h5 >out 2>&1
check "restart of groups of 2 without groups" [ "$(line out)" = "$(line one)" ] || tail -n 2 out
run 3 "$KALMIA_BIN/kalmia" -restart other.h5 -run_cycles 5 -run_ranks_per_member 3 -snapshot_path other.h5 >out 2>&1
check "restart of groups of 2 in one of 3" [ "$(line out)" = "$(line one)" ] || tail -n 2 out
run 1 "$KALMIA_BIN/kalmia-predict" whole.h5 classes.h5 -output p1.h5 >one 2>&1
run 4 "$KALMIA_BIN/kalmia-predict" whole.h5 classes.h5 -output p4.h5 -run_ranks_per_member 2 >out 2>&1
check "predictions in groups" [ -n "$(grep ^result: one)" -a "$(grep ^result: one)" = "$(grep ^result: out)" ] || tail -n 2 out

# What the groups move.
for exchange in messages shared; do
  run 6 "$KALMIA_BIN/kalmia" $settings -run_ranks_per_member 3 -run_evaluate_ensemble 0 -ensemble_exchange $exchange -run_phases $exchange.csv >out 2>&1
  run 4 "$KALMIA_BIN/kalmia" $settings -analysis_type haber -run_ranks_per_member 2 -run_evaluate_ensemble 0 -ensemble_exchange $exchange -run_phases haber-$exchange.csv >out 2>&1
done
check "bytes and messages within 1.1 of the formula" "$PYTHON" "$KALMIA_SOURCE/share/performance/model.py" check --outputs 4 ./*.csv >report || cat report
check "something was compared" [ "$(wc -l <report)" -gt 12 ]

expect_fail "3 ranks do not make groups of 2" run 3 "$KALMIA_BIN/kalmia" $settings -run_ranks_per_member 2
expect_fail "3 ranks do not make groups of 2" run 3 "$KALMIA_BIN/kalmia" $settings -run_ranks_per_member 2 -run_dry
expect_fail "-run_schedule dynamic with -run_ranks_per_member 2" run 2 "$KALMIA_BIN/kalmia" $settings -run_ranks_per_member 2 -run_schedule dynamic
SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=4 expect_fail "each is a run of one rank" run 1 "$KALMIA_BIN/kalmia" $settings
summary
