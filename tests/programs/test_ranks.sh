#!/usr/bin/env bash
# labels: long
# The number of ranks changes nothing: the same result line, checksum included, on 1, 2, 3, 5 and 7 ranks.
# The table takes methods and options pairwise, with sizes that nothing divides, and fewer members than ranks.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

make_data classes classes.h5
make_data regression regression.h5
make_data idx images
"$PYTHON" -c '
import h5py, numpy
r = numpy.random.default_rng(5)
x = r.normal(size=(240, 6))
with h5py.File("counts.h5", "w") as f: f["x"], f["y"] = x, r.poisson(numpy.exp(0.5 * x[:, :2])).astype(float)' || exit 1

for example in one-shot darcy; do "$PYTHON" "$KALMIA_SOURCE/share/examples/$example/makedata.py" || exit 1; done

cycles=7
common="-run_cycles $cycles -run_monitor_every 0 -run_seed 3"
class="-observations_path classes.h5"
real="-observations_path regression.h5"
image="-observations_path images"

cases=(
  "teki, a field of unknown length and sd
   -observations_path darcy-field.h5 -observations_noise 1e-3 -observations_batch 20 -model_type darcy -darcy_cells 9,7 -parameterization_type field -field_grid 9,7 -field_modes 5,4 -field_length_spread 0.5 -field_sd_spread 0.2 -analysis_type teki -ensemble_size 11 -ensemble_exchange messages"
  "teki, one shot
   -observations_path diffusion.h5 -observations_batch 17 -observations_noise 1e-3 -model_type diffusion -diffusion_one_shot -diffusion_penalty_growth 1 -mlp_layers 1,5,1 -mlp_activation tanh -analysis_type teki -ensemble_size 11 -ensemble_block_rows 5"
  "eki stochastic, squared, none, ensemble, fixed, shared, double
   $class -mlp_layers 20,7,4 -analysis_type eki -eki_update stochastic -observations_loss squared -observations_batch 7 -ensemble_size 13 -analysis_space ensemble -ensemble_exchange shared"
  "eki stochastic, squared, constant, observation, adaptive, messages, redraw, single
   $class -mlp_layers 20,13,4 -mlp_activation tanh -analysis_type eki -eki_update stochastic -observations_loss squared -observations_noise 0.1 -observations_batch 7 -ensemble_size 31 -analysis_space observation -eki_step_rule adaptive -eki_step 5 -eki_momentum constant -eki_redraw_cycles 3 -ensemble_exchange messages -ensemble_block_rows 37 -model_precision single"
  "eki deterministic, cross-entropy, nesterov, matrix-free, misfit, auto, redraw about each member by epochs, inflation, single
   $class -mlp_layers 20,11,4 -analysis_type eki -observations_batch 150 -ensemble_size 13 -analysis_space matrix-free -eki_step_rule misfit -eki_momentum nesterov -eki_redraw_epochs 1 -eki_redraw_about member -eki_inflation 1.02 -model_precision single"
  "eki deterministic, cross-entropy in logits, none, observation, misfit, messages, additive inflation, double
   $class -mlp_layers 20,5,4 -mlp_activation sigmoid -analysis_type eki -observations_output logits -observations_batch 7 -ensemble_size 37 -analysis_space observation -eki_step_rule misfit -eki_inflation_additive 0.01 -ensemble_exchange messages -ensemble_block_rows 19"
  "eki stochastic, targets, nesterov, auto, adaptive, shared, redraw, fewer members than ranks
   $real -mlp_layers 20,5,3 -mlp_activation tanh -analysis_type eki -eki_update stochastic -observations_batch 11 -ensemble_size 4 -eki_step_rule adaptive -eki_momentum nesterov -eki_redraw_cycles 2 -ensemble_exchange shared"
  "eki posterior, stochastic, targets, the whole set, linear
   $real -mlp_layers 20,3 -mlp_prior_center 0 -mlp_activation linear -analysis_type eki -eki_target posterior -eki_update stochastic -eki_step 0.25 -ensemble_size 29 -ensemble_exchange messages"
  "etki, cross-entropy, constant, adaptive, messages, redraw, single, feature
   $class -observations_normalize feature -mlp_layers 20,13,4 -analysis_type etki -observations_batch 97 -ensemble_size 13 -etki_step_rule adaptive -etki_momentum constant -etki_redraw_cycles 4 -ensemble_exchange messages -ensemble_block_rows 41 -model_precision single"
  "etki, squared, nesterov, misfit, shared, inflation, three layers, images, fewer members than ranks
   $image -mlp_layers 20,11,7,4 -mlp_activation sigmoid -analysis_type etki -observations_loss squared -observations_batch 23 -ensemble_size 5 -etki_step_rule misfit -etki_momentum nesterov -etki_inflation 1.05 -ensemble_exchange shared"
  "etki, targets, none, redraw by epochs, additive inflation, misfit
   $real -mlp_layers 20,7,3 -analysis_type etki -observations_noise 0.5 -observations_batch 131 -ensemble_size 41 -etki_step_rule misfit -etki_redraw_epochs 1 -etki_inflation_additive 0.02"
  "haber, cross-entropy, line search, momentum, antithetic, images, single
   $image -mlp_layers 20,9,4 -analysis_type haber -haber_line_search 5 -haber_step 1 -haber_momentum 0.9 -haber_antithetic -observations_batch 53 -ensemble_size 13 -model_precision single"
  "haber, targets, schedules, observation, fewer members than ranks
   $real -mlp_layers 20,7,3 -mlp_activation tanh -analysis_type haber -analysis_schedule_cycles 10 -haber_step_schedule cosine -haber_spread_schedule geometric -analysis_space observation -observations_batch 5 -ensemble_size 4 -ensemble_exchange messages"
  "haber, cross-entropy in logits, matrix-free, momentum, heaviside, unit
   $image -observations_normalize unit -mlp_layers 20,17,4 -mlp_activation heaviside -analysis_type haber -haber_momentum 0.5 -haber_damping 5 -analysis_space matrix-free -observations_output logits -observations_batch 61 -ensemble_size 19"
  "etki, poisson, targets that are counts
   -observations_path counts.h5 -observations_loss poisson -mlp_layers 6,7,2 -mlp_activation tanh -analysis_type etki -observations_batch 37 -ensemble_size 11"
  "venkf, poisson, messages
   -observations_path counts.h5 -observations_loss poisson -mlp_layers 6,7,2 -mlp_activation tanh -analysis_type venkf -observations_batch 37 -ensemble_size 11 -inflation_factor 1.05 -ensemble_exchange messages -ensemble_block_rows 10"
  "eki, cnn, average, messages, single
   $class -model_type cnn -cnn_input 5,4,1 -cnn_layers conv:3:2,pool:2,dense:4 -cnn_pooling average -analysis_type eki -observations_batch 23 -ensemble_size 9 -ensemble_exchange messages -ensemble_block_rows 16 -model_precision single"
  "haber, cnn, max
   $image -model_type cnn -cnn_input 4,5,1 -cnn_layers conv:3:2,conv:2:2,dense:5,dense:4 -cnn_activation tanh -analysis_type haber -observations_batch 53 -ensemble_size 13"
  "etki, a subspace, single, images
   $image -mlp_layers 20,9,4 -parameterization_type subspace -subspace_ranks 3x5,4x9 -analysis_type etki -observations_batch 53 -ensemble_size 13 -model_precision single"
  "haber, rank-one, projected, momentum, antithetic, images, single
   $image -mlp_layers 20,13,9,4 -analysis_type haber -haber_draws rank-one -haber_project -haber_antithetic -haber_momentum 0.9 -observations_batch 7 -ensemble_size 300 -model_precision single"
  "haber, rank-one, projected, line search, cnn, fewer members than ranks
   $image -model_type cnn -cnn_input 4,5,1 -cnn_layers conv:3:2,pool:2,dense:4 -cnn_pooling average -analysis_type haber -haber_draws rank-one -haber_project -haber_line_search 3 -haber_step 1 -observations_batch 2 -ensemble_size 4"
  "haber, flipout, moments, three layers
   $class -mlp_layers 20,13,9,4 -mlp_activation tanh -analysis_type haber -haber_draws flipout -haber_scaling moments -haber_momentum 0.9 -haber_step 0.01 -observations_batch 11 -ensemble_size 64"
  "haber, flipout, images, single, observation space, fewer samples than ranks
   $image -mlp_layers 20,7,4 -analysis_type haber -haber_draws flipout -haber_momentum 0.5 -observations_batch 3 -ensemble_size 16 -model_precision single"
  "layered, cnn, fewer networks than ranks
   $class -model_type cnn -cnn_input 5,4,1 -cnn_layers conv:3:2,pool:2,dense:4 -analysis_type layered -layered_perturbations 16 -layered_draws orthogonal -observations_batch 29 -ensemble_size 2"
  "layered, one network, orthogonal, relative spread, single
   $class -mlp_layers 20,13,4 -analysis_type layered -layered_draws orthogonal -layered_perturbations 16 -layered_spread_kind relative -observations_batch 23 -ensemble_size 1 -model_precision single"
  "layered, fewer networks than ranks, backward, covariance, kalman, sign, images
   $image -mlp_layers 20,9,7,4 -mlp_activation sign -analysis_type layered -layered_variant kalman -layered_scaling covariance -layered_sweep backward -layered_step 0.3 -observations_batch 53 -ensemble_size 2"
  "layered, as many networks as some ranks, targets, steps, signs, antithetic, alternate, momentum
   $real -mlp_layers 20,7,3 -mlp_activation steps -mlp_activation_levels 3 -analysis_type layered -layered_draws signs -layered_antithetic -layered_sweep alternate -observations_batch 11 -ensemble_size 5 -layered_decay 0.1"
)

results=()
for case in "${cases[@]}"; do
  name=${case%%$'\n'*}
  read -ra options <<<"${case#*$'\n'} $common"
  first=
  for ranks in 1 2 3 5 7; do
    run $ranks "$KALMIA_BIN/kalmia" "${options[@]}" >out 2>err || grep 'kalmia' err
    result=$(sed -n 's/^\(result: .*\) seconds=[0-9.]*\(.*\)/\1\2/p' out)
    if [ -z "$first" ]; then
      first=$result
      check "$name: runs" [ -n "$result" ] || break
      results+=("$(result_value checksum <out)")
      check "$name: has cycles" [ "$(result_value cycles <out)" -ge 4 ]
    else
      check "$name: $ranks ranks" [ "$result" = "$first" ]
    fi
  done
done
check "all cases have checksums of their own" [ "$(printf '%s\n' "${results[@]}" | sort -u | wc -l)" = ${#cases[@]} ]
summary
