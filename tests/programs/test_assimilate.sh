#!/usr/bin/env bash
# Runs in time: the same result line on 1, 2, 3, 5 and 7 ranks, and through a restart on another number of them, for methods, models,
# localization and inflation pairwise; what a snapshot keeps; what a filter that diverges says.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

"$PYTHON" -c '
import h5py, numpy
r = numpy.random.default_rng(1)
with h5py.File("linear.h5", "w") as f:
    f["M"] = 0.98 * numpy.linalg.qr(r.standard_normal((37, 37)))[0]
    f["noise_root"] = 0.1 * numpy.eye(37)
    f["coordinates"] = numpy.arange(37.0)[:, None]
time = numpy.repeat([1.0, 2.0, 4.0, 7.0, 8.0, 9.0], [6, 7, 9, 12, 13, 14])
with h5py.File("series.h5", "w") as f:
    f["time"], f["value"], f["error"] = time, r.standard_normal(time.size), numpy.full(time.size, 0.3)
    f["entry"] = numpy.concatenate([numpy.sort(r.choice(37, k, replace=False)) for k in (6, 7, 9, 12, 13, 14)]).astype("i4")
' || exit 1
common="-observations_type twin -run_monitor_every 0 -run_seed 4 -run_cycles 9"
l63="-model_type lorenz63 -observations_interval 0.25 -observations_noise 2"
l96="-model_type lorenz96 -observations_interval 0.05 -observations_noise 1"
ks="-model_type kuramoto-sivashinsky -observations_interval 1 -observations_noise 1"
advection="-model_type advection -observations_noise 0.01 -observations_stride 50"

cases=(
  "enkf, lorenz96, prior covariance, messages
   $l96 -run_schedule dynamic -analysis_type enkf -ensemble_size 19 -inflation_factor 1.1 -inflation_on prior-covariance -ensemble_exchange messages -ensemble_block_rows 7"
  "etkf, lorenz63, rotation, posterior anomalies
   $l63 -analysis_type etkf -ensemble_size 5 -inflation_factor 1.02 -analysis_rotate"
  "etkf, kuramoto-sivashinsky, rtps, every third point, messages
   $ks -analysis_type etkf -ensemble_size 13 -inflation_rtps 0.5 -analysis_rotate -observations_stride 3 -ensemble_exchange messages"
  "estkf, advection with noise, rtpp
   $advection -advection_noise 0.1 -analysis_type estkf -ensemble_size 11 -inflation_rtpp 0.3 -ensemble_block_rows 37"
  "denkf, lorenz96 with its forcing unknown, additive inflation, shared
   $l96 -lorenz96_estimate_forcing -analysis_type denkf -ensemble_size 17 -inflation_additive 0.1 -ensemble_exchange shared"
  "ensrf, lorenz96 in part, adaptive inflation of Miyoshi
   $l96 -observations_stride 2 -observations_first 1 -analysis_type ensrf -ensemble_size 23 -inflation_adaptive miyoshi"
  "enkfn, lorenz63, more members than observations
   $l63 -analysis_type enkfn -ensemble_size 10"
  "letkf, lorenz96, Gaspari-Cohn, rotation, messages
   $l96 -analysis_type letkf -ensemble_size 7 -localization_type gaspari-cohn -localization_radius 4 -inflation_factor 1.04 -analysis_rotate -ensemble_exchange messages -ensemble_block_rows 8"
  "letkf, kuramoto-sivashinsky, boxcar, rtps
   $ks -analysis_type letkf -ensemble_size 9 -localization_type boxcar -localization_radius 11 -inflation_rtps 0.4"
  "letkf, advection, Gaussian, additive, batches of three
   $advection -analysis_type letkf -ensemble_size 6 -localization_type gaussian -localization_radius 30 -inflation_additive 0.01 -letkf_batch 3"
  "ienks, lorenz63, lag 1, rotation
   $l63 -analysis_type ienks -ensemble_size 7 -inflation_factor 1.02 -analysis_rotate"
  "ienks, lorenz96, lag 3
   $l96 -analysis_type ienks -ienks_lag 3 -ienks_iterations 3 -ensemble_size 21 -run_schedule dynamic -run_schedule_members 2"
  "esmda, lorenz63
   $l63 -analysis_type esmda -ensemble_size 21 -esmda_steps 3"
  "etkf, adaptive inflation of Anderson, fewer members than ranks
   $l63 -analysis_type etkf -ensemble_size 4 -inflation_adaptive anderson"
  "3dvar, lorenz96
   $l96 -analysis_type 3dvar -ensemble_size 1 -run_climatology_cycles 500"
  "oi, lorenz63
   $l63 -analysis_type oi -ensemble_size 1 -run_climatology_cycles 500"
  "etkf, linear with noise, prior anomalies
   -model_type linear -linear_path linear.h5 -analysis_type etkf -ensemble_size 11 -inflation_factor 1.05 -inflation_on prior-anomalies"
  "climatology, lorenz63
   $l63 -analysis_type climatology -ensemble_size 1 -run_climatology_cycles 300"
  "letkf, linear, a series with few times
   -model_type linear -linear_path linear.h5 -observations_type series -observations_path series.h5 -analysis_type letkf -ensemble_size 11 -localization_type gaspari-cohn -localization_radius 4"
  "ot-enkf, lorenz96, messages
   $l96 -analysis_type ot-enkf -ensemble_size 23 -inflation_factor 1.03 -ensemble_exchange messages -ensemble_block_rows 8"
  "venkf, lorenz96, rotation, messages
   $l96 -analysis_type venkf -ensemble_size 23 -inflation_factor 1.03 -analysis_rotate -ensemble_exchange messages -ensemble_block_rows 8"
  "extkf, lorenz96
   $l96 -analysis_type extkf -ensemble_size 1 -extkf_inflation 10"
  "enkf, corrected correlations, relaxation, messages
   $l96 -analysis_type enkf -enkf_correction nice -ensemble_size 13 -inflation_factor 1.1 -inflation_on prior-anomalies -inflation_rtpp 0.2 -ensemble_exchange messages -ensemble_block_rows 7"
  "enkf, dropout, adaptive inflation, shared
   $l96 -analysis_type enkf -enkf_correction dropout -enkf_correction_probability 0.7 -ensemble_size 11 -inflation_adaptive anderson -ensemble_exchange shared"
)

counts="1 2 3 5 7"
if sanitized; then
  counts="1 3"
  cases=("${cases[@]:6:2}" "${cases[@]:11:1}" "${cases[@]:14:1}")
fi
results=()
for case in "${cases[@]}"; do
  name=${case%%$'\n'*}
  read -ra options <<<"$common ${case#*$'\n'}"
  first=
  for ranks in $counts; do
    run $ranks "$KALMIA_BIN/kalmia" "${options[@]}" >out 2>err || grep 'kalmia' err
    result=$(sed -n 's/^\(result: .*\) seconds=[0-9.]*\(.*\)/\1\2/p' out)
    if [ -z "$first" ]; then
      first=$result
      check "$name: runs" [ -n "$result" ] || break
      results+=("$(result_value checksum <out)")
    else
      check "$name: $ranks ranks" [ "$result" = "$first" ]
    fi
  done
  [ -n "$first" ] || continue
  rm -f r.h5
  run 2 "$KALMIA_BIN/kalmia" "${options[@]}" -run_cycles 4 -snapshot_path r.h5 >out 2>err || grep 'kalmia' err
  run 3 "$KALMIA_BIN/kalmia" -restart r.h5 -run_cycles 9 >out 2>err || grep 'kalmia' err
  result=$(sed -n 's/^\(result: .*\) seconds=[0-9.]*\(.*\)/\1\2/p' out)
  check "$name: stopped after 4 cycles on 2 ranks, gone on with on 3" [ "$result" = "$first" ]
done
check "every case ends with other members" [ "$(printf '%s\n' "${results[@]}" | sort -u | wc -l)" = ${#cases[@]} ]

make_data classes classes.h5
expect_fail "of a run in time" run 2 "$KALMIA_BIN/kalmia-predict" r.h5 classes.h5
check "the snapshot is whole" "$KALMIA_BIN/kalmia-inspect" r.h5 --verify
check "and holds what was observed" "$PYTHON" -c 'import h5py; f = h5py.File("r.h5"); assert f["observations/value"].shape == f["observations/error"].shape == (40,) and (f["observations/error"][:] == 1).all()'
read -ra options <<<"$l96 $common"
run 1 "$KALMIA_BIN/kalmia" "${options[@]}" -analysis_type etkf -ensemble_size 3 -run_cycles 2000 -snapshot_path d.h5 -run_stop_diverged >out
check "a filter that diverges is said" grep -q 'the filter has diverged' out
check "and counted" [ "$(result_value diverged <out)" = 1 ]
check "and ended by option" [ "$(result_value cycles <out)" -lt 2000 ]
check "with its snapshot" "$KALMIA_BIN/kalmia-inspect" d.h5 --verify

# 16 members are too few for enkf, but not where the noise of their correlations is corrected: with 40 members its error is 0.22.
if ! sanitized; then
  for correction in none sec nice; do
    run 1 "$KALMIA_BIN/kalmia" "${options[@]}" -analysis_type enkf -ensemble_size 16 -inflation_factor 1.06 -enkf_correction $correction -run_cycles 2000 -run_burn_in 20 >$correction.out
  done
  check "16 members: enkf diverges ($(result_value rmse_analysis <none.out))" [ "$(result_value diverged <none.out)" = 1 ]
  for correction in sec nice; do
    check "with $correction it does not: $(result_value rmse_analysis <$correction.out)" awk "BEGIN { exit !($(result_value rmse_analysis <$correction.out) < 0.35) }"
  done
fi
summary
