#!/usr/bin/env bash
# The method layered: the same bits after restarts on other numbers of ranks, moments and covariances included; an
# ensemble of networks; what it refuses.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python
make_data classes classes.h5

kalmia="$KALMIA_BIN/kalmia"
common="-observations_path classes.h5 -observations_batch 50 -mlp_layers 20,9,7,4 -analysis_type layered -run_monitor_every 0"

# restarts NAME OPTION...: cycles 1 to 12 at once, and with restarts on other numbers of ranks
restarts() {
  local name=$1 whole
  shift
  # shellcheck disable=SC2086
  run 1 "$kalmia" $common "$@" -run_cycles 12 >out 2>err || grep kalmia err
  whole=$(result_value checksum <out)
  # shellcheck disable=SC2086
  run 3 "$kalmia" $common "$@" -run_cycles 5 -snapshot_path part.h5 >out 2>err || grep kalmia err
  run 2 "$kalmia" -restart part.h5 -run_cycles 9 >out 2>err || grep kalmia err
  run 5 "$kalmia" -restart part.h5 -run_cycles 12 >out 2>err || grep kalmia err
  same "$name: same bits after two restarts" "$(result_value checksum <out)" "$whole"
}
restarts "moments" -ensemble_size 1 -layered_draws orthogonal -layered_step_schedule cosine -analysis_schedule_cycles 12
restarts "covariance, three networks" -ensemble_size 3 -layered_variant kalman -layered_scaling covariance -layered_step 0.2 -layered_sweep alternate

# shellcheck disable=SC2086
run 2 "$kalmia" $common -ensemble_size 1 -run_cycles 60 -layered_step 0.01 -layered_draws orthogonal >out 2>err || grep kalmia err
check "it learns" "$PYTHON" -c "import sys; sys.exit(not float('$(result_value accuracy <out)') > 0.5)"

# shellcheck disable=SC2086
refuse() {
  local message=$1
  shift
  expect_fail "$message" run 2 "$kalmia" $common -ensemble_size 1 -run_cycles 1 "$@"
}
refuse "-layered_draws orthogonal needs a power of two" -layered_draws orthogonal -layered_perturbations 12
refuse "-layered_antithetic needs pairs" -layered_antithetic -layered_perturbations 7
refuse "-layered_spread 0.: must be positive" -layered_spread 0
refuse "-layered_momentum 1.: must be at least 0 and less than 1" -layered_momentum 1
refuse "-layered_step_schedule cosine needs -analysis_schedule_cycles" -layered_step_schedule cosine
refuse "the method deals its work out to the ranks by itself" -run_ranks_per_member 2
refuse "not finite in cycle" -layered_step 1e300 -run_cycles 4
expect_fail "this -model_type has none: take mlp or cnn" run 2 "$kalmia" -model_type lorenz96 -observations_type twin -analysis_type layered -ensemble_size 1
summary
