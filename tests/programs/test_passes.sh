#!/usr/bin/env bash
# labels: long
# Forward passes: what the result line says against what each method is known to ask for; on other ranks, through a restart, in the history.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python
make_data classes classes.h5
"$PYTHON" "$KALMIA_SOURCE/share/examples/annealing/makedata.py" network path.h5 --samples 12 || exit 1

kalmia=$KALMIA_BIN/kalmia
network="-observations_path classes.h5 -observations_batch 50 -mlp_layers 20,9,7,4 -run_cycles 3 -run_monitor_every 0"
twin="-model_type lorenz96 -observations_type twin -observations_interval 0.15 -run_cycles 4 -run_monitor_every 0"
path="-observations_path path.h5 -observations_noise 0.01 -model_type path -path_model mlp -path_samples 12 -mlp_layers 2,3,2 -mlp_prior_center false -annealing_first 1 -annealing_growth 4 -annealing_rungs 3 -run_monitor_every 0"

# counts "what" PASSES RANKS OPTION...
counts() {
  local what=$1 passes=$2 ranks=$3
  shift 3
  run "$ranks" "$kalmia" "$@" >out 2>err || grep kalmia err
  same "$what" "$(result_value forward_passes <out)" "$passes"
}

# shellcheck disable=SC2086 # options by spaces
{
  counts "eki: members times samples" $((12 * 50 * 3)) 1 $network -ensemble_size 12
  counts "eki on 3 ranks" $((12 * 50 * 3)) 3 $network -ensemble_size 12
  counts "eki by groups of ranks" $((12 * 50 * 3)) 2 $network -ensemble_size 12 -run_ranks_per_member 2
  counts "eki by a queue" $((12 * 50 * 3)) 2 $network -ensemble_size 12 -run_schedule dynamic
  counts "haber: the mean too" $((13 * 50 * 3)) 2 $network -ensemble_size 12 -analysis_type haber
  counts "haber: step lengths too" $((17 * 50 * 3)) 2 $network -ensemble_size 12 -analysis_type haber -haber_line_search 4
  counts "haber: what it runs by itself" $((13 * 50 * 3)) 2 $network -ensemble_size 12 -analysis_type haber -haber_draws rank-one
  counts "haber: what it runs by itself, twice" $((65 * 50 * 3)) 3 $network -ensemble_size 32 -analysis_type haber -haber_draws flipout
  counts "yegenoglu: each presentation" $((12 * 2 * 50 * 3)) 2 $network -ensemble_size 12 -analysis_type yegenoglu -yegenoglu_repetitions 2 -observations_loss squared
  counts "yegenoglu: of members that take part" $((4 * 2 * 50 * 3)) 2 $network -ensemble_size 12 -analysis_type yegenoglu -yegenoglu_repetitions 2 -observations_loss squared -yegenoglu_size_step 2 -yegenoglu_size_first 4 -run_evaluate_every 10
  counts "adam: a pass back is two" $((2 * 3 * 50 * 3)) 1 $network -ensemble_size 2 -analysis_type adam
  counts "adam on 3 ranks" $((2 * 3 * 50 * 3)) 3 $network -ensemble_size 2 -analysis_type adam
  # 180, 63 and 28 multiply-adds in the layers; 16 perturbations behind the first and behind the second
  whole=$(awk 'BEGIN { printf "%.0f", 2 * 50 * 3 * (1 + 16 * ((63 + 28) + 28) / 271) }')
  sweeps=$(awk 'BEGIN { printf "%.0f", 2 * 50 * 3 * (3 + 16 * ((63 + 28) + 28) / 271) }')
  counts "layered: parts of the network" "$whole" 1 $network -ensemble_size 2 -analysis_type layered
  counts "layered on 3 ranks, forward" "$sweeps" 3 $network -ensemble_size 2 -analysis_type layered -layered_sweep forward
  counts "etkf: members times steps" $((10 * 3 * 4)) 2 $twin -ensemble_size 10 -analysis_type etkf
  counts "ienks: iterations, and the forecast of the ensemble" $((10 * 3 * 7 * 4)) 2 $twin -ensemble_size 10 -analysis_type ienks -ienks_lag 1 -ienks_iterations 6
  counts "esmda: steps, and the forecast of the ensemble" $((10 * 3 * 4 * 4)) 2 $twin -ensemble_size 10 -analysis_type esmda -esmda_steps 3
  # before, at the start of the minimization with its derivative, after
  counts "annealing: actions and derivatives" $((4 * (1 + 3 + 1) * 12 * 3)) 1 $path -ensemble_size 4 -analysis_type annealing -annealing_tao_max_it 0
  counts "annealing on 3 ranks" $((4 * (1 + 3 + 1) * 12 * 3)) 3 $path -ensemble_size 4 -analysis_type annealing -annealing_tao_max_it 0
  # members before each of two steps and at the end; the mean path too, and at the end of each step that is taken whole
  counts "annealing-enks: members and mean" $(((9 * 3 + 2 * 2 + 1) * 12 * 3)) 1 $path -ensemble_size 9 -analysis_type annealing-enks -annealing_enks_iterations 2
  counts "annealing-enks on 2 ranks" $(((9 * 3 + 2 * 2 + 1) * 12 * 3)) 2 $path -ensemble_size 9 -analysis_type annealing-enks -annealing_enks_iterations 2

  run 2 "$kalmia" $network -ensemble_size 12 -run_cycles 2 -snapshot_path s.h5 >out 2>err || grep kalmia err
}
run 1 "$kalmia" -restart s.h5 -run_cycles 5 >out 2>err || grep kalmia err
same "through a restart" "$(result_value forward_passes <out)" $((12 * 50 * 5))
run 1 "$KALMIA_BIN/kalmia-inspect" s.h5 --csv >history.csv
check "the history has them by cycle" awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "forward_passes") c = i; next } $c == 600 { good++ } END { exit !(good == 5) }' history.csv
summary
