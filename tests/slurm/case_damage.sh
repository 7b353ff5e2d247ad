#!/usr/bin/env bash
# A job whose snapshot is damaged goes on from the one before, and says so.
# shellcheck source=tests/slurm/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

full=$(whole "${quick[@]}" -run_cycles 10)
submit --nodes=2 "$jobs/train.sbatch" "${quick[@]}" -run_cycles 6 -snapshot_every 1
check "a job" finishes 60 COMPLETED
"$PYTHON" - <<'PY'
import h5py
with h5py.File("run.h5", "r") as f: at = f["ensemble/members"].id.get_offset()
with open("run.h5", "r+b") as f: f.seek(at + 100); f.write(b"damage")
PY
check "its snapshot is damaged" [ "$("$inspect" run.h5 --verify | grep -c .)" = 1 -a "$("$inspect" run.h5 --verify)" != ok ]
submit --nodes=2 "$jobs/train.sbatch" "${quick[@]}" -run_cycles 10
check "the next job is completed" finishes 60 COMPLETED
check "it says what is damaged" grep -q '^.*run.h5 is damaged: ensemble/members: member 0 does not match its checksum' "$out"
check "and goes on from the one before" grep -q '^restart: .*run.h5.1, after cycle 5' "$out"
same "to the same bits" "$(checksum)" "$full"
check "the damaged one is put aside" [ -e run.h5.damaged -a "$("$inspect" run.h5 --newest)" = "done 10 run.h5" ]
summary
