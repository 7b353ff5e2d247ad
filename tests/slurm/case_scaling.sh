#!/usr/bin/env bash
# The scaling study over 1, 2 and 4 nodes: a job a point, one table, plots, and counted bytes within 1.1 of the formula.
# shellcheck source=tests/slurm/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if ! kal_packages plots >/dev/null; then skip "there is no gnuplot, and it cannot be installed"; fi

export KALMIA=$kalmia
study=(-observations_path "$scratch/classes.h5" -observations_batch 97 -mlp_layers 20,40,4 -run_cycles 3 -ensemble_block_rows 100)
check "a study by jobs" cluster timeout 150 bash "$jobs/scaling.sh" -p "1x2 2x4 4x8" -w ensemble_size=8 -x "--outputs 4 --block-rows 100" -o "$scratch/study" -- \
  "${study[@]}" -ensemble_size 13 -snapshot_path "$scratch/s.h5" -snapshot_every 1 </dev/null
check "each point over its nodes" awk -F, 'NR > 1 { points[$1 " " $2 " " $4] = 1 } END { n = 0; for (p in points) n++; exit !(n == 6 && ("strong 1 2" in points) && ("strong 2 4" in points) && ("weak 4 8" in points)) }' study/scaling.csv
check "counts within 1.1 of the formula" "$PYTHON" "$KALMIA_SOURCE/share/performance/model.py" check --outputs 4 --block-rows 100 study/scaling.csv >report || cat report
check "each point has a snapshot of its own" [ "$(ls study/*-*.h5 2>/dev/null | wc -l)" = 6 ]
check "whose cost is counted" awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) { if ($i == "phase") p = i; if ($i == "seconds") s = i } } $p == "snapshot" && $s > 0 { n++ } END { exit n != 6 }' study/scaling.csv
for plot in time efficiency phases-strong phases-weak bytes; do
  check "$plot.png" [ "$(head -c 8 "study/$plot.png" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ]
  check "$plot.svg" grep -q '<svg' "study/$plot.svg"
done
summary
