#!/usr/bin/env bash
# labels: long
# Fields of groundwater flow: the ready option files against the truths of the example; the same bits on any ranks and through a restart.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

kalmia=$KALMIA_BIN/kalmia
example=$KALMIA_SOURCE/share/examples/darcy
files=$KALMIA_SOURCE/share/kalmia
export PYTHONDONTWRITEBYTECODE=1
"$PYTHON" "$example/makedata.py" || exit 1

# solve KIND FILE [options]: leaves compare.py's text in KIND.txt
solve() {
  local kind=$1 file=$2
  shift 2
  run 2 "$kalmia" -options_file "$files/$file.yaml" "$@" -snapshot_path "$kind.h5" >out 2>err || cat err
  "$PYTHON" "$example/compare.py" "$kind" "$kind.h5" >"$kind.txt" || cat "$kind.txt"
}
# value KIND NAME: the number behind NAME
value() { sed -n "s/^$2 \([0-9.-]*\).*/\1/p" "$1.txt"; }
# holds "what" AWK-EXPRESSION of a, b
holds() { check "$1: $3, $4" awk -v a="$3" -v b="$4" "BEGIN { exit !(a != \"\" && b != \"\" && $2) }"; }

solve hierarchical darcy-hierarchical
solve fixed darcy-hierarchical -field_length_spread 0
holds "an unknown length is found within a factor of 2" "a > b/2 && a < 2*b" "$(value hierarchical length)" 0.1
holds "the field is nearer to the truth than with a length three times too long" "a < 0.8*b" "$(value hierarchical error)" "$(value fixed error)"
solve level-set darcy-level-set
holds "level sets: cells that are right" "a > b" "$(value level-set right)" 0.93
solve channel darcy-channel
while read -r name truth tolerance; do
  holds "channel: $name" "a > b - $tolerance && a < b + $tolerance" "$(value channel "$name")" "$truth"
done <<'TRUTH'
amplitude 0.15 0.03
frequency 1.1 0.05
slope 0.1 0.08
offset 0.4 0.03
width 0.2 0.05
inside 2 0.35
outside 0 0.05
TRUTH

# The number of ranks and a restart change no bit.
for case in "darcy-hierarchical -ensemble_size 13 -field_exponent_spread 0.3" "darcy-level-set -ensemble_size 11" "darcy-channel -ensemble_size 9 -ensemble_exchange messages"; do
  read -ra options <<<"-options_file $files/${case%% *}.yaml ${case#* } -run_cycles 4 -darcy_cells 12,12 -run_evaluate_ensemble false"
  for grid in field channel; do if grep -q "^$grid:" "$files/${case%% *}.yaml"; then options+=("-${grid}_grid" 12,12); fi; done
  rm -f s.h5* r.h5*
  run 1 "$kalmia" "${options[@]}" -snapshot_path s.h5 -snapshot_every 1 -snapshot_keep 9 >out 2>err || cat err
  first=$(result_value checksum <out)
  for ranks in 3 5; do
    run "$ranks" "$kalmia" "${options[@]}" >out 2>err || cat err
    same "${case%% *}: $ranks ranks" "$(result_value checksum <out)" "$first"
  done
  run 2 "$kalmia" -restart s.h5.2 -snapshot_path r.h5 >out 2>err || cat err
  same "${case%% *}: restarted after cycle 2" "$(result_value checksum <out)" "$first"
done
# A place outside, in the test set alone and in one rank's share of it: refused before the first cycle, by a dry run too.
"$PYTHON" - <<'PY' || exit 1
import h5py, numpy
with h5py.File("darcy-field.h5") as good, h5py.File("outside.h5", "w") as bad:
    for name in good:
        good.copy(name, bad)
    places = numpy.full((1300, 2), 0.5)
    places[1204, 1] = 1.25
    bad["x_test"], bad["y_test"] = places, numpy.zeros((1300, 1))
PY
outside="lies at 0.5, 1.25; the model darcy is on the unit square"
for more in "" "-run_dry"; do
  # shellcheck disable=SC2086 # options are words
  expect_fail "$outside" run 3 "$kalmia" -options_file "$files/darcy-hierarchical.yaml" -observations_path outside.h5 -run_cycles 1 -snapshot_path outside-run.h5 $more
done
check "it says where to look, once" [ "$(grep -c "(one of samples 1000 to 1299 of the test set)" .expect_fail)" = 1 ]
check "no rank is aborted" [ "$(grep -c MPI_ABORT .expect_fail)" = 0 ]
check "nothing was written" [ ! -e outside-run.h5 ]
expect_fail "$outside" run 2 "$KALMIA_BIN/kalmia-predict" hierarchical.h5 outside.h5 -output predicted.h5
expect_fail "-field_grid makes 24 x 24 places, but the model darcy takes 400" run 2 "$kalmia" -options_file "$files/darcy-hierarchical.yaml" -darcy_cells 20,20
check "the solver's reason is told" run 1 "$kalmia" -options_file "$files/darcy-channel.yaml" -run_cycles 1 -ensemble_size 3 -darcy_ksp_type cg -darcy_pc_type jacobi -darcy_ksp_converged_reason >reasons 2>&1
check "for each member" [ "$(grep -c "CONVERGED_RTOL" reasons)" -ge 3 ]
expect_fail "Unknown option -field_exponential" run 2 "$kalmia" -options_file "$files/darcy-level-set.yaml" -field_exponential
expect_fail "was written with model/layout" run 2 "$kalmia" -restart s.h5 -channel_width 0.1,0.3
summary
