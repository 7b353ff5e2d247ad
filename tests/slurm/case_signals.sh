#!/usr/bin/env bash
# Jobs that are signalled, by their tasks or their script, or requeued by an operator end with the bits of a run that was not.
# shellcheck source=tests/slurm/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

full=$(whole "${slow[@]}" -run_cycles 14)
export NAP=200000
interrupt() { # interrupt NAME OPTIONS COMMAND...
  local name=$1 options=$2
  shift 2
  rm -f run.h5*
  # shellcheck disable=SC2086 # options are words
  submit --nodes=2 $options "$jobs/train.sbatch" "${slow[@]}" -run_cycles 14 -snapshot_every 2
  check "$name: it runs" until_true 60 has_done 3
  check "$name: done" cluster "$@" "$job"
  check "$name: it is completed" finishes 90 COMPLETED
  check "$name: after one restart" [ "$(of Restarts)" = 1 ]
  same "$name: the same bits" "$(checksum)" "$full"
}
interrupt "scancel --signal, to the script" "" scancel --signal=USR1 --batch
check "it stopped for the signal" grep -q '^stop: SIGUSR1' "$out"
interrupt "scancel --signal, to the tasks" "" scancel --signal=USR1
check "it stopped for the signal" grep -q '^stop: SIGUSR1' "$out"
interrupt "scontrol requeue" "" scontrol requeue
check "it went on from its last snapshot" grep -q '^restart: .*run.h5, after cycle' "$out"
KALMIA_LAUNCH=mpirun interrupt "mpirun, signalled by the script" "" scancel --signal=USR1 --batch
check "it stopped for the signal" grep -q '^stop: SIGUSR1' "$out"
summary
