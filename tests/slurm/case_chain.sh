#!/usr/bin/env bash
# A chain of jobs, where nothing is requeued: each goes on from the one before, and those left over end at once.
# shellcheck source=tests/slurm/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

full=$(whole "${slow[@]}" -run_cycles 8)
read -ra chained <<<"$(NAP=200000 cluster "$jobs/chain.sh" 3 --nodes=2 --ntasks-per-node=2 --output="$scratch/slurm-%j.out" "$jobs/train.sbatch" "${slow[@]}" -run_cycles 8 | tr '\n' ' ')"
check "three jobs" [ ${#chained[@]} = 3 ] || summary
job=${chained[0]} out=slurm-${chained[0]}.out
check "the first runs" until_true 60 has_done 2
check "and is signalled" cluster scancel --signal=USR1 --batch "$job"
check "it ends with 75: to be continued" finishes 60 FAILED
check "and is not requeued" [ "$(of ExitCode),$(of Restarts)" = 75:0,0 ]
job=${chained[1]} out=slurm-${chained[1]}.out
check "the second goes on to the end" finishes 60 COMPLETED
check "from where the first stopped" grep -q '^restart: ' "$out"
same "with the same bits" "$(checksum)" "$full"
job=${chained[2]} out=slurm-${chained[2]}.out
check "the third ends at once" finishes 60 COMPLETED
check "without a cycle" [ "$(grep -c '^cycle' "$out"),$(checksum)" = "0,$full" ]
summary
