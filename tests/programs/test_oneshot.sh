#!/usr/bin/env bash
# labels: long
# One-shot inversion: the ready option files against the posterior that NumPy finds; the same bits on any ranks and through a restart.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

kalmia=$KALMIA_BIN/kalmia
example=$KALMIA_SOURCE/share/examples/one-shot
"$PYTHON" "$example/makedata.py" || exit 1

# within "what" NAME BOUND: the number behind NAME in compare.py's text is less.
within() { check "$1" awk -v have="$(sed -n "s/.*$2 \([0-9.]*\).*/\1/p" text)" -v most="$3" 'BEGIN { exit !(have != "" && have < most) }' || cat text; }
run 1 "$kalmia" -options_file "$KALMIA_SOURCE/share/kalmia/diffusion-uki.yaml" -snapshot_path uki.h5 >out 2>err || cat err
"$PYTHON" "$example/compare.py" uki.h5 >text
within "solved for each member: the posterior's mode" "from the mode" 0.001
run 2 "$kalmia" -options_file "$KALMIA_SOURCE/share/kalmia/diffusion-one-shot.yaml" -snapshot_path one.h5 >out 2>err || cat err
"$PYTHON" "$example/compare.py" one.h5 >text
within "one shot: the field is nearer to the mode than the posterior's spread of 0.073" "from the mode" 0.073
within "one shot: the equation holds" residual 0.3
within "one shot: the network is the solution" "from the solution" 0.005

# With next to no weight the equation is left.
run 2 "$kalmia" -options_file "$KALMIA_SOURCE/share/kalmia/diffusion-one-shot.yaml" -diffusion_penalty 1e-6 -diffusion_penalty_growth 0 -snapshot_path loose.h5 >out 2>err || cat err
"$PYTHON" "$example/compare.py" loose.h5 >text
check "without a weight the equation does not hold" awk -v have="$(sed -n 's/.*residual \([0-9.]*\).*/\1/p' text)" 'BEGIN { exit !(have > 0.5) }' || cat text

options=(-options_file "$KALMIA_SOURCE/share/kalmia/diffusion-one-shot.yaml" -ensemble_size 60 -run_cycles 6 -run_evaluate_ensemble false)
run 1 "$kalmia" "${options[@]}" -snapshot_path s.h5 -snapshot_every 1 -snapshot_keep 9 >out 2>err || cat err
first=$(result_value checksum <out)
for ranks in 3 7; do
  run "$ranks" "$kalmia" "${options[@]}" >out 2>err || cat err
  same "$ranks ranks" "$(result_value checksum <out)" "$first"
done
run 2 "$kalmia" -restart s.h5.3 -snapshot_path r.h5 >out 2>err || cat err
same "restarted after cycle 3" "$(result_value checksum <out)" "$first"
for other in "-diffusion_mean 0.5" "-diffusion_spread 2" "-diffusion_exponent 3" "-diffusion_load 11"; do
  # shellcheck disable=SC2086 # options are words
  expect_fail "was written with model/layout" run 2 "$kalmia" -restart s.h5 $other
done

# A place outside, in the test set alone: refused before the first cycle.
"$PYTHON" - <<'PY' || exit 1
import h5py
for name, sample in ("outside", [-0.5, 0]), ("unclear", [0.5, 2]):
    with h5py.File("diffusion.h5") as good, h5py.File(name + ".h5", "w") as bad:
        for key in good:
            good.copy(key, bad)
        bad["x_test"], bad["y_test"] = [[0.5, 0], sample], [[0.0], [0.0]]
PY
expect_fail "lies at x = -0.5; the model diffusion is on the interval from 0 to 1" run 2 "$kalmia" "${options[@]}" -observations_path outside.h5 -snapshot_path outside-run.h5
expect_fail "The second input of a sample is 2" run 2 "$kalmia" "${options[@]}" -observations_path unclear.h5 -snapshot_path outside-run.h5
check "nothing was written" [ ! -e outside-run.h5 ]
expect_fail "begin it with 1" run 2 "$kalmia" "${options[@]}" -mlp_layers 2,10,1
expect_fail "Unknown options -diffusion_penalty" run 2 "$kalmia" "${options[@]}" -diffusion_one_shot false
summary
