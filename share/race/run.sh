#!/usr/bin/env bash
# The race: every method on the same problem, for the same number of forward passes. share/doc/race.md says what the problems are.
#   share/race/run.sh [--budget PASSES] [--ranks N] [--seeds N] [--limit SECONDS] [--out FOLDER] [--options "OPTION..."] [--list] [NAME...]
# NAME is a problem (fashion-mnist, fashion-mnist-relu, elliptic, forcing, lorenz96) or an entrant of one, as fashion-mnist/adam; default: all.
# An entrant is a line of PROBLEM.txt: its name and the options that it does not share with the others, which are in PROBLEM.yaml. @ stands for
# as many cycles as the budget allows: three are tried first, and what they took is measured. --limit is the most seconds that an entrant may take (30).
# FOLDER (race) then has race.csv, with lines for some 20 moments of each run, logs, and plots. Entrants that race.csv has already are left out:
# a race that was stopped goes on with the same command. --options are added to those of every entrant. KALMIA names the program (build/kalmia).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=jobs/setup.sh
. "$root/jobs/setup.sh"
kalmia=${KALMIA:-$root/build/kalmia}
python=${KALMIA_PYTHON:-/usr/bin/python3}
budget=
ranks=2
seeds=1
limit=30
out=race
extra=()
list=0
names=()
fail() {
  echo "race: $*" >&2
  exit 1
}
while [ $# -gt 0 ]; do
  case $1 in
    --budget) budget=${2:?} && shift 2 ;;
    --ranks) ranks=${2:?} && shift 2 ;;
    --seeds) seeds=${2:?} && shift 2 ;;
    --limit) limit=${2:?} && shift 2 ;;
    --out) out=${2:?} && shift 2 ;;
    --options) read -ra extra <<<"${2:?}" && shift 2 ;;
    --list) list=1 && shift ;;
    -*) sed -n '2,9s/^# //p' "$0" >&2 && exit 2 ;;
    *) names+=("$1") && shift ;;
  esac
done
for number in "${budget:-1}" "$ranks" "$seeds" "$limit"; do
  case $number in '' | *[!0-9]* | 0*) fail "\"$number\" is no whole number from 1 on" ;; esac
done
problems=(fashion-mnist fashion-mnist-relu elliptic forcing lorenz96)

# Lines "PROBLEM ENTRANT OPTION..." of a problem; a line that begins with a space goes on with the one before.
entrants() {
  sed '/^#/d; /^ *$/d' "$here/$1.txt" | awk -v problem="$1" '/^[^ ]/ { if (line) print problem, line; line = $0; next } { line = line " " $0 } END { if (line) print problem, line }'
}

# Whether an entrant is among the names that were given.
is_wanted() { # PROBLEM ENTRANT
  local name
  [ ${#names[@]} -gt 0 ] || return 0
  for name in "${names[@]}"; do
    if [ "$name" = "$1" ] || [ "$name" = "$1/$2" ]; then return 0; fi
  done
  return 1
}

header() { sed -n "s/^# $2 \([^ ]*\).*/\1/p" "$here/$1.txt" | head -n 1; } # PROBLEM KEY: what the head of its list says
all=$(for problem in "${problems[@]}"; do entrants "$problem"; done)
for name in ${names[@]+"${names[@]}"}; do
  awk -v name="$name" '$1 == name || $1 "/" $2 == name { found = 1 } END { exit !found }' <<<"$all" || fail "there is no problem and no entrant $name; --list names them"
done
if [ $list = 1 ]; then
  while read -r problem entrant _; do if is_wanted "$problem" "$entrant"; then echo "$problem/$entrant"; fi; done <<<"$all"
  exit 0
fi
if [ ! -x "$kalmia" ]; then fail "$kalmia is not there: build it, or name the program in KALMIA"; fi
kalmia=$(cd "$(dirname "$kalmia")" && pwd)/$(basename "$kalmia")
mkdir -p "$out/logs"
cd "$out"
"$python" "$here/data.py" || fail "the data could not be made ($python needs numpy and h5py)"

launch() { # LOG OPTION...
  local log=$1
  shift
  mpiexec -n "$ranks" "$kalmia" "$@" </dev/null >"$log" 2>&1
}

# Cycles that an entrant's budget allows: some are tried, and the last of them says the passes of one, the quickest its seconds.
plan() { # PROBLEM LOG OPTION...
  local problem=$1 log=$2 tried=3 budgeted
  shift 2
  rm -f run.h5*
  launch "$log" -options_file "$here/$problem.yaml" "${@//@/$tried}" -snapshot_path run.h5 -run_evaluate_ensemble false -run_monitor_every 0 || return 1
  budgeted=${budget:-$(header "$problem" budget)}
  "$(dirname "$kalmia")/kalmia-inspect" run.h5 --csv | awk -F, -v tried=$tried -v budget="$budgeted" -v limit="$limit" '
    NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
    {
      passes = $column["forward_passes"]
      taken = $column["seconds_forecast"] + $column["seconds_observe"] + $column["seconds_analysis"]
      if (NR == 2 || taken < seconds) seconds = taken
    }
    END {
      if (NR == 2) { seconds /= tried; passes /= tried } # one cycle of so many iterations
      cycles = int(budget / passes)
      if (cycles * seconds > limit) cycles = int(limit / seconds)
      print cycles < 1 ? 1 : cycles
    }'
}

one() { # PROBLEM ENTRANT SEED OPTION...
  local problem=$1 entrant=$2 seed=$3 log=logs/$1-$2-$3.log cycles=1 every options
  shift 3
  options=("$@" -run_seed "$seed" ${extra[@]+"${extra[@]}"})
  case " $* " in *" -run_cycles "*) ;; *) options+=(-run_cycles @) ;; esac
  case "${options[*]}" in *@*) cycles=$(plan "$problem" "$log" "${options[@]}") || return 1 ;; esac
  options=(-options_file "$here/$problem.yaml" "${options[@]//@/$cycles}")
  every=$(((cycles + 19) / 20))
  rm -f run.h5*
  case $(header "$problem" score) in
    accuracy) options+=(-run_evaluate_every "$every") ;;
    members) options+=(-snapshot_every "$every" -snapshot_keep 1000 -run_evaluate_ensemble false) ;;
  esac
  launch "$log" "${options[@]}" -run_monitor_every 0 -snapshot_path run.h5 || return 1
  "$python" "$here/record.py" run.h5 "$problem" "$(header "$problem" score)" "$entrant" "$seed" race.csv
}

failed=0
for ((seed = 1; seed <= seeds; seed++)); do
  while read -r problem entrant options; do
    is_wanted "$problem" "$entrant" || continue
    if [ -f race.csv ] && grep -q "^$problem,$entrant,$seed," race.csv; then continue; fi
    # shellcheck disable=SC2086 # options by spaces
    if ! one "$problem" "$entrant" "$seed" $options; then
      echo "race: $problem/$entrant, seed $seed failed: $(grep -m 1 error "logs/$problem-$entrant-$seed.log" || tail -n 1 "logs/$problem-$entrant-$seed.log")" >&2
      failed=1
    fi
    rm -f run.h5*
  done <<<"$all"
done
if [ -f race.csv ] && command -v gnuplot >/dev/null; then gnuplot -e "table='race.csv'; folder='.'" "$root/share/plots/race.gp"; fi
exit $failed
