#!/usr/bin/env bash
# labels: long
# kalmia-analyse against NumPy's dense analyses and against the filter of a run; the same bytes on any number of ranks; what it
# refuses; the job script that alternates forecasts and analyses.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

analyse=$KALMIA_BIN/kalmia-analyse
kalmia=$KALMIA_BIN/kalmia
inspect=$KALMIA_BIN/kalmia-inspect
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"

# A forecast of Lorenz-96 (40 variables, dt 0.05, RK4), its truth, and observations of half of it in several forms.
cat >lorenz.py <<'PY'
import numpy as np
def f(x):
    return (np.roll(x, -1, -1) - np.roll(x, 2, -1)) * np.roll(x, 1, -1) - x + 8.0
def step(x, h=0.05):
    a = f(x)
    b = f(x + h / 2 * a)
    c = f(x + h / 2 * b)
    d = f(x + h * c)
    return x + h / 6 * (a + 2 * b + 2 * c + d)
PY
"$PYTHON" - <<'PY' || exit 1
import h5py, numpy as np
from lorenz import step
rng = np.random.default_rng(5)
n, N = 40, 20
truth = 8 + rng.standard_normal(n)
for _ in range(200):
    truth = step(truth)
E = truth + rng.standard_normal((N, n))
for _ in range(4):
    truth, E = step(truth), step(E)

def write(name, **sets):
    with h5py.File(name, "w") as g:
        for k, v in sets.items():
            if v is not None:
                g[k] = v

ring = dict(coordinates=np.arange(40.0), period=[40.0])
write("prior.h5", members=E, **ring)
write("plain.h5", members=E.astype(">f8"))
with h5py.File("ensemble.h5", "w") as g:  # as a snapshot has it
    g["ensemble/members"] = E
E8 = E.copy()
E8[3], E8[11, 7] = np.nan, np.inf
failed = np.zeros(N, bool)
failed[[3, 11, 16]] = True
write("failed.h5", members=E8, status=failed, **ring)
write("survivors.h5", members=E[~failed], **ring)
plane = np.stack([np.arange(40) % 8, np.arange(40) // 8 * 1.0], 1) + 0.1 * rng.random((40, 2))
kind = np.zeros(40, np.int16)
kind[13:15], kind[20:] = -1, 1
plane[13] = np.nan  # an entry without a place need not have one
write("plane.h5", members=E, coordinates=plane, period=[8.5, 0.0], kind=kind)

entry = np.arange(0, 40, 2)
error = 0.5 + rng.random(20)
value = truth[entry] + error * rng.standard_normal(20)
write("obs.h5", entry=entry, value=value, error=error)
write("timed.h5", entry=entry, value=value, error=error, time=rng.permutation(20) * 0.3)
L = np.tril(0.2 * rng.standard_normal((20, 20))) + np.diag(error)
write("dense.h5", entry=entry, value=value, R=L @ L.T)
H = np.zeros((15, 40))
for i in range(15):
    H[i, rng.choice(40, 3, replace=False)] = rng.standard_normal(3)
write("rows.h5", start=np.arange(0, 46, 3), index=np.concatenate([np.nonzero(h)[0] for h in H]), weight=np.concatenate([h[h != 0] for h in H]), value=H @ truth + rng.standard_normal(15), error=np.ones(15), location=rng.random((15, 1)) * 40)
places = rng.random((20, 2)) * [8.5, 5.0]
write("places.h5", entry=entry, value=value, error=error, location=places, kind=np.where(np.arange(20) < 18, 0, -1))
far = value.copy()
far[[4, 9]] += [60.0, -45.0]
write("far.h5", entry=entry, value=far, error=error)
write("more.h5", entry=np.append(entry, np.arange(1, 17, 2)), value=np.append(value, 900.0 + np.arange(8)), error=np.append(error, np.ones(8)))
# Three times of a run whose model is the identity.
times = np.repeat([1.0, 2.0, 3.0], 20)
values = np.concatenate([value + 0.3 * rng.standard_normal(20) for _ in range(3)])
write("series.h5", time=times, entry=np.tile(entry, 3), value=values, error=np.tile(error, 3))
for k in range(3):
    write("series%d.h5" % k, entry=entry, value=values[20 * k:20 * k + 20], error=error)
write("eye.h5", M=np.eye(40), coordinates=np.arange(40.0), covariance_root=np.eye(40))
write("line.h5", members=E, coordinates=np.arange(40.0))
PY

# go NAME PRIOR OBSERVATIONS OPTION...: on 2 ranks to NAME.h5, its output in NAME.out.
go() {
  local name=$1
  shift
  check "$name" run 2 "$analyse" "$1" "$2" "$name.h5" "${@:3}" >"$name.out" 2>&1 || cat "$name.out"
}
go etkf plain.h5 obs.h5
go etkf-time plain.h5 timed.h5
go etkf-snapshot ensemble.h5 obs.h5
go etkf-dense prior.h5 dense.h5 -analysis_type etkf -inflation_factor 1.1
go etkf-rows prior.h5 rows.h5 -analysis_type etkf -inflation_factor 1.3 -inflation_on prior-covariance
go etkf-reject prior.h5 far.h5 -observations_reject 4
go etkf-failed failed.h5 obs.h5
go enkf-nice prior.h5 obs.h5 -analysis_type enkf -enkf_correction nice -observations_reject 6
go enkf-nice-more prior.h5 more.h5 -analysis_type enkf -enkf_correction nice -observations_reject 6 -analysis_ksp_converged_reason
check "observations that are rejected change no correction" "$PYTHON" -c "
import h5py, numpy
a, b = (h5py.File(f, 'r')['members'][()] for f in ('enkf-nice.h5', 'enkf-nice-more.h5'))
raise SystemExit(not abs(a - b).max() < 1e-11)"
go etkf-survivors survivors.h5 obs.h5
go denkf prior.h5 obs.h5 -analysis_type denkf
go letkf prior.h5 rows.h5 -localization_radius 3 -letkf_batch 1
go letkf-failed failed.h5 obs.h5 -analysis_type letkf -localization_radius 2 -letkf_batch 1
go letkf-plane plane.h5 places.h5 -localization_radius 1.5 -letkf_batch 1 -localization_convention half-support
go letkf-none plain.h5 obs.h5 -analysis_type letkf -localization_type none
go enkf prior.h5 obs.h5 -analysis_type enkf
go enkf-next prior.h5 obs.h5 -analysis_type enkf -analyse_cycle 1
go enkf-seed prior.h5 obs.h5 -analysis_type enkf -run_seed 1
go additive prior.h5 obs.h5 -inflation_additive 0.3
check "letkf is chosen with a radius" grep -q '^analysis: letkf' letkf.out
check "etkf without one" grep -q '^analysis: etkf' etkf.out

check "NumPy finds the same" "$PYTHON" - <<'PY'
import h5py, numpy as np

def load(name, *keys):
    with h5py.File(name) as f:
        return [f[k][()] for k in keys]

def root(S):
    v, V = np.linalg.eigh(S)
    return (V / np.sqrt(v)) @ V.T

def taper(d, c):
    z = d / c
    near = 1 - 5 / 3 * z**2 + 5 / 8 * z**3 + z**4 / 2 - z**5 / 4
    with np.errstate(divide="ignore", invalid="ignore"):
        far = 4 - 5 * z + 5 / 3 * z**2 + 5 / 8 * z**3 - z**4 / 2 + z**5 / 12 - 2 / (3 * z)
    rho = np.where(z <= 1, near, np.where(z < 2, far, 0.0))
    return np.where(rho < 1e-3, 0.0, rho)

def operator(file, n):
    with h5py.File(file) as f:
        y, p = f["value"][()], len(f["value"])
        R = f["R"][()] if "R" in f else np.diag(f["error"][()] ** 2)
        H = np.zeros((p, n))
        if "start" in f:
            s, j, w = f["start"][()], f["index"][()], f["weight"][()]
            for i in range(p):
                H[i, j[s[i]:s[i + 1]]] = w[s[i]:s[i + 1]]
        else:
            H[np.arange(p), f["entry"][()]] = 1.0
    return y, H, R

def etkf(E, y, H, R, prior=1.0, posterior=1.0, rho=None):
    N = len(E)
    mean, X = E.mean(0), prior * (E - E.mean(0))
    root_R = np.linalg.inv(np.linalg.cholesky(R))
    A = root_R @ H @ X.T / np.sqrt(N - 1)
    r = root_R @ (y - H @ mean)
    if rho is not None:
        A, r = np.sqrt(rho)[:, None] * A, np.sqrt(rho) * r
    S = np.eye(N) + A.T @ A
    w = np.linalg.solve(S, A.T @ r)
    return mean + X.T @ w / np.sqrt(N - 1) + posterior * (root(S) @ X)

def denkf(E, y, H, R):
    N = len(E)
    mean, X = E.mean(0), E - E.mean(0)
    P = X.T @ X / (N - 1)
    K = P @ H.T @ np.linalg.inv(H @ P @ H.T + R)
    return mean + K @ (y - H @ mean) + X - 0.5 * X @ H.T @ K.T

def letkf(E, y, H, R, rho):
    out = np.empty_like(E)
    for i in range(E.shape[1]):
        out[:, i] = etkf(E, y, H, R, rho=rho[i])[:, i]
    return out

def near(name, expected, tol=1e-10):
    got, mean, spread = load(name + ".h5", "members", "mean", "spread")
    keep = ~np.isnan(expected[:, 0])
    assert np.isfinite(got).all() and np.abs(got[keep] - expected[keep]).max() < tol, (name, np.abs(got[keep] - expected[keep]).max())
    assert np.abs(mean - got.mean(0)).max() < 1e-13 and np.abs(spread - got.std(0, ddof=1)).max() < 1e-13, name

(E,) = load("prior.h5", "members")
obs = operator("obs.h5", 40)
for name in ("etkf", "etkf-time", "etkf-snapshot", "letkf-none"):
    near(name, etkf(E, *obs))
near("etkf-dense", etkf(E, *operator("dense.h5", 40), posterior=1.1))
near("etkf-rows", etkf(E, *operator("rows.h5", 40), prior=np.sqrt(1.3)))
near("denkf", denkf(E, *obs))

# The background check leaves out what it should.
y, H, R = operator("far.h5", 40)
d, v = (y - H @ E.mean(0)) / np.sqrt(np.diag(R)), (E @ H.T).var(0, ddof=1) / np.diag(R)
keep = d**2 <= 16 * (1 + v)
assert (~keep).sum() == 2
near("etkf-reject", etkf(E, y[keep], H[keep], R[np.ix_(keep, keep)]))
with h5py.File("etkf-reject.h5") as f:
    assert np.array_equal(f["observations/rejected"], ~keep) and f["statistics/rejected"][()] == 2 and f["statistics/observations"][()] == 20
    assert np.allclose(f["observations/innovation"], d, rtol=0, atol=1e-12) and np.allclose(f["observations/spread"], np.sqrt(v), rtol=0, atol=1e-12)
    assert np.allclose(f["observations/residual"], (y - H @ f["members"][()].mean(0)) / np.sqrt(np.diag(R)), rtol=0, atol=1e-12)

# Dense errors: innovations in units of the errors are those whitened by the Cholesky factor.
y, H, R = operator("dense.h5", 40)
W = np.linalg.inv(np.linalg.cholesky(R))
with h5py.File("etkf-dense.h5") as f:
    assert np.allclose(f["observations/innovation"], W @ (y - H @ E.mean(0)), rtol=0, atol=1e-11)
    assert np.allclose(f["observations/spread"], (W @ H @ E.T).std(1, ddof=1), rtol=0, atol=1e-11)

# Failed members are left out, and drawn anew from the survivors' Gaussian.
failed = np.isin(np.arange(20), [3, 11, 16])
expected = np.full_like(E, np.nan)
expected[~failed] = etkf(E[~failed], *obs)
near("etkf-failed", expected)
near("etkf-survivors", expected[~failed])
got, status, lost = load("etkf-failed.h5", "members", "analysis/status", "statistics/failed")
assert np.array_equal(status, failed) and lost == 3 and "status" not in h5py.File("etkf-failed.h5")
basis = (expected[~failed] - expected[~failed].mean(0)).T
for x in got[failed]:
    d = x - expected[~failed].mean(0)
    assert np.linalg.norm(d) > 0.1 and np.linalg.norm(d - basis @ np.linalg.lstsq(basis, d, rcond=None)[0]) < 1e-9

# Local analyses: a ring; with failed members; a plane that is periodic one way, with entries and observations without a place.
ring = lambda a, b: np.minimum(np.abs(a[:, None] - b), 40 - np.abs(a[:, None] - b))
(place,) = load("rows.h5", "location")
near("letkf", letkf(E, *operator("rows.h5", 40), taper(ring(np.arange(40.0), place[:, 0]), 3 * 1.82)))
expected[~failed] = letkf(E[~failed], *obs, taper(ring(np.arange(40.0), np.arange(0, 40, 2.0)), 2 * 1.82))
near("letkf-failed", expected)
xy, kind = load("plane.h5", "coordinates", "kind")
to, of = load("places.h5", "location", "kind")
dx = np.abs(xy[:, None, 0] - to[None, :, 0]) % 8.5
rho = taper(np.hypot(np.minimum(dx, 8.5 - dx), xy[:, None, 1] - to[None, :, 1]), 1.5)
rho[kind < 0], rho[:, of < 0] = 1.0, 1.0
near("letkf-plane", letkf(E, *operator("places.h5", 40), rho))

# The cycle and the seed change the draws, and nothing else does; the mean is the Kalman filter's.
a, b, c = (load(name + ".h5", "members")[0] for name in ("enkf", "enkf-next", "enkf-seed"))
mean = etkf(E, *obs).mean(0)
for x in (a, b, c):
    assert np.abs(x.mean(0) - mean).max() < 1e-10
assert np.abs(a - b).max() > 1e-3 and np.abs(a - c).max() > 1e-3 and np.abs(b - c).max() > 1e-3

# Additive inflation is in units of the prior members' standard deviations, and leaves the mean.
x = load("additive.h5", "members")[0] - etkf(E, *obs)
assert np.abs(x.mean(0)).max() < 1e-10 and 0.2 < (x / E.std(0, ddof=1)).std() < 0.4

# What else a posterior holds.
with h5py.File("letkf-plane.h5") as f:
    for k, axes in (("members", ("member", "state")), ("mean", ("state",)), ("coordinates", ("state", "direction")), ("kind", ("state",)), ("period", ("direction",)), ("observations/rejected", ("observations/observation",)), ("analysis/status", ("analysis/member",))):
        assert tuple(d[0].name for d in f[k].dims) == tuple("/" + a for a in axes), k
        assert f[k].attrs["units"] == b"1" and f[k].attrs["long_name"], k
    assert np.array_equal(f["coordinates"], xy, equal_nan=True) and np.array_equal(f["kind"], kind) and list(f["period"]) == [8.5, 0.0]
    text = lambda k: f[k][()].decode()
    assert text("source/prior") == "plane.h5" and text("source/observations") == "places.h5" and text("analysis/type") == "letkf"
    assert "-localization_radius 1.5" in text("options") and text("kalmia/provenance").startswith("kalmia ")
    assert f["analysis/cycle"][()] == 0 and f["run/seed"][()] == 0
PY
for name in etkf etkf-failed letkf-plane additive; do check "$name verifies" "$inspect" --verify $name.h5 >/dev/null; done

# chain NAME PRIOR OPTION...: a run of three cycles with the model that stands still, and three analyses on files, one after the other.
chain() {
  local name=$1 prior=$2 k previous=()
  shift 2
  check "$name: a run" run 2 "$kalmia" -model_type linear -linear_path eye.h5 -linear_step 1 -observations_type series -observations_path series.h5 \
    -ensemble_initial "$prior" -ensemble_size 20 -run_cycles 3 -run_monitor_every 0 -run_seed 7 -snapshot_path run.h5 "$@" >out 2>&1 || cat out
  for k in 0 1 2; do
    check "$name: analysis $k" run $((k + 1)) "$analyse" "$prior" series$k.h5 chain$k.h5 -run_seed 7 "${previous[@]}" "$@" >out 2>&1 || cat out
    prior=chain$k.h5
    previous=(-analyse_previous "chain$k.h5")
  done
  check "$name: as the run, to the last bit" "$PYTHON" -c '
import h5py
with h5py.File("run.h5") as a, h5py.File("chain2.h5") as b:
    assert a["ensemble/members"][()].tobytes() == b["members"][()].tobytes()
    for k in ("innovation", "dfs", "effective", "inflation", "spread_forecast", "spread_analysis"):
        x, y = a["history/" + k][-1], b["statistics/" + k][()]
        assert abs(x - y) <= 1e-12 * abs(x), (k, x, y)
    assert a["analysis/inflation"][()].tobytes() == b["analysis/inflation"][()].tobytes() and b["analysis/cycle"][()] == 2
'
  rm -f run.h5* chain?.h5
}
chain enkf line.h5 -analysis_type enkf -analysis_rotate -inflation_adaptive anderson
chain etkf line.h5 -analysis_type etkf -analysis_rotate -inflation_rtps 0.4 -observations_reject 3
chain letkf line.h5 -analysis_type letkf -localization_radius 4 -inflation_adaptive miyoshi -analysis_rotate
chain ensrf line.h5 -analysis_type ensrf -inflation_factor 1.05
chain estkf line.h5 -analysis_type estkf -inflation_rtpp 0.2
chain enkfn line.h5 -analysis_type enkfn

# The same bytes on any number of ranks, and the same line but for the seconds.
ranks() {
  local name=$1 r
  shift
  for r in 1 2 3 5 7; do
    run $r "$analyse" "$1" "$2" ranks$r.h5 "${@:3}" >out.$r 2>&1 || cat out.$r
    sed -n 's/^\(result: .*\) seconds=[0-9.]*\(.*\)/\1\2/p' out.$r >line.$r
    check "$name: $r ranks" [ -s line.$r -a "$(cat line.$r)" = "$(cat line.1)" ]
  done
  check "$name: the same datasets" "$PYTHON" -c '
import h5py
names = []
with h5py.File("ranks1.h5") as a:
    a.visit(names.append)
    for r in (2, 3, 5, 7):
        with h5py.File("ranks%d.h5" % r) as b:
            other = []
            b.visit(other.append)
            assert other == names and "members" in names
            for k in names:
                if isinstance(a[k], h5py.Dataset) and a[k].id.get_storage_size():
                    assert a[k][()].tobytes() == b[k][()].tobytes(), (k, r)
'
}
ranks "enkf, failed members" failed.h5 obs.h5 -analysis_type enkf -analysis_rotate -ensemble_block_rows 7
ranks "etkf, dense errors, messages" prior.h5 dense.h5 -inflation_additive 0.2 -ensemble_exchange messages -ensemble_block_rows 9
ranks "letkf, a plane" plane.h5 places.h5 -localization_radius 1.5 -inflation_rtps 0.3 -ensemble_block_rows 6
ranks "denkf, background check" prior.h5 far.h5 -analysis_type denkf -observations_reject 4 -analyse_cycle 3

# A posterior is the next prior, of kalmia-analyse and of a run; it is replaced by another posterior, by nothing else.
cp letkf-plane.h5 again.h5
check "a posterior as a prior, its places with it" run 2 "$analyse" letkf-plane.h5 places.h5 again.h5 -localization_radius 1.5 >out 2>&1
check "took the place of a posterior" "$PYTHON" -c 'import h5py; f = h5py.File("again.h5"); assert f["source/prior"][()] == b"letkf-plane.h5" and f["kind"].shape == (40,)'
check "a posterior begins a run" run 2 "$kalmia" -model_type lorenz96 -observations_type twin -ensemble_initial again.h5 -ensemble_size 20 -analysis_type etkf -run_cycles 2 -snapshot_path run.h5 >out 2>&1
check "a snapshot is a prior" run 2 "$analyse" run.h5 obs.h5 of-run.h5 >out 2>&1

# Bad input: one message, no trace, exit code 1 on every rank, no posterior. On 1 and 3 ranks.
export OMPI_MCA_orte_abort_on_non_zero_status=0
"$PYTHON" - <<'PY' || exit 1
import h5py, numpy as np
with h5py.File("prior.h5") as f:
    E = f["members"][()]
with h5py.File("obs.h5") as f:
    o = {k: f[k][()] for k in f}
def write(name, base, **change):
    sets = dict(base, **change)
    with h5py.File(name, "w") as g:
        for k, v in sets.items():
            if v is not None:
                g[k] = v
p = dict(members=E, coordinates=np.arange(40.0), period=[40.0])
bad = E.copy()
bad[4, 17] = np.nan
write("p-nan.h5", p, members=bad)
write("p-none.h5", p, members=None)
write("p-flat.h5", p, members=E[0])
write("p-one.h5", p, members=E[:1])
write("p-empty.h5", p, members=E[:0])
write("p-text.h5", p, members=np.full((20, 40), b"a"))
write("p-places.h5", p, coordinates=np.arange(39.0))
write("p-four.h5", p, coordinates=np.zeros((40, 4)))
write("p-period.h5", p, period=[40.0, 40.0])
write("p-negative.h5", p, period=[-1.0])
write("p-outside.h5", p, period=[39.0])
write("p-nowhere.h5", p, coordinates=np.where(np.arange(40) == 6, np.inf, np.arange(40.0)))
write("p-kind.h5", p, kind=np.zeros(40))
write("p-status.h5", p, status=np.zeros(19, np.int8))
write("p-lost.h5", p, status=np.arange(20) < 15)
write("p-orphan.h5", p, coordinates=None, period=None, kind=np.zeros(40, int))
with h5py.File("p-unwritten.h5", "w") as g:
    g.create_dataset("members", (20, 40))
write("o-none.h5", o, entry=o["entry"][:0], value=o["value"][:0], error=o["error"][:0])
write("o-nan.h5", o, value=np.where(np.arange(20) == 3, np.nan, o["value"]))
write("o-error.h5", o, error=-o["error"])
write("o-size.h5", o, error=o["error"][:-1])
write("o-entry.h5", o, entry=o["entry"] + 2)
write("o-noentry.h5", o, entry=None)
write("o-novalue.h5", o, value=None)
write("o-twice.h5", o, entry=np.where(np.arange(20) == 5, 0, o["entry"]))
write("o-sametime.h5", o, entry=np.where(np.arange(20) == 5, 0, o["entry"]), time=np.ones(20))
write("o-otherhour.h5", o, entry=np.where(np.arange(20) == 5, 0, o["entry"]), time=np.arange(20.0))
write("o-times.h5", o, time=np.ones(19))
write("o-R.h5", o, error=None, R=np.eye(19))
write("o-indefinite.h5", o, error=None, R=np.eye(20) - 2 * np.eye(20)[::-1])
write("o-places.h5", o, location=np.zeros((20, 2)))
write("o-outside.h5", o, location=np.full((20, 1), 40.0))
open("text.h5", "w").write("no file of HDF5\n")
open("cut.h5", "wb").write(open("prior.h5", "rb").read()[:3000])
PY
digest() { find . -name '*.h5' | sort | xargs sha256sum | sha256sum; }
before=$(digest)
refuse() { # refuse "what" "message" EXIT ARGUMENT...
  local what=$1 message=$2 exit=$3 r
  shift 3
  rm -f codes.*
  {
    timeout -k 5 60 "$analyse" "$@" >out.1 2>err.1 </dev/null
    echo $? >codes.1
  } &
  KALMIA_LIMIT=60 run 3 bash -c '"$@"; code=$?; echo $code >>codes.3; exit $code' - "$analyse" "$@" >out.3 2>err.3
  wait $!
  for r in 1 3; do check "$what: refused on $r" refused "$message" "$exit" $r || sed 's/^/    | /' err.$r | head -n 8; done
}
refused() {
  [ "$(grep -c '^kalmia: error' "err.$3")" = 1 ] || { echo "    not one message"; return 1; }
  grep '^kalmia: error' "err.$3" | grep -qF -- "$1" || { echo "    not with \"$1\""; return 1; }
  ! grep -qE 'PETSC ERROR|MPI_ABORT|HDF5-DIAG|Sanitizer|runtime error' "err.$3" || { echo "    with a trace"; return 1; }
  [ "$(sort "codes.$3" | uniq -c | tr -s ' ')" = " $3 $2" ] || { echo "    exit codes $(tr '\n' ' ' <"codes.$3")"; return 1; }
  ! grep -q '^result' "out.$3" || { echo "    after it was done"; return 1; }
  [ ! -e new.h5 ] && [ ! -e new.h5.tmp ] || { echo "    with a posterior"; return 1; }
}
prior() { refuse "$1" "$3" 1 "$2" obs.h5 new.h5 "${@:4}"; }
observations() { refuse "$1" "$3" 1 prior.h5 "$2" new.h5 "${@:4}"; }
option() { refuse "$1" "$2" 1 prior.h5 obs.h5 new.h5 "${@:3}"; }

prior "no prior" nowhere.h5 "The prior nowhere.h5 cannot be read: No such file"
prior "a prior that is no HDF5" text.h5 "text.h5 is no HDF5 file"
prior "a prior cut short" cut.h5 "cut.h5 is truncated or damaged"
prior "a prior without members" p-none.h5 "The prior p-none.h5 has no dataset /members"
prior "members of one dimension" p-flat.h5 "/members of p-flat.h5 has 1 dimensions"
prior "one member" p-one.h5 "/members of p-one.h5 has 1 member; an analysis needs at least 2"
prior "no members" p-empty.h5 "p-empty.h5"
prior "members of text" p-text.h5 "dataset members cannot be read"
prior "members that were never written" p-unwritten.h5 "was declared but never written"
prior "NaN in a member" p-nan.h5 "holds nan in row 4, entry 17; all numbers must be finite, but for members that /status marks as failed"
prior "places of fewer entries" p-places.h5 "/coordinates of p-places.h5 is 39; it must be n x 1 to 3, with /members of N = 20 x n = 40"
prior "four coordinates" p-four.h5 "/coordinates of p-four.h5 has 4 numbers a row"
prior "more periods than directions" p-period.h5 "/period of p-period.h5 is 2"
prior "a negative period" p-negative.h5 "/period of p-negative.h5 holds -1"
prior "an entry outside the domain" p-outside.h5 "Coordinate 0 of entry 39 (from 0) is 39. in p-outside.h5, and direction 0 is periodic from 0 to below 39"
prior "an entry at infinity" p-nowhere.h5 "/coordinates of p-nowhere.h5 holds inf. at 6"
prior "kinds that are not whole" p-kind.h5 "/kind of p-kind.h5 must hold integers"
prior "kinds without places" p-orphan.h5 "p-orphan.h5 has /kind and no /coordinates"
prior "states of fewer members" p-status.h5 "/status of p-status.h5 is 19; it must be N integers"
prior "a localization without places" plain.h5 "letkf needs to know where the state's entries are, and plain.h5 has no /coordinates" -localization_radius 4
refuse "too few survivors" "Only 5 of the 20 members of p-lost.h5 are in order" 3 p-lost.h5 obs.h5 new.h5
refuse "more survivors than members" "-run_survivors 21: the prior has 20 members" 1 prior.h5 obs.h5 new.h5 -run_survivors 21

observations "no observation file" nowhere.h5 "Cannot read the observation file nowhere.h5: No such file"
observations "observations that are no HDF5" text.h5 "text.h5 is no HDF5 file"
observations "no observations" o-none.h5 "o-none.h5"
observations "NaN observed" o-nan.h5 "/value of o-nan.h5 holds nan at 3"
observations "negative errors" o-error.h5 "/error of o-error.h5 holds"
observations "errors of fewer observations" o-size.h5 "/error of o-size.h5 has 19 rows, and /value 20"
observations "an entry beyond the state" o-entry.h5 "is of entry 40; the state has entries 0 to 39"
observations "nothing is said to be observed" o-noentry.h5 "has no data set /entry"
observations "no values" o-novalue.h5 "has no data set /value"
observations "an entry twice" o-twice.h5 "Observations 0 and 5 (from 0) of o-twice.h5 are of the same time"
observations "an entry twice at one time" o-sametime.h5 "Observations 0 and 5 (from 0) of o-sametime.h5 are of the same time"
observations "times of fewer observations" o-times.h5 "/time of o-times.h5 has 19 rows"
observations "an R of other size" o-R.h5 "/R of o-R.h5 has 19 rows, and there are 20 observations"
observations "an R that is not positive definite" o-indefinite.h5 "o-indefinite.h5"
observations "places in another space" o-places.h5 "/location of o-places.h5 has 2 coordinates a row, and the model's domain 1"
observations "places outside the domain" o-outside.h5 "lies outside the domain"

for method in ienks esmda oi 3dvar extkf climatology eki etki haber; do
  option "$method" "-analysis_type $method asks more of a model than an analysis on files has; take one of enkf, etkf" -analysis_type $method
done
option "an unknown method" "foo" -analysis_type foo
option "an unknown option" "Unknown option -bogus" -bogus 1
option "an option of another method" "Unknown option -letkf_batch" -letkf_batch 3
option "a negative cycle" "-analyse_cycle -7" -analyse_cycle -7
option "a cycle that is not whole" "-analyse_cycle 1.5" -analyse_cycle 1.5
option "a cycle too large" "-analyse_cycle 4294967298 is too large" -analyse_cycle 4294967298
option "a radius of another method" "Unknown option -localization_radius" -analysis_type etkf -localization_radius 4
option "a localization of another method" "Unknown option -localization_type" -analysis_type etkf -localization_type gaspari-cohn
option "a radius of no localization" "-localization_radius makes no sense with -localization_type none" -localization_radius 4 -localization_type none
option "a solver of a method without" "Unknown option -analysis_ksp_type (the method solves no linear system with a KSP)" -analysis_type enkf -analysis_ksp_type cg
option "no radius" "-localization_radius 0.: the radius" -analysis_type letkf
option "a factor of 0" "-inflation_factor 0." -inflation_factor 0
for settled in observations_type observations_path observations_start observations_operator ensemble_size ensemble_initial snapshot_path restart run_cycles model_type; do
  option "-$settled" "-$settled makes no sense here" -$settled 3
done
option "no posterior before" "There is no snapshot nowhere.h5" -analyse_previous nowhere.h5
option "a prior as the posterior before" "prior.h5 is an HDF5 file but not a snapshot" -analyse_previous prior.h5
option "a snapshot as the posterior before" "-analyse_previous run.h5 is no posterior of kalmia-analyse" -analyse_previous run.h5

refuse "the prior as posterior" "prior.h5 is what is read, and is not overwritten" 1 prior.h5 obs.h5 ./prior.h5
refuse "the observations as posterior" "obs.h5 is what is read, and is not overwritten" 1 prior.h5 obs.h5 obs.h5
refuse "a snapshot as posterior" "run.h5 is there already and holds no posterior" 1 prior.h5 obs.h5 run.h5
refuse "somebody's file as posterior" "text.h5 is there already and holds no posterior" 1 prior.h5 obs.h5 text.h5
refuse "a posterior in a folder that is not there" "folder nowhere" 1 prior.h5 obs.h5 nowhere/new.h5
refuse "no arguments" "kalmia-analyse takes three files before its options, and was given 0" 1
refuse "two arguments" "was given 2" 1 prior.h5 obs.h5 -analysis_type etkf
refuse "four arguments" "was given 4" 1 prior.h5 obs.h5 new.h5 newer.h5
cp prior.h5 new2.h5.tmp
refuse "a prior where the posterior is made" "new2.h5.tmp is what is read, and is not overwritten" 1 new2.h5.tmp obs.h5 new2.h5
check "it stays" cmp -s prior.h5 new2.h5.tmp
rm new2.h5.tmp
same "no file was changed" "$(digest)" "$before"
check "observations of other times are no duplicates" run 2 "$analyse" prior.h5 o-otherhour.h5 hours.h5 >out 2>&1
for help in -help --help; do
  check "$help lists the options" bash -c "'$analyse' $help >help 2>&1 && grep -q analyse_cycle help && grep -q inflation_factor help && grep -q 'kalmia-analyse prior.h5' help"
done

unset OMPI_MCA_orte_abort_on_non_zero_status
# The job script: forecasts of a program of its own, three of which fail, and analyses; then the same by hand.
cat >forecast.py <<'PY'
import sys, h5py, numpy as np
from lorenz import step
analysis, member, cycle, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if (member, cycle) == (5, 0):
    sys.exit(3)
with h5py.File(analysis) as f:
    x = f["members"][member]
for _ in range(2):
    x = step(x)
if (member, cycle) == (2, 1):
    x = x[:-1]
if (member, cycle) == (6, 2):
    x[3] = np.nan
with h5py.File(out, "w") as f:
    f["state"] = x
PY
"$PYTHON" -c '
import h5py
with h5py.File("prior.h5") as f, h5py.File("initial.h5", "w") as g:
    g["members"] = f["members"][:8]
    for k in ("coordinates", "period"):
        g[k] = f[k][()]
'
mkdir bin # a stand-in that starts the step at once
cat >bin/srun <<'SH'
#!/bin/sh
echo "$@" >>srun.log
while [ "${1#--}" != "$1" ]; do shift; done
exec "$@"
SH
chmod +x bin/srun
export PYTHONPATH=$scratch KALMIA_FORECAST="$PYTHON $scratch/forecast.py" KALMIA_INITIAL=initial.h5 KALMIA_OBSERVATIONS=series%d.h5 KALMIA_PYTHON=$PYTHON KALMIA_ANALYSE=$analyse
options=(-analysis_type enkf -inflation_adaptive anderson -run_seed 3)
alternate() { timeout -k 5 240 env "$@" "$KALMIA_SOURCE/jobs/alternate.sh" "${options[@]}" </dev/null; }
check "two cycles of the job script" alternate KALMIA_CYCLES=2 KALMIA_RANKS=2 >out 2>err || cat out err
check "it says which member failed" grep -q 'cycle 0: the forecast of member 5 failed (exit 3)' err
check "which goes on to a third" alternate KALMIA_CYCLES=3 KALMIA_RANKS=3 >out 2>err || cat out err
check "without the first two again" [ "$(grep -c '^result' out)" = 1 ]
check "three as a job of Slurm" alternate KALMIA_CYCLES=3 KALMIA_RANKS=1 KALMIA_WORK=slurm SLURM_JOB_ID=1 SLURM_NTASKS=4 PATH="$PWD/bin:$PATH" >out 2>err || cat out err
check "with a step for each forecast" [ "$(grep -c -- '--ntasks=1 .*forecast.py' srun.log)" = 24 ]
check "its forecasts are cleared away" [ "$(echo slurm/*)" = "slurm/analysis-0.h5 slurm/analysis-1.h5 slurm/analysis-2.h5 slurm/prior-0.h5 slurm/prior-1.h5 slurm/prior-2.h5" ]
hand() {
  local k last=initial.h5 previous=()
  for k in 0 1 2; do
    "$PYTHON" - "$last" "$k" "hand-prior$k.h5" <<'PY' || return 1
import sys, h5py, numpy as np
from lorenz import step
with h5py.File(sys.argv[1]) as f, h5py.File(sys.argv[3], "w") as g:
    x = f["members"][()]
    for _ in range(2):
        x = step(x)
    g["members"] = x
    g["status"] = np.arange(8) == (5, 2, 6)[int(sys.argv[2])]
PY
    run 2 "$analyse" hand-prior$k.h5 series$k.h5 hand$k.h5 -analyse_cycle $k "${previous[@]}" "${options[@]}" || return 1
    last=hand$k.h5
    previous=(-analyse_previous "hand$k.h5")
  done
}
check "the same by hand" hand >out 2>&1 || cat out
check "gives the same members" "$PYTHON" -c '
import h5py
for k in range(3):
    with h5py.File("hand%d.h5" % k) as a:
        for folder in ("alternate", "slurm"):
            with h5py.File("%s/analysis-%d.h5" % (folder, k)) as b:
                assert a["members"][()].tobytes() == b["members"][()].tobytes(), (folder, k)
                assert a["statistics/failed"][()] == b["statistics/failed"][()] == 1 and b["analysis/cycle"][()] == k
                assert "coordinates" in b and "period" in b
'
expect_fail "the observations of cycle 3, series3.h5, cannot be read" alternate KALMIA_CYCLES=4
expect_fail "the analysis of cycle 0 ended without its posterior" alternate KALMIA_CYCLES=1 KALMIA_WORK=none KALMIA_FORECAST=false OMPI_MCA_orte_abort_on_non_zero_status=0
expect_fail "the analysis of cycle 0 ended with exit code 3" alternate KALMIA_CYCLES=1 KALMIA_WORK=none KALMIA_FORECAST=false
expect_fail "has no %d for the cycle" alternate KALMIA_CYCLES=1 KALMIA_OBSERVATIONS=obs.h5
expect_fail "KALMIA_CYCLES=0 is no number of cycles" alternate KALMIA_CYCLES=0
expect_fail "KALMIA_INITIAL is not set" alternate KALMIA_CYCLES=1 KALMIA_INITIAL=
check "nothing is left over" [ -z "$(find . -name '*.tmp*')" ]
summary
