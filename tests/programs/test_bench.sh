#!/usr/bin/env bash
# labels: long
# kalmia-bench at small sizes: every group of rows, table and CSV; what it refuses; and the transform in single precision.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

bench=("$KALMIA_BIN/kalmia-bench" -bench_repeats 2 -bench_state 2000 -bench_members 24 -bench_observations 200 -bench_layers 30,12,5 -bench_batch 40 -bench_file_size 8)
rows=(forward gram "gram exchange" transform "analysis etkf" "analysis enkf" "analysis letkf" "cycle eki" "cycle eki single" "cycle haber" "haber passes" "haber analysis" "snapshot written" "snapshot read, cold")
more=("transform, messages" "exchange, messages" "efficiency eki" "efficiency haber")
for ranks in 1 3; do
  run $ranks "${bench[@]}" --csv bench$ranks.csv >table 2>err || { cat err; }
  check "the table names the BLAS on $ranks ranks" grep -q "kalmia-bench: $ranks rank.*BLAS" table
  python - bench$ranks.csv "${rows[@]}" >missing <<'P'
import csv, sys
seen = {}
for row in csv.DictReader(open(sys.argv[1])):
    seen[row["row"]] = row
for name in sys.argv[2:]:
    if name not in seen or not float(seen[name]["seconds"]) > 0: print(name)
for name in ("dgemm", "sgemm", "copy", "draw", "file write", "file read"):
    if not float(seen["machine " + name]["rate"]) > 0: print(name)
for name in ("forward", "gram", "transform", "cycle eki"):
    if not 0 < float(seen[name]["ratio"]) < 20: print("ratio of", name)
P
  check "every row is there on $ranks ranks" [ ! -s missing ] || cat missing
  check "nothing is left in the folder of $ranks ranks" [ -z "$(ls -d kalmia-bench-* 2>/dev/null)" ]
done
for row in "${more[@]}"; do check "$row between ranks" grep -q "^\"$row\"" bench3.csv; done
run 2 "$KALMIA_BIN/kalmia-bench" -bench_rows exchange -bench_repeats 1 -bench_state 100 -bench_members 6 >table
check "one group alone" [ "$(grep -c '^[a-z].* [0-9.]* ' table)" -ge 1 ]
check "and no other" [ "$(grep -c '^forward\|^gram\|^cycle' table)" = 0 ]
run 2 "$KALMIA_BIN/kalmia-bench" -bench_rows machine -bench_repeats 1 --csv machine.csv >table
check "the machine alone" [ "$(grep -c '^machine [a-z]*,2 ranks,,[0-9.e+-]*,' machine.csv)" = 5 -a "$(grep -c '^phase' table)" = 0 ]
check "a latency between a nanosecond and a second" awk -F, '$1 == "machine latency" && $4 > 1e-3 && $4 < 1e6 { found = 1 } END { exit !found }' machine.csv
check "a performance model takes its constants" "$PYTHON" "$KALMIA_SOURCE/share/performance/model.py" predict --state 1000 --members 32 --observations 500 --ranks 1,64,16384 --machine machine.csv >/dev/null
expect_fail "-bench_rows names speed, which is no group of rows; there are forward, gram" run 2 "$KALMIA_BIN/kalmia-bench" -bench_rows forward,speed
expect_fail "-bench_layers has 1 width" run 1 "$KALMIA_BIN/kalmia-bench" -bench_layers 7
expect_fail "-bench_members 1: at least 2" run 1 "$KALMIA_BIN/kalmia-bench" -bench_members 1
expect_fail "Unknown option -bench_speed" run 2 "$KALMIA_BIN/kalmia-bench" -bench_speed 3
expect_fail "-bench_rows stands without a value" run 1 "$KALMIA_BIN/kalmia-bench" -bench_rows
expect_fail "-bench_state 99999999999 is too large" run 1 "$KALMIA_BIN/kalmia-bench" -bench_state 99999999999
expect_fail "no/such/folder" run 2 "$KALMIA_BIN/kalmia-bench" -bench_rows file -bench_file_size 8 -bench_folder no/such/folder
expect_fail "cannot be written" run 2 "$KALMIA_BIN/kalmia-bench" -bench_rows exchange -bench_repeats 1 -bench_state 100 -bench_members 6 --csv no/such/file.csv

# Increments in single precision: close to those in double, and the same bits on any number of ranks.
make_data classes classes.h5
O="-observations_path classes.h5 -mlp_layers 20,13,4 -observations_batch 50 -ensemble_size 40 -run_monitor_every 0"
run 1 "$KALMIA_BIN/kalmia" $O -run_cycles 0 -snapshot_path start.h5 >/dev/null
for method in eki etki; do
  run 1 "$KALMIA_BIN/kalmia" $O -analysis_type $method -run_cycles 1 -snapshot_path double-$method.h5 >/dev/null
  first=
  for ranks in 1 2 3; do
    sum=$(run $ranks "$KALMIA_BIN/kalmia" $O -analysis_type $method -analysis_transform_precision single -run_cycles 1 -snapshot_path single-$method.h5 | result_value checksum)
    [ -z "$first" ] && first=$sum
    same "$method in single precision on $ranks ranks" "$sum" "$first"
  done
  python - start.h5 double-$method.h5 single-$method.h5 >far <<'P'
import h5py, numpy, sys
a, d, s = (h5py.File(f)["ensemble/members"][:] for f in sys.argv[1:])
error = abs(s - d).max() / abs(d - a).max()
if not 0 < error < 1e-5: print("error", error)
P
  check "$method in single precision is close to double" [ ! -s far ] || cat far
done
expect_fail "Unknown option -analysis_transform_precision" run 1 "$KALMIA_BIN/kalmia" $O -analysis_type haber -analysis_transform_precision single -run_cycles 1
summary
