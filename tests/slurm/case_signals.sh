#!/usr/bin/env bash
# Jobs that are signalled, by their tasks or their script, or requeued by an operator end with the bits of a run that was not.
# shellcheck source=tests/slurm/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

full=$(whole "${slow[@]}" -run_cycles 24)
export NAP=200000
names=("scancel --signal, to the script" "scancel --signal, to the tasks" "scontrol requeue" "mpirun, signalled by the script")
interrupts=("scancel --signal=USR1 --batch" "scancel --signal=USR1" "scontrol requeue" "scancel --signal=USR1 --batch")
launches=("" "" "" mpirun)
ids=() outs=()
for k in 0 1 2 3; do # side by side: they wait more than they work
  KALMIA_LAUNCH=${launches[k]} KALMIA_SNAPSHOT=$scratch/run$k.h5 submit --nodes=2 "$jobs/train.sbatch" "${slow[@]}" -run_cycles 24 -snapshot_every 2 || exit 1
  ids+=("$job") outs+=("$out")
done
for k in 0 1 2 3; do
  job=${ids[k]} out=${outs[k]}
  check "${names[k]}: it runs" until_true 90 has_done 3
  # shellcheck disable=SC2086 # options are words
  check "${names[k]}: asked for" cluster ${interrupts[k]} "$job"
done
for k in 0 1 2 3; do
  job=${ids[k]} out=${outs[k]}
  check "${names[k]}: it is completed" finishes 120 COMPLETED
  check "${names[k]}: after one restart" [ "$(of Restarts)" = 1 ]
  check "${names[k]}: it went on from a snapshot" grep -q "^restart: .*run$k.h5, after cycle" "$out"
  same "${names[k]}: the same bits" "$(checksum)" "$full"
  if [ $k != 2 ]; then check "${names[k]}: it stopped for the signal" grep -q '^stop: SIGUSR1' "$out"; fi
done
summary
