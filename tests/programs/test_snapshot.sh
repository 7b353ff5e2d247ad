#!/usr/bin/env bash
# The snapshots of real runs: other programs read them, a run killed at any moment leaves one that verifies and restarts,
# and a run may begin from exported members or an exported mean.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

kalmia=$KALMIA_BIN/kalmia
inspect=$KALMIA_BIN/kalmia-inspect
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
make_data classes classes.h5
data="-observations_path classes.h5 -observations_batch 100 -mlp_layers 20,30,4 -run_seed 4 -run_monitor_every 0"
go() { # go RANKS OPTION...
  local ranks=$1
  shift
  # shellcheck disable=SC2086 # options are words
  run "$ranks" "$kalmia" $data "$@" >out 2>err || { grep kalmia: err; return 1; }
}

# Stored and generated ensembles, exported and compared.
check "a stored ensemble" go 3 -analysis_type etki -etki_momentum nesterov -ensemble_size 11 -run_cycles 6 -snapshot_path stored.h5
check "a generated one" go 2 -analysis_type haber -haber_momentum 0.9 -ensemble_size 11 -run_cycles 6 -snapshot_path generated.h5
for file in stored generated; do
  check "$file verifies" [ "$("$inspect" --verify $file.h5)" = ok ]
  check "$file is shown" "$inspect" $file.h5 >$file.txt
  check "$file is done" grep -q '^status  *done' $file.txt
  check "$file: history as CSV" "$inspect" $file.h5 --csv $file.csv
  for form in h5 npy; do check "$file: mean to .$form" "$inspect" $file.h5 --export mean $file-mean.$form; done
done
for form in h5 npy; do check "members to .$form" "$inspect" stored.h5 --export members members.$form; done
check "h5py and NumPy see the same" "$PYTHON" - <<'PY'
import csv, h5py, numpy as np

n = 21 * 30 + 31 * 4
with h5py.File("stored.h5") as f:
    x = f["ensemble/members"][()]
    assert x.shape == (11, n) and f["copies/0"].shape == (11, n) and x.std(0).min() > 0
    assert np.array_equal(np.load("members.npy"), x)
    with h5py.File("members.h5") as g:
        assert np.array_equal(g["members"], x)
    mean = np.load("stored-mean.npy")
    assert mean.shape == (n,) and np.allclose(mean, x.mean(0), rtol=0, atol=1e-14)
    with h5py.File("stored-mean.h5") as g:
        assert np.array_equal(g["mean"], mean)
    assert [d[0].name for d in f["ensemble/members"].dims] == ["/ensemble/member", "/ensemble/state"]
    assert f["history/loss"].dims[0][0].name == "/history/cycle"
    assert f["ensemble/members"].attrs["units"] in (b"1", "1") and f["ensemble/members"].attrs["long_name"]
    text = f["options"][()].decode()
    assert "-mlp_layers 20,30,4" in text and "-analysis_type etki" in text
    # The last line of the history is what the run would print.
    spread = np.sqrt(x.var(0, ddof=1).mean())
    assert abs(f["history/spread"][-1] / spread - 1) < 1e-12
    history = {k: f["history"][k][()] for k in f["history"]}
rows = list(csv.DictReader(open("stored.csv")))
assert len(rows) == 6 and [float(r["cycle"]) for r in rows] == [1, 2, 3, 4, 5, 6]
for k, v in history.items():
    assert np.array_equal([float(r[k]) for r in rows], v, equal_nan=True), k
with h5py.File("generated.h5") as f:
    assert np.array_equal(np.load("generated-mean.npy"), f["ensemble/mean"]) and "members" not in f["ensemble"]
    assert f["analysis/velocity"].shape == (n,)
PY
check "an older netCDF reader would find the dimensions" "$PYTHON" -c '
import h5py
with h5py.File("stored.h5") as f:
    names = []
    f.visititems(lambda k, d: names.append(k) if isinstance(d, h5py.Dataset) and d.shape and not h5py.h5ds.is_scale(d.id) and not all(len(m) for m in d.dims) else None)
    assert not names, names'

# Begin from what was exported: as many members as they are, or members about a mean.
check "from members" go 2 -analysis_type etki -ensemble_size 11 -run_cycles 0 -ensemble_initial members.h5 -snapshot_path again.h5
check "from the members of a snapshot" go 3 -analysis_type eki -ensemble_size 11 -run_cycles 0 -ensemble_initial stored.h5 -snapshot_path again2.h5
check "from a mean" go 2 -analysis_type etki -ensemble_size 300 -ensemble_initial_spread 0.5 -run_cycles 0 -ensemble_initial stored-mean.h5 -snapshot_path about.h5
check "from a mean, generated" go 3 -analysis_type haber -ensemble_size 11 -run_cycles 0 -ensemble_initial generated-mean.h5 -snapshot_path gen.h5
check "from the mean of a snapshot, generated" go 1 -analysis_type haber -ensemble_size 5 -run_cycles 0 -ensemble_initial generated.h5 -snapshot_path gen2.h5
check "they are what was given" "$PYTHON" - <<'PY'
import h5py, numpy as np
x, mean, gmean = np.load("members.npy"), np.load("stored-mean.npy"), np.load("generated-mean.npy")
for name in ("again.h5", "again2.h5"):
    with h5py.File(name) as f:
        assert np.array_equal(f["ensemble/members"], x), name
for name in ("gen.h5", "gen2.h5"):
    with h5py.File(name) as f:
        assert np.array_equal(f["ensemble/mean"], gmean), name
with h5py.File("about.h5") as f:
    y = f["ensemble/members"][()]
# he: sd sqrt(2/fan_in) of the weights, 0.1 of the biases; half of it about the mean, 300 members.
sd = np.concatenate([np.full(600, np.sqrt(2 / 20)), np.full(30, 0.1), np.full(120, np.sqrt(2 / 30)), np.full(4, 0.1)])
z = (y - mean) / (0.5 * sd)
assert abs(z.mean()) < 5 / np.sqrt(z.size) and abs(z.std() - 1) < 5 / np.sqrt(2 * z.size)
assert np.abs(z.mean(0)).max() < 5.5 / np.sqrt(300)
PY

# Killed with -9 in the middle of a run that writes a snapshot after every cycle, at ten moments.
# shellcheck disable=SC2086
long="$data -analysis_type etki -etki_momentum nesterov -ensemble_size 11 -run_cycles 1000000 -snapshot_path killed.h5 -snapshot_every 1"
short=()
# Nobody clears up after a killed rank: what Open MPI shares lies where it goes with the scratch folder.
export OMPI_MCA_btl_vader_backing_directory=$scratch OMPI_MCA_osc_sm_backing_directory=$scratch
for moment in 1 2 3 4 5 6; do
  # shellcheck disable=SC2086
  "$MPIEXEC" -n 2 bash -c 'echo $$ >>pids; exec "$@"' - "$kalmia" $long >out 2>err </dev/null &
  launcher=$!
  for _ in $(seq 200); do
    if [ -e killed.h5 ] && [ "$(wc -l <pids)" = 2 ]; then break; fi
    sleep 0.05
  done
  sleep "0.$((moment * 37 % 90 + 10))"
  # shellcheck disable=SC2046
  kill -9 $(cat pids)
  wait $launcher 2>/dev/null
  check "killed: the snapshot verifies" [ "$("$inspect" --verify killed.h5)" = ok ]
  cycle=$("$inspect" killed.h5 | sed -n 's/^cycle  *//p')
  check "killed: it is to be continued, after cycle $cycle" [ "$("$inspect" killed.h5 | sed -n 's/^status  *//p')" = continue -a "$cycle" -ge 1 ]
  short+=("$cycle")
  cp killed.h5 kept.h5
  rm -f killed.h5* pids
  if [ $moment = 1 ] || [ $moment = 4 ]; then
    check "killed: it restarts on 3 ranks" run 3 "$kalmia" -restart kept.h5 -run_cycles $((cycle + 2)) -snapshot_every 0 -snapshot_path other.h5 >out 2>err
    restarted=$(result_value checksum <out)
    check "a run that was not killed" go 2 -analysis_type etki -etki_momentum nesterov -ensemble_size 11 -run_cycles $((cycle + 2))
    same "killed: the same bits" "$restarted" "$(result_value checksum <out)"
  fi
done
check "the runs were killed at different cycles (${short[*]})" [ "$(printf '%s\n' "${short[@]}" | sort -u | wc -l)" -gt 1 ]
summary
