# shellcheck shell=bash
# What the batch scripts of this folder share. To be sourced by bash, in a Slurm job or without Slurm:
#
#   kal_job OPTION...   runs kalmia with these options, from the newest snapshot at KALMIA_SNAPSHOT that is whole if there is
#                       one, and ends the script: with 0 where the run is done; where it is to be continued Slurm requeues the
#                       job, or, where nobody does, with 75; else with kalmia's exit code
#
#   KALMIA_SNAPSHOT     snapshot of the run
#   KALMIA_SCRATCH      folder for files that may vanish with the job, default: TMPDIR, or /tmp
#   KALMIA_BIN          folder of the programs, default: build of this tree, or PATH
#   KALMIA_LAUNCH       how kalmia is started, default: in a job srun where Slurm has PMIx, else mpirun; elsewhere mpiexec
#   KALMIA_RANKS        ranks without Slurm, default: this machine's cores
#   KALMIA_WALLTIME     time the run may take, as -run_walltime has it, default: what Slurm leaves the job
#   KALMIA_REQUEUE      no: a job that is to be continued is not requeued, since another follows (jobs/chain.sh)
# shellcheck source=jobs/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

# A signal that comes before the run is there to take it ends no script.
kal_early=0
trap kal_early=1 USR1

# This job, and of an array this task alone: the array's own number would stand for all of them.
kal_id=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID:-}}
kal_id=${kal_id:-${SLURM_JOB_ID:-}}

kal_say() { echo "job ${SLURM_JOB_ID:-$$}: $*" >&2; }

# Where the programs are, and how they are started.
kal_prepare() {
  local bin=${KALMIA_BIN:-}
  if [ -z "$bin" ] && [ -x "$1/build/kalmia" ]; then bin=$1/build; fi
  if [ -n "$bin" ]; then PATH=$bin:$PATH; fi
  command -v kalmia >/dev/null || { kal_say "kalmia is not there; build it, or name its folder in KALMIA_BIN"; exit 1; }
  export TMPDIR=${KALMIA_SCRATCH:-${TMPDIR:-/tmp}}
  mkdir -p "$TMPDIR" || exit 1
  # What srun itself fails with, so that it can be told from kalmia's 1; steps do not inherit --cpus-per-task.
  export SLURM_EXIT_ERROR=76 SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
  # Slurm's tree of fences, its default for barriers, lets ranks out of MPI_Init while others have only begun it; a message then comes to one
  # that has no handler for it yet, and Open MPI calls address 0 (Slurm 22.05, Open MPI 4.1). The ring waits for all.
  export SLURM_PMIX_FENCE=${SLURM_PMIX_FENCE:-ring}
  if [ -n "${KALMIA_LAUNCH:-}" ]; then
    read -ra kal_launch <<<"$KALMIA_LAUNCH"
  elif [ -z "${SLURM_JOB_ID:-}" ]; then
    kal_launch=(mpiexec -n "${KALMIA_RANKS:-$(kal_cores)}")
  elif srun --mpi=list 2>&1 | grep -qw pmix; then
    kal_launch=(srun --mpi=pmix --kill-on-bad-exit=1)
  else
    kal_launch=(mpirun)
  fi
}

# "done 100", "continue 37", or nothing where there is no snapshot.
kal_mark() { kalmia-inspect "$KALMIA_SNAPSHOT" --mark 2>/dev/null || true; }

# Another turn for this job. Slurm ends the script when it requeues it.
kal_again() {
  local code=$1 before=$2 after=$3 tries
  if [ -z "${SLURM_JOB_ID:-}" ] || [ "${KALMIA_REQUEUE:-}" = no ]; then
    kal_say "to be continued: start it again"
    exit $((code ? code : 75))
  fi
  if [ "$before" = "$after" ]; then
    tries=$(($(cat "$KALMIA_SNAPSHOT.tries" 2>/dev/null || echo 0) + 1))
    if [ $tries -gt 3 ]; then
      rm -f "$KALMIA_SNAPSHOT.tries"
      kal_say "no cycle was done in this turn, nor in the three before it: not requeued"
      exit $((code ? code : 75))
    fi
    echo $tries >"$KALMIA_SNAPSHOT.tries"
  fi
  kal_say "requeued"
  scontrol requeue "$kal_id" || exit $((code ? code : 75))
  sleep 300 &
  wait $!
  exit 75
}

kal_job() {
  local before after code=0 signalled=1 time=${KALMIA_WALLTIME:-}
  if [ -z "$time" ]; then
    if [ -n "$kal_id" ]; then time=$(squeue -h -j "$kal_id" -o %L); fi
    case $time in '' | *[!0-9:-]*) time=UNLIMITED ;; esac # INVALID, NOT_SET
  fi
  case " $* " in *" -snapshot_path "*) kal_say "-snapshot_path is set by KALMIA_SNAPSHOT here, $KALMIA_SNAPSHOT" && exit 1 ;; esac
  mkdir -p "$(dirname "$KALMIA_SNAPSHOT")" || exit 1
  before=$(kal_mark)
  kal_say "${kal_launch[*]} kalmia $*"
  "${kal_launch[@]}" kalmia -run_walltime "$time" "$@" -snapshot_path "$KALMIA_SNAPSHOT" -snapshot_resume </dev/null &
  kal_pid=$!
  # The launcher hands the signal on to the ranks. Bash leaves `wait` for it, and the run has not ended by that.
  trap 'signalled=1; kill -USR1 $kal_pid 2>/dev/null' USR1
  if [ $kal_early = 1 ]; then
    sleep 5 # a launcher that is only starting would end by it
    kill -USR1 $kal_pid 2>/dev/null
  fi
  while [ $signalled = 1 ]; do
    signalled=0
    code=0
    wait $kal_pid || code=$?
  done
  after=$(kal_mark)
  if [ "$before" != "$after" ]; then rm -f "$KALMIA_SNAPSHOT.tries"; fi
  kal_say "exit code $code, $KALMIA_SNAPSHOT: ${after:-no snapshot}"
  case $code,$after in
    0,done*) exit 0 ;;
    0,) exit 0 ;; # a dry run, or help: nothing was to be done
    1,* | 3,*) exit $code ;; # kalmia said what is wrong
    *) kal_again $code "$before" "$after" ;;
  esac
}
