#!/usr/bin/env bash
# Annealing of paths from end to end: the same bits and tables on any number of ranks and after restarts between rungs; the ladder ends the
# run; TAO's options reach it; what is refused.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

make="$KALMIA_SOURCE/share/examples/annealing/makedata.py"
"$PYTHON" "$make" lorenz96 lorenz96.h5 --entries 6 --steps 20 --ahead 8 --observed 0,2,4 || exit 1
"$PYTHON" "$make" network network.h5 --samples 12 || exit 1
kalmia="$KALMIA_BIN/kalmia"
lorenz="-observations_path lorenz96.h5 -observations_noise 0.25 -model_type path -path_model lorenz96 -lorenz96_size 6 -lorenz96_step 0.025 -path_steps 20 -path_observed 0,2,4 -path_spread 3 -annealing_first 0.1 -annealing_growth 4"
network="-observations_path network.h5 -observations_noise 0.01 -model_type path -path_model mlp -path_samples 12 -mlp_layers 2,3,2 -mlp_activation tanh -mlp_prior_center false -annealing_first 1 -annealing_growth 4"

# bits NAME OPTION...: six rungs on 1 rank, on 2 and 5, and with a restart of 3 ranks on 2 after the second
bits() {
  local name=$1 whole ranks
  shift
  run 1 "$kalmia" "$@" -annealing_rungs 6 -run_monitor_every 0 -run_levels whole.csv >out 2>err || grep kalmia err
  whole=$(result_value checksum <out)
  same "$name: the ladder ends the run" "$(result_value cycles <out)" 6
  for ranks in $(sanitized || echo 2) 5; do
    run "$ranks" "$kalmia" "$@" -annealing_rungs 6 -run_monitor_every 0 -run_levels other.csv >out 2>err || grep kalmia err
    same "$name: same bits on $ranks ranks" "$(result_value checksum <out)" "$whole"
    check "$name: same levels on $ranks ranks" cmp whole.csv other.csv
  done
  rm -f other.csv
  run 3 "$kalmia" "$@" -annealing_rungs 6 -run_monitor_every 0 -run_cycles 2 -snapshot_path part.h5 >out 2>err || grep kalmia err
  run 2 "$kalmia" -restart part.h5 -run_cycles 100 -run_levels other.csv >out 2>err || grep kalmia err
  same "$name: same bits after a restart" "$(result_value checksum <out)" "$whole"
  check "$name: same levels after a restart" cmp whole.csv other.csv
  expect_fail "part.h5 was written with another -annealing_rungs" run 2 "$kalmia" -restart part.h5 -annealing_rungs 8
  run 2 "$kalmia" "$@" -annealing_rungs 6 -run_monitor_every 0 -snapshot_path done.h5 >out 2>err || grep kalmia err
  rm -f other.csv
  run 1 "$kalmia" -restart done.h5 -run_levels other.csv >out 2>err || grep kalmia err
  check "$name: levels of a ladder that was done" cmp whole.csv other.csv
}
# shellcheck disable=SC2086
{
  bits "annealing, lorenz96" $lorenz -analysis_type annealing -ensemble_size 4
  bits "annealing, a network, bounds, fewer paths than ranks" $network -analysis_type annealing -ensemble_size 3 -annealing_lower -5 -annealing_upper 5 -annealing_tao_max_it 50
  bits "annealing-enks, lorenz96, messages" $lorenz -analysis_type annealing-enks -ensemble_size 31 -ensemble_exchange messages -ensemble_block_rows 17
}
check "a line for each rung and path" [ "$(wc -l <whole.csv)" = $((1 + 6 * 31)) ]

# What is scored is the path of least action, here of paths that have not met yet.
# shellcheck disable=SC2086
for ranks in 1 3; do
  run "$ranks" "$kalmia" $lorenz -analysis_type annealing -ensemble_size 4 -annealing_rungs 2 -annealing_tao_max_it 20 -run_monitor_every 0 -snapshot_path scored.h5 >out 2>err || grep kalmia err
  scored=$(result_value rmse <out)
  check "the path of least action is scored, $ranks ranks: $scored" "$PYTHON" -B - "$scored" "$(dirname "$make")" <<'EOF'
import sys

import h5py
import numpy as np

sys.path.insert(0, sys.argv[2])
from makedata import step

with h5py.File("scored.h5") as f:
    paths, action = f["ensemble/members"][:], f["analysis/action"][:].reshape(2, -1)[1]
with h5py.File("lorenz96.h5") as f:
    y = f["y_test"][:]
errors = []
for path in paths:
    x, ahead = path[-6:], []
    for _ in y:
        x = step(x, 0.025, 8.0)
        ahead.append(x[[0, 2, 4]])
    errors.append(np.sqrt(np.mean((np.array(ahead) - y) ** 2)))
assert np.ptp(errors) > 0.1, errors
assert abs(errors[action.argmin()] / float(sys.argv[1]) - 1) < 1e-4, (errors, action)
EOF
done

refuse() {
  local message=$1
  shift
  # shellcheck disable=SC2086
  expect_fail "$message" run 2 "$kalmia" $lorenz -ensemble_size 4 "$@"
}
# shellcheck disable=SC2086
run 1 "$kalmia" $lorenz -analysis_type annealing -annealing_rungs 3 -ensemble_size 2 -annealing_tao_type cg -annealing_tao_converged_reason >out 2>err || grep kalmia err
check "TAO's options reach it" [ "$(grep -c 'TAO annealing_ solve' out)" = 6 ]
refuse "Unknown option -annealing_tao_bogus" -analysis_type annealing -annealing_tao_bogus 1
refuse "-annealing_tao_type nls: take lmvm, cg," -analysis_type annealing -annealing_tao_type nls
refuse "-annealing_tao_type owlqn: take lmvm, cg," -analysis_type annealing -annealing_tao_type owlqn
refuse "-annealing_tao_type lmvm: with -annealing_lower or -annealing_upper take blmvm," -analysis_type annealing -annealing_tao_type lmvm -annealing_lower -30
refuse "-annealing_rungs 0: must be from 1" -analysis_type annealing -annealing_rungs 0
refuse "-observations_batch 7 makes" -analysis_type annealing -observations_batch 7
refuse "beyond the path's end at 18: take a larger -path_steps" -analysis_type annealing -path_steps 18
"$PYTHON" - <<'PY' || exit 1
import h5py
with h5py.File("lorenz96.h5") as good, h5py.File("between.h5", "w") as bad:
    for name in good:
        good.copy(name, bad)
    bad["x_test"][5] = 0.7125
PY
refuse "is at time 0.7125, 28.5 steps of 0.025: times of a path are whole numbers of steps" -analysis_type annealing -observations_path between.h5
refuse "3 targets a sample, and 2 entries of a state are measured" -analysis_type annealing -path_observed 0,2
refuse "-run_levels nowhere/levels.csv cannot be written" -analysis_type annealing -run_levels nowhere/levels.csv
refuse "annealing fits paths: take -model_type path" -analysis_type annealing -model_type mlp -mlp_layers 1,4,3
# shellcheck disable=SC2086
if [ "$(OPENBLAS_CORETYPE=HASWELL kal_blas_core)" = Haswell ] && [ "$(OPENBLAS_CORETYPE=NEHALEM kal_blas_core)" = Nehalem ]; then
  expect_fail "annealing-enks needs the same BLAS kernels on every rank" timeout 60 "$MPIEXEC" -n 1 env OPENBLAS_CORETYPE=HASWELL "$kalmia" $lorenz -analysis_type annealing-enks -ensemble_size 4 : -n 1 env OPENBLAS_CORETYPE=NEHALEM "$kalmia" $lorenz -analysis_type annealing-enks -ensemble_size 4
fi
# shellcheck disable=SC2086
{
  expect_fail "The path has states for 11 samples, and the data have 12: -path_samples 12" run 2 "$kalmia" $network -path_samples 11 -analysis_type annealing -ensemble_size 2
  expect_fail "-run_levels levels.csv: the method has no levels" run 2 "$kalmia" -observations_path network.h5 -mlp_layers 2,3,2 -run_levels levels.csv
}
summary
