#!/usr/bin/env bash
# A node that loses power in the middle of a run: the job is requeued and ends with the same bits.
# shellcheck source=tests/slurm/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [ "$cluster_mode" = plain ]; then skip "nodes without namespaces cannot be powered off"; fi

full=$(whole "${slow[@]}" -run_cycles 14)
export NAP=200000
lose() { # lose NAME NODE: one of the first two, the job's; the script runs on n1
  rm -f run.h5*
  submit --nodelist=n1,n2 --nodes=2 "$jobs/train.sbatch" "${slow[@]}" -run_cycles 14 -snapshot_every 2
  check "$1: it runs" until_true 60 has_done 5
  cluster_crash "$2" 2>/dev/null
  cluster_boot "$2"
  check "$1: the job is completed" finishes 120 COMPLETED
  check "$1: after a restart" [ "$(of Restarts)" -ge 1 ]
  check "$1: it went on from a snapshot" grep -q '^restart: .*run.h5, after cycle' "$out"
  same "$1: the same bits" "$(checksum)" "$full"
}
lose "a node of ranks" n2
lose "the node of the script" n1
summary
