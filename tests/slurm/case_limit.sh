#!/usr/bin/env bash
# Time limits that are too short for the run: it stops in time and is requeued, as often as it takes, to the same bits.
# shellcheck source=tests/slurm/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# A minute is the least that Slurm knows; the run takes longer. Its own limit, -run_walltime, comes before Slurm's signal.
full=$(whole "${slow[@]}" -run_cycles 45)
export NAP=700000
submit --nodes=2 --time=1 --signal=B:USR1@1 "$jobs/train.sbatch" "${slow[@]}" -run_cycles 45
minute=$job minute_out=$out

# Limits of the run's own, meanwhile: several restarts.
short=$(whole "${slow[@]}" -run_cycles 20)
export KALMIA_WALLTIME=0-00:00:16 KALMIA_SNAPSHOT=$scratch/short.h5
NAP=300000 submit --nodes=2 "$jobs/train.sbatch" "${slow[@]}" -run_cycles 20
check "a limit of 16 s: the job is completed" finishes 100 COMPLETED
check "after two restarts or more ($(of Restarts))" [ "$(of Restarts)" -ge 2 ]
check "each of which it stopped for" [ "$(grep -c '^stop: -run_walltime 0-00:00:16 is near' "$out")" = "$(of Restarts)" ]
same "with the same bits" "$(checksum)" "$short"

job=$minute out=$minute_out
check "a limit of a minute: the job is completed" finishes 120 COMPLETED
check "after a restart" [ "$(of Restarts)" -ge 1 ]
# by its own limit, or by Slurm's signal, which may come a minute earlier than it is asked for
check "which it stopped for in time" [ "$(grep -c -e '^stop: -run_walltime .* is near' -e '^stop: SIGUSR1' "$out")" = "$(of Restarts)" ]
same "with the same bits" "$(checksum)" "$full"
summary
