#!/usr/bin/env bash
#SBATCH --job-name=kalmia-alternate
#SBATCH --ntasks=8
#SBATCH --time=01:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# Forecasts and analyses in turn, for a model that runs as jobs of its own: in each cycle one forecast a member, as many at a
# time as there are tasks, then kalmia-analyse on all of them.
#
#   KALMIA_FORECAST=./forecast KALMIA_INITIAL=initial.h5 KALMIA_OBSERVATIONS=observations-%d.h5 KALMIA_CYCLES=10 \
#     sbatch --ntasks=32 jobs/alternate.sh -analysis_type etkf -inflation_factor 1.05
#
# Without Slurm it is started as it is: jobs/alternate.sh ... . It goes on where an earlier one was ended: what is in the folder of
# the work is not done again, but failed members are tried once more. Arguments are options of kalmia-analyse.
#
#   KALMIA_FORECAST      command, called once a member as COMMAND ANALYSIS MEMBER CYCLE OUT: takes row MEMBER (from 0) of
#                        /members in ANALYSIS to the time of the observations of CYCLE (from 0), and writes OUT, an HDF5 file with
#                        the n numbers /state. A member whose command fails, or writes none of this, is a failed member
#   KALMIA_INITIAL       HDF5 file with the first /members (N x n), and /coordinates, /kind, /period where they are needed
#   KALMIA_OBSERVATIONS  observation files, with %d (or %03d, as printf has it) for the cycle
#   KALMIA_CYCLES        how many cycles
#   KALMIA_WORK          folder of the work, default alternate: prior-K.h5 and analysis-K.h5 for each cycle, forecast-K while it runs
#   KALMIA_TASKS         MPI tasks of one forecast, default 1
#   KALMIA_LAUNCH        how a forecast is started, default: in a job of Slurm srun --exclusive --exact --ntasks=TASKS (add --mem=...
#                        where a step would else take the memory of all), elsewhere mpiexec -n TASKS, or nothing for 1
#   KALMIA_AT_ONCE       forecasts at a time, default: as many as the job's tasks, or this machine's cores, have room for
#   KALMIA_RANKS         ranks of an analysis, default: the job's tasks, or this machine's cores
#   KALMIA_MPIEXEC       how an analysis is started, default: mpiexec -n RANKS
#   KALMIA_ANALYSE       the program, default: build/kalmia-analyse of this tree, or the one in PATH
#   KALMIA_SOURCE        this tree, where the job does not find it from the folder that it was submitted in
#   KALMIA_PYTHON        a Python with h5py and numpy, which puts the members together, default: the first python3 that has
set -euo pipefail

die() {
  echo "alternate: $1" >&2
  exit "${2:-1}"
}

# Slurm runs a copy of this file.
root=
for folder in "${KALMIA_SOURCE:-}" "$(dirname "${BASH_SOURCE[0]}")/.." "${SLURM_SUBMIT_DIR:-}" "${SLURM_SUBMIT_DIR:-}/.."; do
  if [ -z "$root" ] && [ -n "$folder" ] && [ -r "$folder/jobs/setup.sh" ]; then root=$(cd "$folder" && pwd); fi
done
[ -n "$root" ] || die "jobs/setup.sh is not found; name Kalmia's tree in KALMIA_SOURCE"
# shellcheck source=jobs/setup.sh
. "$root/jobs/setup.sh"

for name in KALMIA_FORECAST KALMIA_INITIAL KALMIA_OBSERVATIONS KALMIA_CYCLES; do
  [ -n "${!name:-}" ] || die "$name is not set; the head of jobs/alternate.sh says what it is"
done
case $KALMIA_OBSERVATIONS in *%d* | *%[0-9]*d*) ;; *) die "KALMIA_OBSERVATIONS=$KALMIA_OBSERVATIONS has no %d for the cycle" ;; esac
[[ $KALMIA_CYCLES =~ ^[1-9][0-9]*$ ]] || die "KALMIA_CYCLES=$KALMIA_CYCLES is no number of cycles"
work=${KALMIA_WORK:-alternate}
tasks=${KALMIA_TASKS:-1}
python=${KALMIA_PYTHON:-}
for name in python3 /usr/bin/python3; do
  if [ -z "$python" ] && "$name" -c 'import h5py, numpy' 2>/dev/null; then python=$name; fi
done
analyse=${KALMIA_ANALYSE:-$root/build/kalmia-analyse}
if [ ! -x "$analyse" ] && [ -z "${KALMIA_ANALYSE:-}" ]; then analyse=kalmia-analyse; fi
command -v "$analyse" >/dev/null || die "$analyse is not there; build it, or name it in KALMIA_ANALYSE"
"${python:-python3}" -c 'import h5py, numpy' 2>/dev/null || die "${python:-python3} has no h5py and numpy; name a Python that has in KALMIA_PYTHON"
read -ra forecast <<<"$KALMIA_FORECAST"

launch=
if [ -n "${SLURM_JOB_ID:-}" ]; then
  room=${SLURM_NTASKS:-1}
  launch="srun --exclusive --exact --ntasks=$tasks"
  if [ "$tasks" -eq 1 ]; then launch="$launch --nodes=1"; fi
else
  room=$(kal_cores)
  if [ "$tasks" -gt 1 ]; then launch="mpiexec -n $tasks"; fi
fi
read -ra launcher <<<"${KALMIA_LAUNCH:-$launch}"
ranks=${KALMIA_RANKS:-$room}
at_once=${KALMIA_AT_ONCE:-$((room / tasks > 0 ? room / tasks : 1))}
read -ra mpiexec <<<"${KALMIA_MPIEXEC:-mpiexec -n $ranks}"

# one ANALYSIS MEMBER CYCLE FOLDER: a forecast has its name when it is whole.
one() {
  local out=$4/$2.h5 code=0
  "${launcher[@]}" "${forecast[@]}" "$1" "$2" "$3" "$out.part" </dev/null >"$4/$2.log" 2>&1 || code=$?
  if [ $code -eq 0 ] && [ -s "$out.part" ]; then
    mv -f "$out.part" "$out"
  else
    rm -f "$out.part"
    echo "alternate: cycle $3: the forecast of member $2 failed (exit $code); its last lines:" >&2
    tail -n 3 "$4/$2.log" >&2
  fi
}

# forecasts ANALYSIS CYCLE FOLDER: those of all members that are not there yet.
forecasts() {
  local member running=0
  for ((member = 0; member < members; member++)); do
    if [ -e "$3/$member.h5" ]; then continue; fi
    if [ $running -ge "$at_once" ]; then
      wait -n || true
      running=$((running - 1))
    fi
    one "$1" $member "$2" "$3" &
    running=$((running + 1))
  done
  wait
}

# gather ANALYSIS FOLDER PRIOR: one file of all forecasts; a member without a whole one has its status set.
gather() {
  "$python" - "$@" <<'PY'
import os, sys
import h5py, numpy
analysis, folder, prior = sys.argv[1:]
with h5py.File(analysis, "r") as a, h5py.File(prior + ".part", "w") as f:
    old = a["members"] if "members" in a else a["ensemble/members"]
    members = f.create_dataset("members", old.shape, "f8")
    status = numpy.zeros(old.shape[0], "i1")
    for j in range(old.shape[0]):
        x = None
        try:
            with h5py.File("%s/%d.h5" % (folder, j), "r") as m:
                x = numpy.asarray(m["state"], "f8")
        except (OSError, KeyError, TypeError, ValueError):
            pass
        if x is None or x.shape != old.shape[1:] or not numpy.isfinite(x).all():
            status[j] = 1
            members[j] = 0.0
        else:
            members[j] = x
    f["status"] = status
    for name in ("coordinates", "kind", "period"):
        if name in a:
            f[name] = a[name][()]
os.replace(prior + ".part", prior)
print("alternate: %s: %d of %d members in order" % (prior, (status == 0).sum(), len(status)))
PY
}

mkdir -p "$work"
[ -r "$KALMIA_INITIAL" ] || die "KALMIA_INITIAL=$KALMIA_INITIAL cannot be read"
members=$("$python" -c 'import sys, h5py; f = h5py.File(sys.argv[1], "r"); print((f["members"] if "members" in f else f["ensemble/members"]).shape[0])' "$KALMIA_INITIAL") || die "$KALMIA_INITIAL has no /members"
last=$KALMIA_INITIAL
previous=()
for ((cycle = 0; cycle < KALMIA_CYCLES; cycle++)); do
  posterior=$work/analysis-$cycle.h5
  if [ ! -e "$posterior" ]; then
    prior=$work/prior-$cycle.h5
    folder=$work/forecast-$cycle
    # shellcheck disable=SC2059 # the pattern is the user's
    observations=$(printf "$KALMIA_OBSERVATIONS" $cycle)
    [ -r "$observations" ] || die "the observations of cycle $cycle, $observations, cannot be read"
    mkdir -p "$folder"
    forecasts "$last" $cycle "$folder"
    gather "$last" "$folder" "$prior"
    # The cycle is in the keys of the draws: without it every analysis would perturb its observations alike.
    code=0
    "${mpiexec[@]}" "$analyse" "$prior" "$observations" "$posterior" -analyse_cycle $cycle "${previous[@]}" "$@" </dev/null || code=$?
    [ $code -eq 0 ] || die "the analysis of cycle $cycle ended with exit code $code" $code
    [ -e "$posterior" ] || die "the analysis of cycle $cycle ended without its posterior $posterior" # launchers have lost exit codes
    rm -rf "$folder"
  fi
  last=$posterior
  previous=(-analyse_previous "$posterior")
done
echo "alternate: $KALMIA_CYCLES cycles are done; the last analysis is $last"
