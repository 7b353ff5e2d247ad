#!/usr/bin/env bash
# labels: long
# Bad input of runs in time is refused with one message, on one rank and on three, in a run and in a dry one; what the background check
# leaves out is counted.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

kalmia=$KALMIA_BIN/kalmia
twin="-observations_type twin -run_cycles 4 -run_monitor_every 0 -ensemble_size 6"
l63="-model_type lorenz63 -observations_interval 0.25 -observations_noise 2 $twin"
l96="-model_type lorenz96 -observations_interval 0.05 $twin"

# refuse "message" OPTIONS...
refuse() {
  local message=$1
  shift
  expect_fail "$message" run 1 "$kalmia" "$@"
  check "and no more than that" [ "$(grep -c 'kalmia: error' "$scratch/.expect_fail")" = 1 ]
  expect_fail "$message" run 3 "$kalmia" "$@" -run_dry
}

# shellcheck disable=SC2086
{
  refuse "-ensemble_size 1 is too small: etkf needs at least 2 members" $l63 -analysis_type etkf -ensemble_size 1
  refuse "-ensemble_size 6: extkf has one state and its covariance" $l63 -analysis_type extkf
  refuse "-enkfn_g 7.: must be from 0 to the number of members, 6" $l63 -analysis_type enkfn -enkfn_g 7
  refuse "-localization_radius 0.: the radius of -localization_type gaspari-cohn must be positive" $l96 -analysis_type letkf
  refuse "this model has no locations" $l63 -analysis_type letkf -localization_radius 1
  refuse "Unknown option -localization_radius" $l96 -analysis_type etkf -localization_radius 4
  refuse "-inflation_rtpp 2.: must be from 0 to 1" $l96 -analysis_type etkf -inflation_rtpp 2
  refuse "-inflation_adaptive does not go with ienks" $l63 -analysis_type ienks -inflation_adaptive miyoshi
  refuse "-ienks_lag 0: a window holds at least 1" $l63 -analysis_type ienks -ienks_lag 0
  refuse "-observations_interval 0.255 is 25.5 time steps" $l63 -analysis_type etkf -observations_interval 0.255
  refuse "-observations_first 40 is outside the state" $l96 -analysis_type etkf -observations_first 40
  refuse "-observations_reject 3.: the background check needs the spread of members, and 3dvar has none" $l96 -analysis_type 3dvar -ensemble_size 1 -observations_reject 3
  refuse "-observations_reject 3.: ienks would leave out other observations in each of its 10 iterations" $l63 -analysis_type ienks -observations_reject 3
  refuse "-observations_reject 3.: esmda would leave out other observations in each of its 4 iterations" $l63 -analysis_type esmda -observations_reject 3
  refuse "this -model_type does not observe itself" $l96 -analysis_type etkf -observations_operator model -observations_count 3
  refuse "ensrf holds the predictions of all members on each rank" $l96 -lorenz96_size 1400000 -analysis_type ensrf -ensemble_size 100
  refuse "-run_evaluate_every 2 scores a network" $l96 -analysis_type etkf -run_evaluate_every 2
  refuse "The method generates its members about a mean, and observations in time need members that are kept" $l96 -analysis_type haber

  # What a method takes no notice of. -analysis_ksp_view is looked up in a solution, not at set-up.
  for method in enkf etkf "letkf -localization_radius 4" ienks "climatology -ensemble_size 1"; do
    option="-analysis_ksp_type cg"
    case $method in enkf) option="-analysis_ksp_view" ;; etkf) option="-analysis_pc_factor_mat_solver_type petsc" ;; ienks) option="-analysis_pc_type jacobi" ;; esac
    refuse "Unknown option ${option%% *} (the method solves no linear system with a KSP)" $l96 -analysis_type $method $option
  done
  refuse "Unknown option -analysis_schedule_cycles (the method has no schedule)" $l96 -analysis_type etkf -analysis_schedule_cycles 4
  refuse "Unknown option -run_climatology_cycles (the method takes no climatology)" $l96 -analysis_type etkf -run_climatology_cycles 50
  refuse "Unknown option -analysis_space (the method has no choice of a space)" $l96 -analysis_type climatology -analysis_space ensemble
  refuse "-analysis_space ensemble: oi forms its linear system in observation space" $l96 -analysis_type oi -analysis_space ensemble
  for option in "-localization_radius 4" "-localization_convention support" "-localization_threshold 0.1" "-letkf_batch 3"; do
    refuse "${option%% *} makes no sense with -localization_type none" $l96 -analysis_type letkf -localization_type none $option
  done
  check "oi takes a climatology and a solver" run 2 "$kalmia" $l96 -analysis_type oi -run_climatology_cycles 300 -analysis_ksp_type minres -analysis_pc_type none -analysis_ksp_converged_reason >out
  check "and says how it was solved" grep -q 'analysis_ solve converged' out
  check "a solver is viewed" run 1 "$kalmia" $l96 -analysis_type esmda -analysis_ksp_view >out
  check "each time that it solves" [ "$(grep -c '^KSP Object: (analysis_)' out)" = 32 ]

  check "a finite-size filter that counts a null space runs" run 1 "$kalmia" $l96 -analysis_type enkfn -enkfn_g 1 >out
  check "and says what no observation was left out of" [ "$(result_value rejected <out)" = 0 ]
  run 2 "$kalmia" $l96 -analysis_type etkf -observations_reject 1e-12 -snapshot_path r.h5 >out
  check "all observations can be rejected" [ "$(result_value rejected <out)" = 160 ]
  check "and are seen in the history" [ "$("$KALMIA_BIN/kalmia-inspect" r.h5 --csv | awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "observations_rejected") k = i } NR == 2 { print $k + 0 }')" = 40 ]
  run 2 "$kalmia" $l96 -analysis_type etkf -observations_reject 1e-12 -run_cycles 40 >out
  check "a filter that rejects all is one that diverged" [ "$(result_value diverged <out)" = 1 ]

  expect_fail "r.h5 stands at model time 0.2 after cycle 4, and the observations of that cycle are at 0.4" run 2 "$kalmia" -restart r.h5 -run_cycles 8 -observations_interval 0.1
  expect_fail "r.h5 was written with ensemble/N = 6, this run has 7" run 2 "$kalmia" -restart r.h5 -run_cycles 8 -ensemble_size 7
  expect_fail 'r.h5 was written with analysis/type "etkf", this run has "estkf"' run 2 "$kalmia" -restart r.h5 -run_cycles 8 -analysis_type estkf
  expect_fail "the model's options" run 2 "$kalmia" -restart r.h5 -run_cycles 8 -lorenz96_size 41
}
summary
