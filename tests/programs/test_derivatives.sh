#!/usr/bin/env bash
# Methods that take derivatives: the same bits on any number of ranks and after restarts on other numbers of them, with fewer
# networks than ranks and with more; what they refuse.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python
make_data classes classes.h5

kalmia="$KALMIA_BIN/kalmia"
common="-observations_path classes.h5 -observations_batch 100 -mlp_layers 20,9,7,4 -run_monitor_every 0"

# bits NAME OPTION...: cycles 1 to 9 on 1 rank, on 2 and 7 or on 3 and 5, by turns, and with a restart of 3 ranks on 5
turn=0
bits() {
  local name=$1 whole counts="2 7" ranks
  shift
  turn=$((1 - turn))
  if [ $turn = 0 ]; then counts="3 5"; fi
  if sanitized; then counts=3; fi
  # shellcheck disable=SC2086
  run 1 "$kalmia" $common "$@" -run_cycles 9 >out 2>err || grep kalmia err
  whole=$(result_value checksum <out)
  for ranks in $counts; do
    # shellcheck disable=SC2086
    run "$ranks" "$kalmia" $common "$@" -run_cycles 9 >out 2>err || grep kalmia err
    same "$name: same bits on $ranks ranks" "$(result_value checksum <out)" "$whole"
  done
  # shellcheck disable=SC2086
  run 3 "$kalmia" $common "$@" -run_cycles 4 -snapshot_path part.h5 >out 2>err || grep kalmia err
  run "$(sanitized && echo 2 || echo 5)" "$kalmia" -restart part.h5 -run_cycles 9 >out 2>err || grep kalmia err
  same "$name: same bits after a restart" "$(result_value checksum <out)" "$whole"
}
bits "sgd" -analysis_type sgd -ensemble_size 1 -sgd_step_schedule cosine -analysis_schedule_cycles 9 -sgd_decay 0.01
bits "adam, three networks, single" -analysis_type adam -ensemble_size 3 -model_precision single -mlp_activation tanh -adam_decay 0.1
bits "koala-v" -analysis_type koala-v -ensemble_size 2 -koala-v_decay 0.01
bits "koala-m" -analysis_type koala-m -ensemble_size 1 -koala-m_step 0.3
bits "gpf" -analysis_type gpf -ensemble_size 6 -gpf_step 1e-4 -gpf_precondition -mlp_activation tanh
bits "gf" -analysis_type gf -ensemble_size 6 -gf_step 1e-4 -gf_precondition -mlp_activation tanh
bits "gf without an adjoint, rotated" -analysis_type gf -gf_derivatives ensemble -gf_draws rotated -ensemble_size 6 -gf_step 1e-4 -mlp_activation heaviside
bits "gpf without an adjoint" -analysis_type gpf -gpf_derivatives ensemble -ensemble_size 6 -gpf_step 1e-4 -mlp_activation heaviside
bits "dekf" -analysis_type dekf -ensemble_size 1 -observations_batch 7 -dekf_variance 0.1 -dekf_process 1e-4
bits "ekf, annealed" -analysis_type ekf -ensemble_size 1 -observations_batch 5 -mlp_activation tanh -ekf_noise 10 -ekf_noise_schedule geometric -ekf_process 1e-3 -ekf_process_schedule cosine -analysis_schedule_cycles 9

# shellcheck disable=SC2086
run 2 "$kalmia" $common -analysis_type adam -adam_step 0.01 -ensemble_size 1 -run_cycles 60 >out 2>err || grep kalmia err
check "it learns" "$PYTHON" -c "import sys; sys.exit(not float('$(result_value accuracy <out)') > 0.5)"

# shellcheck disable=SC2086
refuse() {
  local message=$1
  shift
  expect_fail "$message" run 2 "$kalmia" $common -ensemble_size 1 -run_cycles 5 "$@"
}
refuse "the model mlp 20,9,7,4 heaviside has no adjoint" -analysis_type sgd -mlp_activation heaviside
refuse "-sgd_momentum 1.: must be at least 0 and less than 1" -analysis_type sgd -sgd_momentum 1
refuse "-adam_step 0.: must be positive" -analysis_type adam -adam_step 0
refuse "-adam_step_schedule cosine needs -analysis_schedule_cycles" -analysis_type adam -adam_step_schedule cosine
refuse "take a smaller -sgd_step" -analysis_type sgd -sgd_step 1e300
refuse "ekf has one network and its covariance; use -ensemble_size 1" -analysis_type ekf -ensemble_size 2
refuse "-koala-m_momentum 1.: must be at least 0 and less than 1" -analysis_type koala-m -koala-m_momentum 1
refuse "-dekf_variance 0.: must be positive" -analysis_type dekf -dekf_variance 0
summary
