#!/usr/bin/env bash
# Members that fail or turn non-finite are left out, redrawn from the survivors and recorded, and the run goes on with
# the same bits on 1, 2 and 3 ranks; too few survivors end it with exit code 3 and the last snapshot intact.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

make_data linear linear.h5
program=$KALMIA_BUILD/tests/test_run_failing
inspect=$KALMIA_BIN/kalmia-inspect
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
go() { # go RANKS OPTION...
  local ranks=$1
  shift
  run "$ranks" "$program" kalmia -observations_path linear.h5 -observations_batch 50 -model_type failing -run_seed 2 "$@" >out 2>err
}

methods=("eki -eki_update stochastic -eki_momentum nesterov" "etki -etki_redraw_cycles 3 -etki_momentum constant" "haber -haber_momentum 0.5")
for method in "${methods[@]}"; do
  type=${method%% *}
  # shellcheck disable=SC2086 # options are words
  check "$type: without failures" go 2 -analysis_type $method -ensemble_size 13 -run_cycles 5
  sound=$(result_value checksum <out)
  for kind in status nan; do
    first=
    for ranks in 1 2 3; do
      rm -f run.h5*
      # shellcheck disable=SC2086
      check "$type, $kind: goes on, on $ranks" go $ranks -analysis_type $method -ensemble_size 13 -run_cycles 5 -run_monitor_every 0 \
        -failing_members 1,4,12 -failing_calls 1,3 -failing_kind $kind -snapshot_path run.h5 -snapshot_every 1 -snapshot_keep 3 || cat err
      first=${first:-$(result_value checksum <out)}
      same "$type, $kind: the same bits" "$(result_value checksum <out)" "$first"
    done
    check "$type, $kind: other bits than without failures" [ "$first" != "$sound" ]
    check "$type, $kind: told" [ "$(sed -n 's/^cycle *\([0-9]*\) .* \(3 failed.*\)/\1 \2/p' out | tr '\n' ,)" = "2 3 failed members redrawn,4 3 failed members redrawn," ]
    check "$type, $kind: recorded" "$PYTHON" - $kind <<'PY'
import sys, h5py, numpy as np
code = {"status": 1, "nan": 2}[sys.argv[1]]
with h5py.File("run.h5") as f, h5py.File("run.h5.1") as g:
    assert list(f["history/failed"][()]) == [0, 3, 0, 3, 0]
    assert not f["ensemble/status"][()].any()
    assert list(np.flatnonzero(g["ensemble/status"][()] == code)) == [1, 4, 12] and np.count_nonzero(g["ensemble/status"][()]) == 3
    for k in ("ensemble/members", "ensemble/mean"):
        if k in f:
            assert np.isfinite(f[k][()]).all() and np.isfinite(g[k][()]).all()
PY
  done
done

# The last member fails: the others are updated as in an ensemble without it, and it is drawn from their span.
for type in eki etki; do
  rm -f with.h5* without.h5*
  go 2 -analysis_type $type -ensemble_size 9 -run_cycles 1 -failing_members 8 -failing_kind nan -snapshot_path with.h5
  go 3 -analysis_type $type -ensemble_size 8 -run_cycles 1 -snapshot_path without.h5
  check "$type: survivors are updated as if alone" "$PYTHON" - <<'PY'
import h5py, numpy as np
with h5py.File("with.h5") as f, h5py.File("without.h5") as g:
    a, b = f["ensemble/members"][()], g["ensemble/members"][()]
assert a.shape == (9, 20) and b.shape == (8, 20)
scale = np.abs(b).max()
assert np.allclose(a[:8], b, rtol=0, atol=1e-11 * scale), np.abs(a[:8] - b).max()
anomalies, new = b - b.mean(0), a[8] - b.mean(0)
c = np.linalg.lstsq(anomalies.T, new, rcond=None)[0]
assert np.allclose(anomalies.T @ c, new, rtol=0, atol=1e-9 * scale) and np.linalg.norm(new) > 1e-3 * np.linalg.norm(anomalies, axis=1).mean()
PY
done

# Too few survivors.
go 1 -analysis_type etki -ensemble_size 6 -run_cycles 6
sound=$(result_value checksum <out)
for ranks in 1 2 3; do
  rm -f few.h5* codes
  OMPI_MCA_orte_abort_on_non_zero_status=0 run $ranks bash -c '"$@"; code=$?; echo $code >>codes; exit $code' - "$program" kalmia \
    -observations_path linear.h5 -observations_batch 50 -model_type failing -run_seed 2 -analysis_type etki -ensemble_size 6 -run_cycles 6 \
    -failing_members 0,2,3,5 -failing_calls 3 -snapshot_path few.h5 -snapshot_every 1 >out 2>err
  check "too few survivors on $ranks: exit code 3 on each" [ "$(sort codes | uniq -c | tr -s ' ')" = " $ranks 3" ]
  check "one message" [ "$(grep -c '^kalmia: error' err)" = 1 ]
  check "that says how many, and what to do" grep -qF 'Only 2 of 6 members survived cycle 4; at least 3 are needed (-run_survivors). The last snapshot is whole: look at few.h5 and restart' err
  check "no result" [ "$(grep -c '^result' out)" = 0 ]
  check "the last snapshot verifies" "$inspect" --verify few.h5 >/dev/null
  check "it is of the cycle before" [ "$("$inspect" few.h5 | sed -n 's/^cycle  *//p')" = 3 ]
  check "it restarts" go $((4 - ranks)) -restart few.h5 -failing_members 99
  same "with the bits of a run without failures" "$(result_value checksum <out)" "$sound"
done
check "fewer may be asked for" go 2 -analysis_type etki -ensemble_size 6 -run_cycles 6 -run_survivors 2 -failing_members 0,2,3,5 -failing_calls 3
code=0
go 2 -analysis_type eki -ensemble_size 6 -run_cycles 6 -run_survivors 2 -failing_members 0,1,2,3,4,5 -failing_calls 3 -failing_kind nan || code=$?
check "no survivor at all ends the run even so" [ $code = 3 ]
summary
