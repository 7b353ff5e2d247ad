#!/usr/bin/env bash
# labels: long
# jobs/scaling.sh on this machine: one table of two studies, plots in PNG and SVG, counted bytes within 1.1 of the formula.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python
if ! kal_packages plots >/dev/null; then
  echo "skipped: there is no gnuplot, and it cannot be installed"
  exit 77
fi

make_data classes classes.h5
export KALMIA=$KALMIA_BIN/kalmia
scale() { timeout 200 bash "$KALMIA_SOURCE/jobs/scaling.sh" "$@" </dev/null; }
run_options="-observations_path $PWD/classes.h5 -mlp_layers 20,40,4 -observations_batch 97 -run_cycles 3 -ensemble_block_rows 100 -snapshot_path $PWD/s.h5 -snapshot_every 1"

# shellcheck disable=SC2086
scale -l -p "1 2 4" -w ensemble_size=8 -x "--outputs 4 --block-rows 100" -o study -- $run_options -ensemble_size 13 >out 2>&1 || cat out
check "a table" [ -s study/scaling.csv ]
check "of two studies, three points and all phases" awk -F, 'NR > 1 { points[$1, $4]++ } END { for (p in points) { count++; bad += points[p] != 15 }; exit !(count == 6 && !bad) }' study/scaling.csv
check "with the cycles' members grown by the weak study" awk -F, '$1 == "weak" && $7 != 8 * $4 { bad = 1 } END { exit bad }' study/scaling.csv
check "and a bound" awk -F, 'NR == 1 { exit $NF != "bound" }' study/scaling.csv
check "counts within 1.1 of the formula" "$PYTHON" "$KALMIA_SOURCE/share/performance/model.py" check --outputs 4 --block-rows 100 study/scaling.csv >report || cat report
for plot in time efficiency phases-strong phases-weak bytes; do
  check "$plot.png" [ "$(head -c 8 "study/$plot.png" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ]
  check "$plot.svg" "$PYTHON" -c "import sys, xml.etree.ElementTree as e; sys.exit(not e.parse(sys.argv[1]).getroot().tag.endswith('svg'))" "study/$plot.svg"
done

expect_fail "a point is ranks" scale -p "1 x2" -- -run_cycles 1
expect_fail "no options of the run" scale -p 1 -l
expect_fail "give a name and a whole number" scale -l -p 1 -w ensemble_size -- -run_cycles 1
expect_fail "the run on 1 ranks failed" scale -l -p 1 -o failing -- -no_such_option 1
summary
