#!/usr/bin/env bash
# Jobs over two nodes give the bits of one rank without Slurm, by srun and by mpirun; a second job goes on over four nodes.
# shellcheck source=tests/slurm/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

full=$(whole "${quick[@]}" -run_cycles 12)
submit --nodes=2 "$jobs/train.sbatch" "${quick[@]}" -run_cycles 7
check "train.sbatch over two nodes is completed" finishes 60 COMPLETED
same "and has the bits of one rank" "$(checksum)" "$(whole "${quick[@]}" -run_cycles 7)"
check "it ran on 4 ranks, by srun" [ "$(grep -c -e ', 4 ranks' -e 'srun --mpi=pmix' "$out")" = 2 ]
submit --nodes=4 "$jobs/train.sbatch" "${quick[@]}" -run_cycles 12
check "the same script over four nodes is completed" finishes 60 COMPLETED
check "it went on from cycle 7 on 8 ranks" [ "$(grep -c -e ', 8 ranks' -e '^restart: .*, after cycle 7' "$out")" = 2 ]
same "to the bits of a run that was not stopped" "$(checksum)" "$full"

rm -f run.h5*
KALMIA_LAUNCH=mpirun submit --nodes=2 "$jobs/train.sbatch" "${quick[@]}" -run_cycles 12
check "mpirun in the place of srun is completed" finishes 60 COMPLETED
same "and has the same bits" "$(checksum)" "$full"

twin=(-model_type lorenz96 -observations_type twin -analysis_type etkf -ensemble_size 12 -inflation_factor 1.05 -run_cycles 40 -run_monitor_every 0)
rm -f run.h5*
submit --nodes=2 "$jobs/assimilate.sbatch" "${twin[@]}"
check "assimilate.sbatch over two nodes is completed" finishes 60 COMPLETED
same "and has the bits of one rank" "$(checksum)" "$(whole "${twin[@]}")"

submit --nodes=1 "$jobs/train.sbatch" "${quick[@]}" -no_such_option 1
check "a wrong option fails the job" finishes 60 FAILED
check "with kalmia's code, and is not tried again" [ "$(of ExitCode),$(of Restarts)" = 1:0,0 ]
summary
