#!/usr/bin/env bash
# A run stopped at any cycle and restarted on another number of ranks ends with the bits of one that was not stopped;
# which options a restart has; which snapshots are kept.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

make_data classes classes.h5
make_data regression regression.h5
kalmia=$KALMIA_BIN/kalmia
inspect=$KALMIA_BIN/kalmia-inspect
cycles=11

# The history without the columns of times.
history() {
  "$inspect" "$1" --csv | "$PYTHON" -c '
import csv, sys
rows = list(csv.DictReader(sys.stdin))
print([{k: v for k, v in r.items() if not k.startswith("seconds")} for r in rows])'
}
# go RANKS OPTION...: a run whose output goes to `out`.
go() {
  local ranks=$1
  shift
  run "$ranks" "$kalmia" -run_monitor_every 0 "$@" >out 2>err || { grep kalmia err; return 1; }
}
digest() { sha256sum <"$1"; }

# Stopped by -run_cycles: inside an epoch (of 4 batches), at its end, right before a redraw (cycle 6) and right after.
eki="-observations_path classes.h5 -observations_loss squared -observations_batch 100 -mlp_layers 20,7,4 -analysis_type eki
  -eki_update stochastic -eki_momentum nesterov -eki_redraw_cycles 6 -eki_inflation_additive 0.01 -ensemble_size 13 -run_seed 5"
# shellcheck disable=SC2086 # options are words
go 2 $eki -run_cycles $cycles -snapshot_path full.h5 || true
whole=$(result_value checksum <out)
check "eki: the whole run" [ -n "$whole" ] || summary
stops="3:1:3 4:3:2 6:2:5 7:5:1"
if sanitized; then stops=6:2:3; fi
for stop in $stops; do
  IFS=: read -r cycle before after <<<"$stop"
  rm -f part.h5*
  # shellcheck disable=SC2086
  check "eki: stopped after cycle $cycle on $before ranks" go "$before" $eki -run_cycles "$cycle" -snapshot_path part.h5
  check "eki: restarted on $after ranks" go "$after" -restart part.h5 -run_cycles $cycles
  same "eki: same bits" "$(result_value checksum <out)" "$whole"
done
check "the history, too, is the same" [ "$(history part.h5)" = "$(history full.h5)" ]

# Stopped twice.
rm -f part.h5*
# shellcheck disable=SC2086
go 1 $eki -run_cycles 2 -snapshot_path part.h5
go 3 -restart part.h5 -run_cycles 5
go 2 -restart part.h5 -run_cycles $cycles
same "eki: same bits after two restarts" "$(result_value checksum <out)" "$whole"

# Values of options keep their blanks, and words in them that look like options.
blanks='two  blanks -run_seed 9.h5 '
check "blanks: a run" go 1 -observations_path classes.h5 -observations_batch 100 -mlp_layers 20,7,4 -analysis_type etki -ensemble_size 13 -run_seed 5 -run_cycles 2 -snapshot_path "$blanks"
check "blanks: restarted" go 1 -restart "$blanks" -run_cycles 3
check "blanks: the snapshot has the same path" [ "$(cat -- "$blanks" | wc -c)" -gt 0 -a "$(ls | grep -cxF -- "$blanks")" = 1 -a "$(ls | grep -c '^two')" = 2 ]

# Snapshots on the way: each is restarted from.
each() { # each NAME RANKS "CYCLE:RANKS ..." OPTION...
  local name=$1 ranks=$2 stops=$3 whole stop
  shift 3
  check "$name: the whole run" go "$ranks" "$@" -run_cycles $cycles -snapshot_path "$name.h5" -snapshot_every 1 -snapshot_keep 20 || return
  whole=$(result_value checksum <out)
  for stop in $stops; do
    check "$name: restarted after cycle ${stop%:*} on ${stop#*:} ranks" go "${stop#*:}" -restart "$name.h5.$((cycles - ${stop%:*}))" -snapshot_path other.h5
    same "$name: same bits" "$(result_value checksum <out)" "$whole"
  done
}
etki="1:2 5:1 8:7 9:2" haber="1:5 4:1 10:3"
if sanitized; then etki=5:1 haber=4:3; fi
each etki 3 "$etki" -observations_path classes.h5 -observations_batch 150 -mlp_layers 20,9,4 -mlp_activation tanh -analysis_type etki -etki_momentum constant \
  -etki_step_rule misfit -etki_redraw_epochs 4 -ensemble_size 17 -model_precision single
each flipout 3 7:2 -observations_path classes.h5 -observations_batch 9 -mlp_layers 20,9,4 -analysis_type haber -haber_draws flipout -haber_scaling moments -haber_momentum 0.9 -haber_step 0.01 -ensemble_size 16
each haber 2 "$haber" -observations_path regression.h5 -observations_batch 120 -mlp_layers 20,9,3 -mlp_activation tanh -analysis_type haber -haber_momentum 0.9 -haber_line_search 4 \
  -haber_step_schedule cosine -haber_spread_schedule geometric -analysis_schedule_cycles 15 -ensemble_size 11

# A finished run prints its result again, exits with 0 and leaves its snapshot alone.
result=$(grep '^result: ' out)
before=$(digest haber.h5)
go 2 -restart other.h5
same "a finished run has the same result" "$(grep '^result: ' out | md5sum)" "$(md5sum <<<"$result")"
check "and does no cycle" [ "$(grep -c '^cycle' out)" = 0 ]
check "and exits with 0 when it wrote the snapshot itself" go 3 -restart haber.h5
same "and leaves the snapshot as it was" "$(digest haber.h5)" "$before"
check "it goes on for more cycles" go 1 -restart haber.h5 -run_cycles $((cycles + 2)) -snapshot_path more.h5
check "as many as asked for" [ "$(result_value cycles <out)" = $((cycles + 2)) ]

# Command line over option file over snapshot.
printf 'run:\n  cycles: 13\netki:\n  inflation: 1.25\n' >file.yaml
printf -- '-run_cycles 14 # comment\n-etki_inflation 1.5\n' >file.opt
go 1 -restart etki.h5 -snapshot_path o.h5
check "the snapshot's options hold" [ "$(result_value cycles <out)" = $cycles -a "$(grep -c 'momentum constant, inflation 1\.,' out)" = 1 ]
go 1 -restart etki.h5 -snapshot_path o.h5 -options_file file.yaml
check "an option file wins over the snapshot" [ "$(result_value cycles <out)" = 13 -a "$(grep -c 'momentum constant, inflation 1.25,' out)" = 1 ]
rm -f o.h5*
go 1 -restart etki.h5 -snapshot_path o.h5 -options_file file.opt
check "in PETSc's form, too" [ "$(result_value cycles <out)" = 14 -a "$(grep -c 'momentum constant, inflation 1.5,' out)" = 1 ]
for order in "-options_file file.yaml -run_cycles 12" "-run_cycles 12 -options_file file.yaml"; do
  rm -f o.h5*
  # shellcheck disable=SC2086
  go 1 -restart etki.h5 -snapshot_path o.h5 $order
  check "the command line wins over the option file: $order" [ "$(result_value cycles <out)" = 12 -a "$(grep -c 'momentum constant, inflation 1.25,' out)" = 1 ]
done
go 1 -restart o.h5 -snapshot_path p.h5
check "what held is in the next snapshot" [ "$(result_value cycles <out)" = 12 -a "$(grep -c 'momentum constant, inflation 1.25,' out)" = 1 ]

# What is asked for and is not what the snapshot has is told, an option a line; another spelling of the same is none.
time="-model_type lorenz96 -observations_type twin -analysis_type etkf -ensemble_size 9 -inflation_factor 1.04 -analysis_rotate"
# shellcheck disable=SC2086
check "in time: a run" go 1 $time -run_cycles 5 -snapshot_path time.h5 -ensemble_block_rows 64
told() { sed -n 's/^restart: -/-/p' <out | sort | tr '\n' ';'; }
go 2 -restart time.h5 -snapshot_path time.h5 -INFLATION_factor 1.040 -analysis_rotate true
check "nothing is told where the values are the same" [ -z "$(told)" ]
printf 'inflation:\n  factor: 1.02\n' >inflation.yaml
changed="-inflation_factor 1.02 was 1.04;-inflation_rtpp 0.1 was not given;-observations_noise 0.5 was not given;-run_cycles 7 was 5;"
ways=("1:-run_dry" "3:-snapshot_path changed.h5 -run_stop_diverged")
if sanitized; then ways=("${ways[@]:1}"); fi
for way in "${ways[@]}"; do
  # shellcheck disable=SC2086
  go "${way%%:*}" -restart time.h5 -options_file inflation.yaml -observations_noise 0.5 -inflation_rtpp 0.1 -run_cycles 7 ${way#*:}
  case $way in *changed*) changed="$changed-run_stop_diverged was not given;-snapshot_path changed.h5 was time.h5;" ;; esac
  check "what changes is told with ${way#*:}" [ "$(told)" = "$changed" ]
done
if ! sanitized; then
  go 1 -restart changed.h5 -run_cycles 8
  check "and is in the next snapshot" [ "$(told)" = "-run_cycles 8 was 7;" ]
fi

# A run that its total step ended goes on when the total grows, to the same bits; a smaller total ends it at once.
total="-observations_path regression.h5 -observations_batch 50 -mlp_layers 20,3 -analysis_type etki -ensemble_size 8 -run_cycles 40"
# shellcheck disable=SC2086
go 2 $total -etki_step 0.25 -etki_step_total 0.5 -snapshot_path total.h5
check "the total step ends the run" [ "$(result_value cycles <out)" -lt 40 ]
half=$(result_value cycles <out)
go 3 -restart total.h5 -etki_step_total 1 -snapshot_path total2.h5
check "a larger total goes on" [ "$(result_value cycles <out)" -gt "$half" ]
went=$(result_value checksum <out)
# shellcheck disable=SC2086
go 1 $total -etki_step 0.25 -etki_step_total 1
same "to the bits of the whole run" "$(result_value checksum <out)" "$went"
go 1 -restart total2.h5 -etki_step_total 0.25 -snapshot_path total3.h5
check "a smaller total does no cycle" [ "$(grep -c '^cycle' out)" = 0 ]

# -snapshot_every and -snapshot_keep
small="-observations_path regression.h5 -observations_batch 50 -mlp_layers 20,3 -analysis_type etki -ensemble_size 5 -run_cycles 10"
# shellcheck disable=SC2086
go 2 $small -snapshot_path keep.h5 -snapshot_every 4 -snapshot_keep 2
cycle_of() { "$inspect" "$1" | sed -n 's/^cycle  *//p'; }
status_of() { "$inspect" "$1" | sed -n 's/^status  *//p'; }
check "the last snapshot is of the last cycle, and done" [ "$(cycle_of keep.h5),$(status_of keep.h5)" = 10,done ]
check "the one before it is of cycle 8, to be continued" [ "$(cycle_of keep.h5.1),$(status_of keep.h5.1)" = 8,continue ]
check "of three, two are kept" [ ! -e keep.h5.2 ]
# shellcheck disable=SC2086
go 1 $small -snapshot_path one.h5 -snapshot_every 3 -snapshot_keep 1
check "one is kept" [ "$(echo one.h5*)" = one.h5 ]
check "all verify" bash -c "for f in *.h5 *.h5.*; do case \$f in classes*|regression*) ;; *) '$inspect' --verify \$f >/dev/null || exit 1 ;; esac; done"
check "no temporary file is left" [ -z "$(find . -name '*.tmp*')" ]
summary
