#!/usr/bin/env bash
# A chain of jobs, for clusters that do not requeue:  jobs/chain.sh COUNT [SBATCH-OPTION...] SCRIPT [ARGUMENT...]
# Each begins when the one before it has ended, however it did, and goes on with the run; those left when it is done end at
# once. Prints the jobs' ids. As in  jobs/chain.sh 5 --time=01:00:00 jobs/train.sbatch -options_file run.yaml
set -euo pipefail
count=${1:-}
if ! [[ $count =~ ^[1-9][0-9]*$ ]] || [ $# -lt 2 ]; then
  echo "usage: jobs/chain.sh COUNT [SBATCH-OPTION...] SCRIPT [ARGUMENT...]" >&2
  exit 2
fi
shift
export KALMIA_REQUEUE=no
last=
for ((k = 0; k < count; k++)); do
  last=$(sbatch --parsable --no-requeue ${last:+--dependency=afterany:$last} "$@")
  last=${last%%;*} # a federation adds the cluster
  echo "$last"
done
