#!/usr/bin/env bash
# An array of six jobs leaves one table, whose rows are those of the runs one by one.
# shellcheck source=tests/slurm/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

for step in 0.5 1; do for seed in 1 2 3; do echo "-etki_step $step -run_seed $seed"; done; done >sweep.txt
submit --array=1-6%3 --nodes=1 "$jobs/sweep.sbatch" "${quick[@]}" -run_cycles 5
is_gone() { [ -z "$(cluster squeue -h -j "$job" 2>/dev/null)" ]; }
check "the six jobs end" until_true 100 is_gone
check "one table" "$jobs/gather.sh" >table.csv
check "a head and six rows, done" [ "$(wc -l <table.csv),$(grep -c '^[1-6],done,5,"-etki_step' table.csv)" = 7,6 ]
column() { "$PYTHON" -c 'import csv, sys; print(*[r[sys.argv[1]] for r in csv.DictReader(open("table.csv"))], sep="\n")' "$1"; }
same "a row has its options" "$(column options | sed -n 5p)" "-etki_step 1 -run_seed 2"
same "and the bits of that run" "$(column checksum | sed -n 5p)" "$(whole "${quick[@]}" -run_cycles 5 -etki_step 1 -run_seed 2)"
check "no two are the same" [ "$(column checksum | sort -u | wc -l)" = 6 ]
echo "-run_seed 9" >>sweep.txt
check "a run that is missing is a row, too" grep -q '^7,absent,0,"-run_seed 9",,' <("$jobs/gather.sh")

# One task of an array is stopped and requeued, and no other: the last, whose job has the array's own number.
printf -- '-run_seed 1\n-run_seed 2\n' >two.txt
export KALMIA_SWEEP=$scratch/two.txt KALMIA_SWEEP_FOLDER=$scratch/two
NAP=300000 submit --array=1-2 --nodes=1 "$jobs/sweep.sbatch" "${slow[@]}" -run_cycles 10
array=$job
job=${array}_2 out=$scratch/slurm-${array}_2.out
check "a task runs" until_true 60 has_done 2
check "it is signalled" cluster scancel --signal=USR1 --batch "$job"
check "and completed" finishes 90 COMPLETED
check "after a restart" [ "$(of Restarts)" = 1 ]
same "with the bits of that run" "$(checksum)" "$(whole "${slow[@]}" -run_cycles 10 -run_seed 2)"
job=${array}_1
check "the other task is completed" finishes 60 COMPLETED
check "and was left alone" [ "$(of Restarts)" = 0 ]
summary
