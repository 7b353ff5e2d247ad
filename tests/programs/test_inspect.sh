#!/usr/bin/env bash
# labels: snapshot
# kalmia-inspect shows, verifies and exports a snapshot; other programs open it; a killed writer leaves the last one.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
writer=$KALMIA_BUILD/tests/test_snapshot_files
inspect=$KALMIA_BIN/kalmia-inspect

code() { # code N COMMAND...: whether COMMAND exits with N
  local want=$1 got=0
  shift
  "$@" >out 2>err || got=$?
  [ $got -eq "$want" ] || { echo "    exit $got"; sed 's/^/    | /' out err; return 1; }
}

run 2 "$writer" write stored.h5 stored 700 5 3
run 2 "$writer" write generated.h5 generated 7 5 3
check "the writer wrote" [ -s stored.h5 -a -s generated.h5 ]

check "a snapshot is shown without mpiexec" code 0 "$inspect" stored.h5
for line in 'status       continue' 'cycle        4' 'ensemble     5 members of 700 numbers, stored' '  -model_type mlp' '  blas: none' \
  'layout       3,2' 'format       1'; do
  check "it shows: $line" grep -qxF -- "$line" out
done
check "it shows the last loss" grep -qE '^  loss +0\.1428571$' out
check "it lists the members" grep -qE '^  ensemble/members +float64 +5 x 700 +1 +members of the ensemble$' out
check "and under mpiexec" code 0 run 1 "$inspect" generated.h5
check "a generated ensemble is called so" grep -qF '5 members of 7 numbers, generated about a mean' out
check "a whole snapshot is ok" code 0 "$inspect" --verify stored.h5
check "and says ok" [ "$(cat out)" = ok ]

check "the history is written as CSV" code 0 "$inspect" stored.h5 --csv
printf '0,0.25\n1,0.20000000000000001\n2,0.16666666666666666\n3,0.14285714285714285\n' >expected.csv
check "cycle comes first, all digits are there" cmp -s <(awk -F, 'NR > 1 { print $1 "," $2 }' out) expected.csv
check "every column has its name" [ "$(head -n 1 out | tr , '\n' | sort | tr '\n' ,)" = "$( (echo cycle; echo loss; for c in $(seq 0 15); do echo "column$c"; done) | sort | tr '\n' ,)" ]
check "the cycle's name is the first" [ "$(head -n 1 out | cut -d, -f1)" = cycle ]
check "as many numbers as names in every line" [ "$(awk -F, '{ print NF }' out | sort -u)" = 18 ]
cp out expected.csv
check "to a file, too" code 0 "$inspect" stored.h5 --csv history.csv
check "with the same content" cmp -s history.csv expected.csv

for what in mean members; do
  for name in $what.npy $what.h5; do check "$what is exported to $name" code 0 "$inspect" stored.h5 --export $what $name; done
done
check "the mean of a generated ensemble is exported" code 0 "$inspect" generated.h5 --export mean gmean.npy
check "its members are refused" code 1 "$inspect" generated.h5 --export members g.npy
check "with the remedy" grep -qF 'export the mean' err
cp stored.h5 before.h5
check "the snapshot itself is not overwritten" code 1 "$inspect" stored.h5 --export mean ./stored.h5
check "nor by the CSV" code 1 "$inspect" stored.h5 --csv stored.h5
check "and stays as it was" cmp -s stored.h5 before.h5
check "an output that cannot be written is an error" code 1 "$inspect" stored.h5 --export mean none/mean.npy
check "nothing is left over" [ -z "$(find . -name '*.tmp' -o -name '*locktest*')" ]

check "no argument is a usage error" code 2 "$inspect"
check "an unknown argument, too" code 2 "$inspect" stored.h5 --no-such
check "with the usage" grep -qF 'Usage: kalmia-inspect' err
check "--export lacks its file" code 2 "$inspect" stored.h5 --export mean
check "--export of something else" code 2 "$inspect" stored.h5 --export spread x.npy
check "two actions" code 2 "$inspect" stored.h5 --verify --csv
check "--help is none" code 0 "$inspect" --help
check "a missing snapshot" code 1 "$inspect" none.h5
check "says so in one line" [ "$(grep -c . err)" = 1 -a -n "$(grep -F 'There is no snapshot none.h5' err)" ]
check "a missing snapshot does not verify" code 1 "$inspect" --verify none.h5
head -c 3000 stored.h5 >cut.h5
check "one cut short does not verify" code 1 "$inspect" --verify cut.h5
check "and says so" grep -qF 'truncated or damaged' out

# Its reader goes away before it writes: nothing is said of it.
gone() { # gone OPTION...
  {
    sleep 1
    "$inspect" stored.h5 "$@" 2>err
    echo $? >code
  } | true
  [ "$(cat code)" = 141 -a ! -s err ]
}
check "a closed pipe ends it quietly" gone
check "with CSV, too" gone --csv
check "and a verification" gone --verify

if [ -n "$PYTHON" ]; then
  # Each member flipped in turn; the mean as NumPy has it; dimension scales as h5py sees them.
  check "NumPy and h5py agree" "$PYTHON" - <<'PY'
import h5py, numpy as np
i, j = np.arange(700)[None, :], np.arange(5)[:, None]
x = np.sin(0.37 * i + 1.9 * j + 3.0) + j
with h5py.File("stored.h5", "r") as f:
    m = f["ensemble/members"]
    assert m.shape == (5, 700) and m.dtype == "<f8" and np.allclose(m[()], x, rtol=0, atol=1e-14)
    x = m[()]
    assert [d.keys()[0] for d in m.dims] == ["member", "This is a netCDF dimension but not a netCDF variable.        700"]
    assert m.dims[0][0].name == "/ensemble/member" and m.dims[1][0].name == "/ensemble/state"
    assert h5py.h5ds.is_scale(m.dims[0][0].id) and h5py.h5ds.is_scale(m.dims[1][0].id) and m.dims[1][0].id.get_storage_size() == 0
    assert list(f["ensemble/member"][()]) == [0, 1, 2, 3, 4] and f["ensemble/member"].dtype == "<i4"
    assert f["ensemble/status"].dims[0][0].name == "/ensemble/member" and list(f["ensemble/status"][()]) == [0, 0, 2, 0, 0]
    assert f["history/loss"].dims[0][0].name == "/history/cycle" and h5py.h5ds.is_scale(f["history/cycle"].id)
    assert f["history/loss"].attrs["long_name"] == b"training loss, mean a sample" and f["history/loss"].attrs["units"] == b"1"
    assert f["options"][()].decode() == "-run_cycles 4\n-model_type mlp\n" and f["kalmia/cycle"][()] == 4
    assert f.attrs["kalmia_format"] == 1 and "checksum" in f["history/loss"].attrs
    refs = f["ensemble/member"].attrs["REFERENCE_LIST"]
    assert sorted(f[r[0]].name for r in refs) == ["/ensemble/members", "/ensemble/members_checksum", "/ensemble/status"]
assert np.array_equal(np.load("members.npy"), x)
with h5py.File("members.h5", "r") as f: assert np.array_equal(f["members"][()], x)
s = np.zeros(700)
for k in range(5): s = s + x[k]  # a redrawn member counts
assert np.array_equal(np.load("mean.npy"), s / 5)
with h5py.File("mean.h5", "r") as f: assert np.array_equal(f["mean"][()], s / 5)
assert np.allclose(np.load("gmean.npy"), np.sin(0.37 * np.arange(7) + 3.0), rtol=0, atol=1e-14)
for k in range(5):
    open(f"flip{k}.h5", "wb").write(open("stored.h5", "rb").read())
    with h5py.File("stored.h5", "r") as f: at = f["ensemble/members"].id.get_offset() + (k * 700 + 350) * 8
    with open(f"flip{k}.h5", "r+b") as f:
        f.seek(at); b = f.read(1); f.seek(at); f.write(bytes([b[0] ^ 32]))
PY
  for k in 0 1 2 3 4; do
    check "a bit of member $k flipped does not verify" code 1 "$inspect" flip$k.h5 --verify
    check "and member $k is named alone" [ "$(cat out)" = "ensemble/members: member $k does not match its checksum" ]
    check "nor is it exported" code 1 "$inspect" flip$k.h5 --export mean flipped.npy
  done
  check "no damaged export is left" [ ! -e flipped.npy -a ! -e flipped.npy.tmp ]
else
  echo "no Python with h5py: what h5py reads is not checked"
fi
if command -v h5dump >/dev/null; then
  check "h5dump opens it" sh -c 'h5dump -H stored.h5 | grep -q "DATASET \"members\""'
fi

# Killed in the middle of writing, again and again: what is at the path is whole, and so is what was there before.
mkdir killed
for delay in 0.9 1.3 1.7; do
  "$MPIEXEC" -n 2 "$writer" loop killed/run.h5 20000 16 </dev/null >loop.out 2>loop.err &
  launcher=$!
  for _ in $(seq 100); do
    [ -s killed/run.h5.1 ] && [ -s loop.out ] && break
    sleep 0.1
  done
  sleep $delay
  for pid in $(ps -o pid= --ppid $launcher); do kill -9 "$pid" 2>/dev/null; done
  wait $launcher 2>/dev/null
  check "killed after $delay s: the snapshot is whole" code 0 "$inspect" --verify killed/run.h5
  check "and the one before it" code 0 "$inspect" --verify killed/run.h5.1
done
check "a run after that writes as ever" run 2 "$writer" write killed/run.h5 stored 50 4 9
check "and leaves only snapshots" [ "$(ls killed | sort | tr '\n' ' ')" = "run.h5 run.h5.1 " ]
summary
