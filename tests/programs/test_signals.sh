#!/usr/bin/env bash
# A run that SIGUSR1 or its wall-clock limit stops leaves a snapshot to be continued, and the same command goes on to the
# bits of a run that was not stopped; SIGTERM leaves the last good snapshot; a damaged one gives way to the one before it.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

kalmia=$KALMIA_BIN/kalmia
inspect=$KALMIA_BIN/kalmia-inspect
make_data classes classes.h5
train=(-observations_path classes.h5 -observations_batch 100 -mlp_layers 20,40,4 -analysis_type etki -etki_momentum nesterov
  -ensemble_size 23 -run_seed 3 -run_monitor_every 1)
forever=(-run_cycles 1000000)
mark() { "$inspect" "$1" --mark; }
cycle() { mark "$1" | sed 's/.* //'; }

# begin RANKS OPTION...: in the background, the ranks' process ids in `pids`; returns when a cycle was printed.
begin() {
  local ranks=$1
  shift
  rm -f pids out
  "$MPIEXEC" -n "$ranks" bash -c 'echo "$OMPI_COMM_WORLD_RANK$PMI_RANK $$" >>pids; exec "$@"' - "$kalmia" "${train[@]}" "$@" >out 2>err </dev/null &
  launcher=$!
  for _ in $(seq 400); do
    if grep -q '^cycle' out 2>/dev/null; then return 0; fi
    sleep 0.05
  done
  return 1
}
# ends CODE: whether the launcher ends in time, with that code; "!0" stands for any other than 0.
ends() {
  for _ in $(seq 1200); do
    kill -0 $launcher 2>/dev/null || break
    sleep 0.1
  done
  kill -9 $launcher 2>/dev/null
  wait $launcher
  code=$?
  if [ "$1" = '!0' ]; then [ $code != 0 ]; else [ $code = "$1" ]; fi
}
go() { # go RANKS OPTION...
  local ranks=$1
  shift
  run "$ranks" "$kalmia" "${train[@]}" "$@" >out 2>err || { cat err; return 1; }
}
# continues NAME FILE RANKS: two cycles more by -snapshot_resume are those of a run that was not stopped.
continues() {
  local cycles=$(($(cycle "$2") + 2)) resumed
  check "$1: goes on for two cycles" go "$3" -run_cycles $cycles -snapshot_path "$2" -snapshot_resume
  check "$1: from where it was stopped" grep -q "^restart: $2, after cycle $((cycles - 2))" out
  resumed=$(result_value checksum <out)
  check "$1: is done then" [ "$(mark "$2")" = "done $cycles" ]
  go 2 -run_cycles $cycles
  same "$1: has the bits of a run that was not stopped" "$resumed" "$(result_value checksum <out)"
}

# SIGUSR1 on one rank, the first or the last
for case in 1:0:3 3:2:1 3:0:2; do
  IFS=: read -r ranks who after <<<"$case"
  if sanitized && [ $case != 3:2:1 ]; then continue; fi
  rm -f run.h5*
  name="SIGUSR1 on rank $who of $ranks"
  check "$name: a run" begin $ranks "${forever[@]}" -snapshot_path run.h5 || summary
  kill -USR1 "$(sed -n "s/^$who //p" pids)"
  check "$name: all ranks end with 0" ends 0
  check "$name: it says so, and has no result" [ "$(grep -c '^stop: SIGUSR1' out),$(grep -c '^stop: after cycle' out),$(grep -c '^result' out)" = 1,1,0 ]
  check "$name: the snapshot verifies" [ "$("$inspect" --verify run.h5)" = ok ]
  check "$name: it is marked to be continued" [ "$(mark run.h5)" = "continue $(sed -n 's/^stop: after cycle \([0-9]*\) .*/\1/p' out)" ]
  continues "$name" run.h5 $after
done

# mpiexec hands the signal on.
rm -f run.h5*
check "SIGUSR1 to mpiexec: a run" begin 2 "${forever[@]}" -snapshot_path run.h5
kill -USR1 $launcher
check "SIGUSR1 to mpiexec: ends with 0" ends 0
check "SIGUSR1 to mpiexec: to be continued" [ "$(mark run.h5 | cut -d ' ' -f 1)" = continue ]
check "SIGUSR1 with nowhere to go: a run" begin 2 "${forever[@]}"
kill -USR1 $launcher
check "SIGUSR1 with nowhere to go: an error" ends 1
check "SIGUSR1 with nowhere to go: that is said" grep -q 'kalmia: error: SIGUSR1 ends the run .* no -snapshot_path was given' err

# Before the first cycle, too: the signal comes while the program starts.
rm -f run.h5*
"$MPIEXEC" -n 1 bash -c 'trap "" USR1; (for k in $(seq 40); do kill -USR1 $$; sleep 0.05; done) >/dev/null 2>&1 & exec "$@"' - "$kalmia" "${train[@]}" "${forever[@]}" -snapshot_path run.h5 >out 2>err </dev/null &
launcher=$!
check "SIGUSR1 from the start: ends with 0" ends 0
check "SIGUSR1 from the start: to be continued" [ "$(mark run.h5 | cut -d ' ' -f 1)" = continue ]

# The wall-clock limit: 14 s less the 10 that are kept. No snapshot but the first, which is timed.
for ranks in 1 3; do
  if sanitized && [ $ranks = 1 ]; then continue; fi
  rm -f wall.h5*
  start=$(date +%s%N)
  check "-run_walltime on $ranks ranks: ends with 0" go $ranks "${forever[@]}" -snapshot_path wall.h5 -run_walltime 14 -run_monitor_every 0
  took=$((($(date +%s%N) - start) / 1000000))
  check "-run_walltime on $ranks ranks: in time ($took ms)" [ $took -lt 14000 ]
  check "-run_walltime on $ranks ranks: it says why" grep -q '^stop: -run_walltime 14 is near' out
  check "-run_walltime on $ranks ranks: to be continued, after $(cycle wall.h5) cycles" [ "$(mark wall.h5 | cut -d ' ' -f 1)" = continue ]
  first=wall.h5.1
  if [ "$(cycle wall.h5)" = 1 ]; then first=wall.h5; fi # on a slow machine there was time for no more
  check "-run_walltime on $ranks ranks: the snapshot of the first cycle" [ "$(mark $first)" = "continue 1" ]
done
continues "-run_walltime" wall.h5 2
check "the limit is not in the snapshot" [ "$("$inspect" wall.h5 | grep -c -e run_walltime -e snapshot_resume)" = 0 ]
for time in 2:00 0-00:01 1-00:00:00 UNLIMITED; do
  check "-run_walltime $time is a time" go 1 -run_dry -snapshot_path dry.h5 -run_walltime $time
done
for time in soon 1:2:3:4 1-; do
  expect_fail "-run_walltime $time is no time" go 1 -run_dry -snapshot_path dry.h5 -run_walltime "$time"
done
expect_fail "-run_walltime 10 is too short" go 1 -run_dry -snapshot_path dry.h5 -run_walltime 10
expect_fail "-run_walltime 100 needs a file to stop into" go 1 -run_dry -run_walltime 100
check "a run that fits its limit is done" go 2 -run_cycles 3 -snapshot_path fits.h5 -run_walltime 1:00
check "and marked so" [ "$(mark fits.h5)" = "done 3" ]

# SIGTERM ends it at once; the last good snapshot stays.
rm -f run.h5*
check "SIGTERM: a run" begin 2 "${forever[@]}" -snapshot_path run.h5 -snapshot_every 1
for _ in $(seq 100); do
  if [ -e run.h5.1 ]; then break; fi
  sleep 0.05
done
kill -TERM $launcher
check "SIGTERM: the exit code is not 0" ends '!0'
check "SIGTERM: the snapshot verifies" [ "$("$inspect" --verify run.h5)" = ok ]
check "SIGTERM: it is marked to be continued" [ "$(mark run.h5 | cut -d ' ' -f 1)" = continue ]
continues "SIGTERM" run.h5 3

# -snapshot_resume: begins, goes on, is done; passes over what is damaged and puts it aside.
resume=(-snapshot_path resume.h5 -snapshot_every 1 -snapshot_keep 3 -snapshot_resume -ensemble_initial wall.h5)
check "resume: begins where there is none" go 2 -run_cycles 6 "${resume[@]}"
check "resume: no word of a restart" [ "$(grep -c '^restart' out)" = 0 ]
whole=$(result_value checksum <out)
check "resume: is done" go 3 -run_cycles 6 "${resume[@]}"
same "resume: has the result again" "$(result_value checksum <out)" "$whole"
same "newest: the last" "$("$inspect" resume.h5 --newest)" "done 6 resume.h5"
flip() { # a byte of the last member
  "$PYTHON" - "$1" <<'PY'
import h5py, sys
with h5py.File(sys.argv[1], "r") as f: d = f["ensemble/members"]; at = d.id.get_offset() + 8 * (d.size - 1)
with open(sys.argv[1], "r+b") as f: f.seek(at); b = f.read(1); f.seek(at); f.write(bytes([b[0] ^ 32]))
PY
}
flip resume.h5
head -c 3000 resume.h5.1 >cut && mv cut resume.h5.1
same "newest: passes over damaged ones" "$("$inspect" resume.h5 --newest 2>err)" "continue 4 resume.h5.2"
check "newest: says what is damaged" [ "$(grep -c -e '^resume.h5 is damaged: ensemble/members: member 22 does not match its checksum$' -e '^resume.h5.1 is damaged: .*truncated' err)" = 2 ]
check "resume: a dry run says what it would do" go 2 -run_cycles 6 "${resume[@]}" -run_dry
check "resume: and leaves all where it is" [ -e resume.h5 -a -e resume.h5.1 -a -z "$(echo *.damaged | grep h5)" ]
check "resume: passes over damaged ones" go 3 -run_cycles 6 "${resume[@]}"
check "resume: says so" [ "$(grep -c -e '^resume.h5 is damaged: ' -e '^resume.h5.1 is damaged: ' -e '^resume.h5 is put aside as resume.h5.damaged' -e '^restart: resume.h5.2, after cycle 4' out)" = 4 ]
same "resume: has the same bits" "$(result_value checksum <out)" "$whole"
check "resume: what is whole is kept" [ "$(mark resume.h5),$(mark resume.h5.1),$(mark resume.h5.2)" = "done 6,continue 5,continue 4" ]
mv resume.h5.1 gone.h5 && rm resume.h5
same "newest: passes over gaps" "$("$inspect" resume.h5 --newest)" "continue 4 resume.h5.2"
flip resume.h5.2
expect_fail "No snapshot is whole at resume.h5" "$inspect" resume.h5 --newest
expect_fail "all snapshots at resume.h5 are damaged" go 2 -run_cycles 6 "${resume[@]}"
expect_fail "There is no snapshot at none.h5" "$inspect" none.h5 --newest
expect_fail "none.h5" "$inspect" none.h5 --mark
expect_fail "classes.h5" "$inspect" classes.h5 --mark
expect_fail "give one of them" go 1 -run_cycles 6 "${resume[@]}" -restart wall.h5
expect_fail "-snapshot_resume looks for a snapshot at -snapshot_path" go 1 -run_cycles 6 -snapshot_resume
summary
