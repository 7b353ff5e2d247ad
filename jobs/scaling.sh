#!/usr/bin/env bash
# Strong and weak scaling of a run: the same options on each of a list of ranks, one table, and plots of it.
#
#   jobs/scaling.sh [OPTION...] -- KALMIA-OPTION...
#
#   -p "1 2 4"      points: ranks, or NODESxRANKS with the ranks of all nodes together, as "1x4 2x8 4x16"
#   -w NAME=SIZE    a weak study too: -NAME is SIZE times the ranks; may be given several times. The strong study has the options as they stand
#   -o FOLDER       where everything goes (scaling)
#   -x "SIZES"      what the bound and the formula need beside the table, as "--outputs 10 --copies 1": see share/performance/model.py
#   -a "OPTIONS"    of sbatch, as "--partition=short --account=me"
#   -t MINUTES      time limit of a point (10)
#   -l              local, by mpiexec, where there is Slurm too
#   -k              keep the points that FOLDER has from before
#
# Where sbatch is found each point is a job, all submitted at once, and the script waits for them; else the points run one after the other
# here. FOLDER then has scaling.csv (study, nodes, the columns of -run_phases, and the bound of bytes that a rank sends or receives in a
# cycle), a log for each point, and time, efficiency, phases and bytes as .png and .svg.
# KALMIA names the program (build/kalmia of this tree, else kalmia), KALMIA_LAUNCH what starts it in a job in place of srun or mpirun,
# KAL_POLL the seconds between looks at the queue (2).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=jobs/setup.sh
. "$root/jobs/setup.sh"

points="1 2 4"
folder=scaling
sizes=
batch=
minutes=10
weak=()
local=0
keep=0
while getopts p:w:o:x:a:t:lkh option; do
  case $option in
    p) points=$OPTARG ;;
    w) weak+=("$OPTARG") ;;
    o) folder=$OPTARG ;;
    x) sizes=$OPTARG ;;
    a) batch=$OPTARG ;;
    t) minutes=$OPTARG ;;
    l) local=1 ;;
    k) keep=1 ;;
    *) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
  esac
done
shift $((OPTIND - 1))
fail() {
  echo "scaling: $*" >&2
  exit 1
}
[ $# -gt 0 ] || fail "no options of the run: jobs/scaling.sh -p \"1 2 4\" -- -options_file run.yaml"
for point in $points; do
  case $point in *[!0-9x]* | x* | *x | *x*x* | 0* | *x0*) fail "-p $point: a point is ranks, as 4, or nodes and ranks, as 2x4" ;; esac
done
for growing in ${weak[@]+"${weak[@]}"}; do
  case ${growing#*=} in *[!0-9]* | '') fail "-w $growing: give a name and a whole number, as ensemble_size=64" ;; esac
done
kalmia=${KALMIA:-$root/build/kalmia}
if [ ! -x "$kalmia" ]; then kalmia=$(command -v kalmia) || fail "there is no program $root/build/kalmia; name it in KALMIA"; fi
if ! command -v sbatch >/dev/null; then local=1; fi
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
[ $keep = 1 ] || rm -f "$folder"/{strong,weak}-*.{phases.csv,log,sbatch} "$folder"/scaling.csv "$folder"/{time,efficiency,phases-*,bytes}.{png,svg}

# The options of a point, quoted for a shell: those of the run, of the weak study, and where its table goes.
options() { # NAME STUDY RANKS OPTION...
  local name=$1 study=$2 ranks=$3 growing
  shift 3
  printf '%q ' "$@"
  if [ "$study" = weak ]; then
    for growing in "${weak[@]}"; do printf '%q ' "-${growing%%=*}" "$((${growing#*=} * ranks))"; done
  fi
  case " $* " in *" -snapshot_path "*) printf '%q ' -snapshot_path "$folder/$name.h5" ;; esac # points run at the same time
  printf '%q ' -run_monitor_every 0 -run_evaluate_ensemble 0 -run_phases "$folder/$name.phases.csv"
}

# A job of one point, started as jobs/job.sh has it.
write_job() { # FILE COMMAND
  cat >"$1" <<JOB
#!/usr/bin/env bash
export KALMIA_BIN=$(printf %q "$(dirname "$kalmia")")
. $(printf %q "$root/jobs/job.sh")
kal_prepare $(printf %q "$root")
"\${kal_launch[@]}" $2
JOB
}

names=()
nodes_of=()
studies=()
jobs=()
for study in strong ${weak[0]+weak}; do
  for point in $points; do
    ranks=${point#*x}
    nodes=${point%x*}
    if [ "$nodes" = "$point" ]; then nodes=; fi
    name=$study-$point
    names+=("$name")
    studies+=("$study")
    nodes_of+=("${nodes:-0}")
    if [ -s "$folder/$name.phases.csv" ]; then continue; fi
    command="$(printf %q "$kalmia") $(options "$name" "$study" "$ranks" "$@")"
    if [ $local = 1 ]; then
      echo "scaling: $study on $ranks ranks"
      bash -c "mpiexec -n $ranks $command" >"$folder/$name.log" 2>&1 </dev/null || fail "the run on $ranks ranks failed: see $folder/$name.log
$(tail -n 3 "$folder/$name.log")"
    else
      write_job "$folder/$name.sbatch" "$command"
      # shellcheck disable=SC2086 # options of sbatch, by spaces
      job=$(sbatch --parsable --job-name="kal-$name" --time="$minutes" ${nodes:+--nodes=$nodes} --ntasks="$ranks" --output="$folder/$name.log" $batch "$folder/$name.sbatch") || fail "sbatch refused $name"
      jobs+=("${job%%;*}")
    fi
  done
done

if [ ${#jobs[@]} -gt 0 ]; then
  list=$(IFS=, && echo "${jobs[*]}")
  echo "scaling: waiting for jobs $list"
  missed=0
  while :; do
    if left=$(squeue --noheader --jobs="$list" --states=PENDING,RUNNING,CONFIGURING,COMPLETING,REQUEUED,SUSPENDED 2>"$folder/squeue.log"); then
      missed=0
      if [ -z "$left" ]; then break; fi
    else # jobs that are long over are no longer known; a controller that does not answer is asked again
      if grep -qi 'invalid job id' "$folder/squeue.log"; then break; fi
      missed=$((missed + 1))
      if [ $missed -ge 30 ]; then fail "squeue fails: $(tail -n 1 "$folder/squeue.log")"; fi
    fi
    sleep "${KAL_POLL:-2}"
  done
  rm -f "$folder/squeue.log"
fi
for name in "${names[@]}"; do
  [ -s "$folder/$name.phases.csv" ] || fail "$name wrote no table: see $folder/$name.log
$(tail -n 3 "$folder/$name.log" 2>/dev/null)"
done

# One table of all points; the bound where there is a Python to work it out.
table=$folder/scaling.csv
: >"$table"
for i in "${!names[@]}"; do
  awk -v study="${studies[$i]}" -v nodes="${nodes_of[$i]}" -v head="$i" 'BEGIN { FS = OFS = "," } NR == 1 { if (head == 0) print "study", "nodes", $0; next } { print study, nodes, $0 }' "$folder/${names[$i]}.phases.csv" >>"$table"
done
if command -v python3 >/dev/null; then
  # shellcheck disable=SC2086 # options by spaces
  python3 "$root/share/performance/model.py" bound $sizes "$table" >"$table.new" && mv "$table.new" "$table"
fi
echo "scaling: $table"
if command -v gnuplot >/dev/null; then
  gnuplot -e "table='$table'; folder='$folder'" "$root/share/plots/scaling.gp" || fail "gnuplot could not draw $table"
  echo "scaling: plots in $folder"
else
  echo "scaling: no plots, since there is no gnuplot: . jobs/setup.sh && kal_packages plots"
fi
