#!/usr/bin/env bash
# -run_dry checks and tells, and writes nothing; -help documents the options.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

make_data classes classes.h5
kalmia=$KALMIA_BIN/kalmia
few=0
if sanitized; then few=1; fi
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
options=(-observations_path classes.h5 -observations_batch 100 -mlp_layers 20,7,4 -analysis_type etki -ensemble_size 32 -run_cycles 1000)
run 1 "$kalmia" "${options[@]}" -run_cycles 1 -snapshot_path begun.h5 >/dev/null || exit 1
"$PYTHON" -c 'import h5py; f = h5py.File("elliptic.h5", "w"); f["x"] = [[0.25], [0.75]]; f["y"] = [[27.5], [79.7]]' || exit 1 # as the elliptic option files say
for example in one-shot darcy; do "$PYTHON" "$KALMIA_SOURCE/share/examples/$example/makedata.py" || exit 1; done
paths="$KALMIA_SOURCE/share/examples/annealing/makedata.py" # as the annealing option files say
"$PYTHON" "$paths" lorenz96 lorenz96-path.h5 && "$PYTHON" "$paths" network network-path.h5 || exit 1
"$PYTHON" "$paths" lorenz96 lorenz96-small.h5 --entries 6 --steps 20 --ahead 20 --observed 0,2,4 --noise 0.3 || exit 1
printf 'observations:\n  path: classes.h5\nmlp:\n  layers: 20,7,4\nanalysis:\n  type: haber\nsnapshot:\n  path: dry.h5\n  every: 5\n' >run.yaml
before=$(find . -type f | sort | xargs sha256sum)

for ranks in 1 2; do
  check "a dry run on $ranks exits with 0" run $ranks "$kalmia" "${options[@]}" -run_dry -snapshot_path dry.h5 >out 2>err
  cat err
  for line in '^kalmia [0-9.]* ' '^Model: type mlp, 179 numbers a state' 'training set: 400 samples of 20 inputs' '^analysis: etki' 'N = 32 members of n = 179, stored' \
    'run: 1000 cycles, 4 an epoch' '^memory: MiB a rank: .* = [0-9]' '^estimate: [0-9.e-]* s a cycle, [0-9.e-]* s in all'; do
    check "it tells: $line" grep -qE "$line" out
  done
  check "it does no cycle and has no result" [ "$(grep -cE '^(cycle|result)' out)" = 0 ]
done
check "with an option file" run 2 "$kalmia" -options_file run.yaml -run_dry >out 2>err
check "members are generated" grep -q 'generated about a mean' out
# The estimate of memory at a size that is not there to be had: nothing is taken.
check "a run too large for this machine is estimated" run 1 "$kalmia" "${options[@]}" -mlp_layers 20,20000,4 -ensemble_size 100000 -analysis_type haber -run_dry >out 2>err
"$KALMIA_BIN/kalmia" "${options[@]}" -mlp_layers 20,20000,4 -ensemble_size 9000 -run_dry >out 2>err
mib=$(sed -n 's/.*: ensemble \([0-9.]*\).*/\1/p' out)
check "the ensemble takes n N 8 bytes" awk -v mib="$mib" 'BEGIN { want = (20 * 20000 + 20000 + 20000 * 4 + 4) * 9000 * 8 / 1048576; exit !(mib > 0.99 * want && mib < 1.01 * want) }'

# The option files that come with Kalmia.
for file in "$KALMIA_SOURCE"/share/benchmarks/*.yaml "$KALMIA_SOURCE"/share/kalmia/*.yaml; do
  if [ $few = 1 ] && [ "${file%letkf*}" = "$file" ]; then continue; fi
  if grep -q fashion-mnist "$file" && ! [ -d /usr/share/datasets/fashion-mnist ]; then continue; fi
  check "$(basename "$file")" timeout 60 "$kalmia" -options_file "$file" -run_dry >out 2>err || cat err
done

expect_fail "Unknown option -bogus" run 2 "$kalmia" "${options[@]}" -run_dry -bogus 1
expect_fail "-mlp_layers begins with 21" run 2 "$kalmia" "${options[@]}" -run_dry -mlp_layers 21,7,4
expect_fail "-observations_path none.h5 does not exist" run 2 "$kalmia" "${options[@]}" -run_dry -observations_path none.h5
expect_fail "-etki_step" run 2 "$kalmia" "${options[@]}" -run_dry -etki_step -1
expect_fail "nowhere" run 2 "$kalmia" "${options[@]}" -run_dry -snapshot_path nowhere/dry.h5
expect_fail "There is no snapshot none.h5" run 2 "$kalmia" -restart none.h5 -run_dry
expect_fail "nofile.h5" run 2 "$kalmia" "${options[@]}" -run_dry -ensemble_initial nofile.h5
expect_fail "classes.h5 holds no dataset members (N x n) or mean (n)" run 2 "$kalmia" "${options[@]}" -run_dry -ensemble_initial classes.h5
expect_fail 'begun.h5 was written with model/layout "mlp 20,7,4 relu"' run 2 "$kalmia" -restart begun.h5 -run_dry -mlp_layers 20,8,4
check "a restart that fits" run 2 "$kalmia" -restart begun.h5 -run_dry >out 2>err
check "initial members that fit" run 2 "$kalmia" "${options[@]}" -run_dry -ensemble_initial begun.h5 >out 2>err
# Several at once: each is told.
run 2 "$kalmia" "${options[@]}" -run_dry -bogus 1 -observations_path none.h5 -snapshot_path nowhere/dry.h5 >out 2>err && code=0 || code=$?
check "several errors: exit 1" [ $code = 1 ]
for text in "Unknown option -bogus" "none.h5 does not exist" "nowhere"; do check "several errors: $text" [ "$(grep -cF -- "$text" err)" = 1 ]; done
rm -f out err
same "nothing was written" "$(find . -type f ! -name '.expect_fail' | sort | xargs sha256sum | sha256sum)" "$(sha256sum <<<"$before")"

for type in eki etki haber; do
  check "-help exits with 0" run 2 "$kalmia" -help -analysis_type $type >$type.help 2>err
done
documented=$(cat eki.help etki.help haber.help)
for option in run_cycles run_seed run_monitor_every run_evaluate_every run_evaluate_ensemble run_survivors run_dry ensemble_size ensemble_initial ensemble_exchange \
  ensemble_block_rows snapshot_path snapshot_every snapshot_keep restart model_type model_precision mlp_layers mlp_activation mlp_prior_scale mlp_prior_center \
  observations_path observations_batch observations_normalize observations_loss observations_noise observations_output analysis_type analysis_space \
  eki_update eki_step_rule eki_step eki_momentum eki_redraw_cycles eki_inflation etki_step_rule etki_momentum haber_damping haber_line_search haber_step_schedule; do
  check "-help documents -$option" grep -qE -- "^ *-$option[ :]" <<<"$documented"
done
check "kalmia-predict -help exits with 0" run 1 "$KALMIA_BIN/kalmia-predict" -help >out 2>err
check "and documents its options" [ "$(grep -cE -- '^ *-(output|predict_set)[ :]' out)" = 2 ]
check "an unknown method under -help is an error, not a crash" bash -c "! '$kalmia' -help -analysis_type foo >out 2>err && grep -q foo err"
summary
