# shellcheck shell=bash
# For the cases of tests/slurm: a cluster of four nodes with four processors each, stopped when the case ends, and runs that
# take time without work. A case, case_TOPIC.sh, is a script like those of tests/programs:
#
#   . "$(dirname "${BASH_SOURCE[0]}")/common.sh"
#   submit --nodes=2 "$jobs/train.sbatch" "${slow[@]}" -run_cycles 9     # sets `job`, and KALMIA_SNAPSHOT is run.h5
#   check "it is completed" finishes 60 COMPLETED
#   summary
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../programs/common.sh"
need_python
# shellcheck source=tests/slurm/cluster.sh
. "$KALMIA_SOURCE/tests/slurm/cluster.sh"

stop() {
  local code=$?
  if [ $BASHPID != $$ ]; then return; fi # a signal ends subshells by the same trap
  if [ $failures -gt 0 ] || [ $ended = 0 ]; then tail -n 40 "$scratch"/slurm-*.out 2>/dev/null | sed 's/^/    | /'; fi
  cluster_stop
  (exit $code)
  leave
}
trap stop EXIT

kalmia=$KALMIA_BIN/kalmia
inspect=$KALMIA_BIN/kalmia-inspect
jobs=$KALMIA_SOURCE/jobs
export KALMIA_BIN KALMIA_SOURCE KALMIA_SNAPSHOT=$scratch/run.h5 KALMIA_SCRATCH=$scratch/t

# A network: short runs.
make_data classes classes.h5
quick=(-observations_path classes.h5 -observations_batch 100 -mlp_layers 20,12,4 -analysis_type etki -etki_momentum nesterov -ensemble_size 13 -run_seed 5)
# y = a + b t by a command that takes NAP microseconds of doing nothing: runs that last, on a machine that has other work.
cat >line.c <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
  double x[2], t[16], y[16];
  size_t n = 0;
  FILE  *f = argc > 3 ? fopen(argv[1], "rb") : NULL;

  if (!f || fread(x, 8, 2, f) != 2) return 3;
  fclose(f);
  f = fopen(argv[3], "rb");
  if (f) n = fread(t, 8, 16, f);
  for (size_t i = 0; i < n; i++) y[i] = x[0] + x[1] * t[i];
  if (getenv("NAP")) usleep((useconds_t)atoi(getenv("NAP")));
  f = fopen(argv[2], "wb");
  return !f || fwrite(y, 8, n, f) != n || fclose(f);
}
C
"${CC:-cc}" -O1 line.c -o line || exit 1
"$PYTHON" -c '
import h5py, numpy
t = numpy.linspace(0, 3, 12)
with h5py.File("line.h5", "w") as f: f["x"], f["y"] = t, 1 + 2 * t + 0.1 * numpy.random.default_rng(1).normal(size=12)' || exit 1
slow=(-observations_path "$scratch/line.h5" -observations_noise 0.01 -model_type command -model_command "$scratch/line {state} {output} {input}" -command_state 2
  -command_mean 0,1 -command_spread 2 -ensemble_size 8 -run_seed 3 -analysis_type etki -etki_target posterior -etki_step 0.01 -run_monitor_every 1)

# whole OPTION...: the checksum of an uninterrupted run on one rank, without Slurm.
whole() {
  NAP=0 run 1 "$kalmia" "$@" >whole.out 2>&1 || cat whole.out
  result_value checksum <whole.out
}

# submit SBATCH-ARGUMENT...: sets `job`.
submit() {
  submitted=$((${submitted:-0} + 1)) # of one name only one would run at a time
  job=$(cluster sbatch --parsable --job-name="test-$submitted" --output="$scratch/slurm-%A_%a.out" --ntasks-per-node=2 "$@") || return 1
  out=$scratch/slurm-${job}_4294967294.out
}
# of KEY: what Slurm knows of the job.
of() { cluster scontrol -o show job "$job" | tr ' ' '\n' | sed -n "s/^$1=//p" | head -n 1; }
# until SECONDS COMMAND...: whether it succeeds in time.
until_true() {
  local left=$(($1 * 5))
  shift
  while ! "$@"; do
    left=$((left - 1))
    if [ $left -le 0 ]; then return 1; fi
    sleep 0.2
  done
}
is_over() { case $(of JobState) in PENDING | RUNNING | COMPLETING | REQUEUED | CONFIGURING | SUSPENDED) return 1 ;; esac; }
# finishes SECONDS STATE: whether the job is over in time, in that state.
finishes() {
  until_true "$1" is_over
  [ "$(of JobState)" = "$2" ] || { echo "    job $job is $(of JobState), $(of Reason)" >&3; false; }
}
# has_done CYCLES: whether the job's output has a line of that cycle or a later one.
has_done() { [ "$(sed -n 's/^cycle *\([0-9]*\) .*/\1/p' "$out" 2>/dev/null | sort -n | tail -n 1)" -ge "$1" ] 2>/dev/null; }
checksum() { result_value checksum <"$out"; }

mkdir t
chmod 755 "$scratch" # munge wants its socket to be reached by all
cluster_start "$scratch/c" 4 4 "${KALMIA_SLURM_MODE:-}" || exit 1
