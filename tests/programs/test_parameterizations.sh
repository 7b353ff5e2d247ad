#!/usr/bin/env bash
# labels: long
# Parameterizations in a run: the same bits on 1, 2, 3 and 5 ranks, in groups and through a restart; a full subspace is the plain network; predictions
# from a snapshot; what is refused.
# shellcheck disable=SC2086 # options by spaces
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

kalmia=$KALMIA_BIN/kalmia
make_data classes classes.h5
make_data regression regression.h5 60 4
"$PYTHON" - <<'PY' || exit 1
import h5py
with h5py.File("elliptic.h5", "w") as f:
    f["x"], f["y"] = [[0.25], [0.75]], [[27.5], [79.7]]
PY
network="-observations_path regression.h5 -mlp_layers 4,5,3 -mlp_activation tanh -observations_noise 0.1 -observations_batch 7 -ensemble_block_rows 5"
classes="-observations_path classes.h5 -mlp_layers 20,13,4 -observations_batch 97"
lorenz="-model_type lorenz96 -lorenz96_size 21 -lorenz96_estimate_forcing -lorenz96_forcing 2.0794 -lorenz96_forcing_mean 1.9 -lorenz96_forcing_spread 0.2"
cases=(
  "bounds -model_type elliptic -observations_path elliptic.h5 -observations_noise 0.01 -analysis_type etki -ensemble_size 9 -parameterization_type bounds -bounds_entries 1 -bounds_lower 0 -elliptic_mean 0,4.6 -elliptic_spread 1,0.1"
  "bounds-letkf $lorenz -observations_type twin -observations_stride 2 -analysis_type letkf -localization_radius 4 -inflation_factor 1.05 -ensemble_size 7 -parameterization_type bounds -bounds_entries 21 -bounds_lower 0 -bounds_upper 20 -ensemble_exchange messages"
  "subspace-uki $network -parameterization_type subspace -subspace_ranks 2x2,3x3 -analysis_type uki -uki_prior -ensemble_size 43"
  "subspace-aldi $network -parameterization_type subspace -subspace_ranks 2x2,3x3 -analysis_type aldi -ensemble_size 26 -ensemble_exchange messages"
  "subspace-haber $classes -parameterization_type subspace -subspace_ranks 4x5,4x13 -subspace_biases 0 -analysis_type haber -haber_momentum 0.9 -ensemble_size 11 -model_precision single"
  "projection-teki-sl $network -parameterization_type projection -projection_size 11 -analysis_type teki-sl -ensemble_size 13"
  "projection-ekf $network -parameterization_type projection -projection_size 11 -analysis_type ekf -ensemble_size 1"
  "inducing-eki $classes -parameterization_type inducing -inducing_seed 2 -observations_loss squared -analysis_type eki -eki_update stochastic -ensemble_size 13"
  "scales-adam $network -parameterization_type scales -analysis_type adam -ensemble_size 4"
)
alternate=0
for case in "${cases[@]}"; do
  name=${case%% *}
  read -ra options <<<"${case#* } -run_cycles 4 -run_monitor_every 0 -run_seed 3"
  rm -f s.h5* r.h5*
  run 1 "$kalmia" "${options[@]}" -snapshot_path s.h5 -snapshot_every 1 -snapshot_keep 9 >out 2>err || grep kalmia err
  first=$(result_value checksum <out)
  check "$name: runs" [ -n "$first" ] || continue
  alternate=$((1 - alternate))
  ranks=$((alternate ? 3 : 5))
  run $ranks "$kalmia" "${options[@]}" >out 2>err || grep kalmia err
  same "$name: $ranks ranks" "$(result_value checksum <out)" "$first"
  run 2 "$kalmia" -restart s.h5.2 -snapshot_path r.h5 >out 2>err || grep kalmia err
  same "$name: restarted after cycle 2" "$(result_value checksum <out)" "$first"
done
run 4 "$kalmia" $network -parameterization_type subspace -subspace_ranks 2x2,3x3 -analysis_type aldi -ensemble_size 26 -run_cycles 4 -run_seed 3 -run_ranks_per_member 2 >out 2>err || grep kalmia err
same "in groups" "$(result_value checksum <out)" "$(run 1 "$kalmia" $network -parameterization_type subspace -subspace_ranks 2x2,3x3 -analysis_type aldi -ensemble_size 26 -run_cycles 4 -run_seed 3 | result_value checksum)"

# An update that knows no prior is the same for weights that are shifted and scaled: the loss, but for rounding.
plain=$(run 1 "$kalmia" $classes -analysis_type etki -ensemble_size 13 -run_cycles 5 -run_seed 0 | result_value loss)
full=$(run 1 "$kalmia" $classes -analysis_type etki -ensemble_size 13 -run_cycles 5 -run_seed 0 -parameterization_type subspace -subspace_ranks full,full | result_value loss)
same "a subspace of full ranks is the plain network" "$full" "$plain"

# kalmia-predict takes the parameterization from the snapshot: the mean's predictions are NumPy's, of weights made of the snapshot's u.
run 1 "$kalmia" $classes -parameterization_type scales -analysis_type etki -ensemble_size 13 -run_cycles 3 -snapshot_path p.h5 >out 2>err || grep kalmia err
check "predictions of a snapshot" run 2 "$KALMIA_BIN/kalmia-predict" p.h5 classes.h5 -predict_set test -output y.h5 >out 2>&1 || cat out
check "are those of T(u)" "$PYTHON" - <<'PY'
import h5py, numpy as np
with h5py.File("p.h5") as f, h5py.File("y.h5") as y, h5py.File("classes.h5") as d:
    u = f["ensemble/members"][()]
    sd = np.concatenate([np.full(260, np.sqrt(2 / 20)), np.full(13, 0.1), np.full(52, np.sqrt(2 / 13)), np.full(4, 0.1)])
    w = u[:, :329] * sd
    w[:, :260] *= np.exp(u[:, 329:330])
    w[:, 273:325] *= np.exp(u[:, 330:331])
    x = d["x_test"][()]
    p = []
    for v in w:
        h = np.maximum(x @ v[:260].reshape(13, 20).T + v[260:273], 0.0)
        z = h @ v[273:325].reshape(4, 13).T + v[325:]
        e = np.exp(z - z.max(axis=1, keepdims=True))
        p.append(e / e.sum(axis=1, keepdims=True))
    worst = np.abs(y["mean"][()] - np.mean(p, axis=0)).max()
    print(worst)
    raise SystemExit(not worst < 1e-10)
PY
check "kalmia-inspect names it" "$KALMIA_BIN/kalmia-inspect" p.h5 >out
check "in the layout" grep -q "mlp 20,13,4 relu; scales" out

expect_fail "was written with model/layout" run 2 "$kalmia" -restart p.h5 -run_cycles 4 -mlp_prior_scale 0.3
expect_fail "without -parameterization_type" run 2 "$kalmia" $classes -parameterization_type scales -analysis_type layered -ensemble_size 2
expect_fail "without -parameterization_type" run 2 "$kalmia" $network -parameterization_type scales -analysis_type dekf -ensemble_size 1
expect_fail "Unknown options -subspace_ranks" run 2 "$kalmia" $classes -parameterization_type scales -subspace_ranks full,full -subspace_seed 1
expect_fail "cannot be undone" run 1 "$kalmia" -model_type lorenz63 -observations_type twin -analysis_type etkf -parameterization_type projection -projection_size 2
summary
