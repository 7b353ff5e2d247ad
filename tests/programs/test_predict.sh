#!/usr/bin/env bash
# kalmia-predict against NumPy's own forward pass from exported members; the same bytes on any number of ranks.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

kalmia=$KALMIA_BIN/kalmia
predict=$KALMIA_BIN/kalmia-predict
inspect=$KALMIA_BIN/kalmia-inspect
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
make_data classes classes.h5 2400 20 4 # more than one block of 500 samples in the test set
make_data regression regression.h5
make_data idx images
"$PYTHON" - <<'PY' || exit 1
import h5py, shutil
with h5py.File("classes.h5") as f, h5py.File("onlyx.h5", "w") as g, h5py.File("narrow.h5", "w") as h:
    g["x"] = f["x_test"][()]
    h["x"] = f["x_test"][:, :-1]
with h5py.File("regression.h5") as f, h5py.File("onlyr.h5", "w") as g:
    g["x"] = 3.0 * f["x_test"][()] + 1.0  # its own mean and deviation must not count
PY

fit() { # fit SNAPSHOT OPTION...
  check "a run for $1" run 2 "$kalmia" -run_monitor_every 0 -run_cycles 8 -observations_batch 100 -ensemble_size 17 -snapshot_path "$@" >"$1.out" 2>&1
}
fit class.h5 -observations_path classes.h5 -observations_samples 400 -observations_normalize feature -mlp_layers 20,9,4 -mlp_activation tanh -analysis_type etki
fit real.h5 -observations_path regression.h5 -observations_normalize standard -mlp_layers 20,9,5,3 -mlp_activation sigmoid -analysis_type eki -eki_momentum nesterov
fit images.h5 -observations_path images -mlp_layers 20,9,4 -analysis_type haber -haber_momentum 0.9 -model_precision single
fit square.h5 -observations_path images -observations_loss squared -mlp_layers 20,9,4 -mlp_activation relu -analysis_type etki -analysis_ksp_type cg -analysis_pc_type none -analysis_ksp_converged_maxits

# both NAME SNAPSHOT DATA OPTION...: predictions on 1 and 3 ranks, in NAME.1 and NAME.3; their datasets are the same.
both() {
  local name=$1 ranks
  shift
  for ranks in 1 3; do
    check "$name on $ranks ranks" run $ranks "$predict" "$@" -output "$name.$ranks" >"$name.out.$ranks" 2>&1 || cat "$name.out.$ranks"
  done
  check "$name: the same bytes, and the same lines" "$PYTHON" - "$name" <<'PY'
import sys, h5py
name = sys.argv[1]
with h5py.File(name + ".1") as a, h5py.File(name + ".3") as b:
    names = []
    a.visit(names.append)
    other = []
    b.visit(other.append)
    assert names == other and "mean" in names
    for k in names:
        if isinstance(a[k], h5py.Dataset) and k not in ("sample", "output"):
            assert a[k][()].tobytes() == b[k][()].tobytes(), k
lines = [open("%s.out.%d" % (name, r)).read().replace("%s.%d" % (name, r), "") for r in (1, 3)]
assert lines[0] == lines[1] and lines[0].startswith("predictions: ")
PY
  check "$name verifies" "$inspect" --verify "$name.3"
}

both class class.h5 classes.h5 -predict_set test
both train class.h5 classes.h5
both onlyx class.h5 onlyx.h5
both real real.h5 regression.h5 -predict_set test
both onlyr real.h5 onlyr.h5
both images images.h5 images -predict_set test
both list images.h5 images/train-images-idx3-ubyte,images/train-labels-idx1-ubyte.gz
both onlyi images.h5 images/t10k-images-idx3-ubyte
both square square.h5 images -predict_set test

for name in class real square; do "$inspect" $name.h5 --export members $name-members.npy && "$inspect" $name.h5 --export mean $name-mean.npy; done
"$inspect" images.h5 --export mean images-mean.npy
check "NumPy predicts the same" "$PYTHON" - <<'PY'
import struct, h5py, numpy as np

act = {"tanh": np.tanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z)), "relu": lambda z: np.maximum(z, 0)}

def forward(state, widths, f, x):
    at = 0
    for l, (a, b) in enumerate(zip(widths, widths[1:])):
        w = state[at:at + a * b].reshape(b, a)
        c = state[at + a * b:at + (a + 1) * b]
        at += (a + 1) * b
        x = x @ w.T + c
        if l < len(widths) - 2:
            x = f(x)
    assert at == len(state)
    return x

def softmax(g):
    e = np.exp(g - g.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)

def compare(file, outputs, mean, labels, tol):
    with h5py.File(file) as f:
        assert f["mean"].shape == f["spread"].shape == f["prediction_of_mean"].shape == mean.shape, file
        assert np.allclose(f["prediction_of_mean"], mean, rtol=0, atol=tol), file
        if outputs is not None:
            assert np.allclose(f["mean"], outputs.mean(0), rtol=0, atol=tol), file
            assert np.allclose(f["spread"], outputs.std(0, ddof=1), rtol=0, atol=tol), file
            assert f["spread"][()].max() > 1e-4, file
        assert ("class" in f) == labels, file
        if labels:
            assert np.array_equal(f["class"], np.argmax(f["mean"], 1)), file
        assert f["mean"].dims[0][0].name == "/sample" and f["mean"].dims[1][0].name == "/output", file
        assert "probabilities" in f["mean"].attrs["long_name"].decode() if file.startswith(("class", "images")) else True

def normal(run, x):
    with h5py.File(run) as f:
        return (x - f["observations/input_mean"][()]) / f["observations/input_deviation"][()]

with h5py.File("classes.h5") as f:
    x, y, xt, yt = (f[k][()] for k in ("x", "y", "x_test", "y_test"))
with h5py.File("class.h5") as f:  # of the 400 samples that were used
    assert np.allclose(f["observations/input_mean"], x[:400].mean(0)) and np.allclose(f["observations/input_deviation"], x[:400].std(0))
members, mean = np.load("class-members.npy"), np.load("class-mean.npy")
for file, a in (("class.3", xt), ("train.3", x), ("onlyx.3", xt)):
    a = normal("class.h5", a)
    p = np.array([softmax(forward(m, [20, 9, 4], act["tanh"], a)) for m in members])
    compare(file, p, softmax(forward(mean, [20, 9, 4], act["tanh"], a)), True, 1e-12)

def result(file):
    line = [l for l in open(file) if l.startswith("result: ")]
    return dict(w.split("=") for w in line[0].split()[1:]) if line else None

# The scores, computed anew.
a = normal("class.h5", xt)
p, q = softmax(forward(mean, [20, 9, 4], act["tanh"], a)), np.array([softmax(forward(m, [20, 9, 4], act["tanh"], a)) for m in members]).mean(0)
r = result("class.out.1")
for suffix, s in (("", p), ("_ensemble", q)):
    right = s.argmax(1) == yt
    nll = -np.log(s[np.arange(len(yt)), yt]).mean()
    rmse = np.sqrt(((s - np.eye(4)[yt]) ** 2).mean())
    confidence = s.max(1)
    bins = np.ceil(confidence * 15).astype(int) - 1
    ece = sum(abs(right[bins == b].sum() - confidence[bins == b].sum()) for b in range(15)) / len(yt)
    for key, value in (("accuracy", right.mean()), ("nll", nll), ("ece", ece), ("rmse", rmse)):
        assert abs(float(r[key + suffix]) - value) < 6e-5, (key + suffix, r, value)
assert int(r["samples"]) == len(yt) == 600
assert result("onlyx.out.1") is None and result("onlyr.out.3") is None and result("onlyi.out.3") is None
# As the run itself scored its end, on the same test set.
for name in ("class", "real", "images", "square"):
    ended, now = result(name + ".h5.out"), result(name + ".out.3")
    for key in now:
        if key != "samples":
            assert ended[key] == now[key], (name, key, ended[key], now[key])

with h5py.File("regression.h5") as f, h5py.File("onlyr.h5") as g:
    sets = (("real.3", f["x_test"][()]), ("onlyr.3", g["x"][()]))
members, mean = np.load("real-members.npy"), np.load("real-mean.npy")
for file, a in sets:
    a = normal("real.h5", a)
    g = np.array([forward(m, [20, 9, 5, 3], act["sigmoid"], a) for m in members])
    compare(file, g, forward(mean, [20, 9, 5, 3], act["sigmoid"], a), False, 1e-12)

def idx(path):
    b = open(path, "rb").read()
    n = struct.unpack(">I", b[4:8])[0]
    return np.frombuffer(b[16:], np.uint8).reshape(n, -1).astype(float)
test, train = idx("images/t10k-images-idx3-ubyte"), idx("images/train-images-idx3-ubyte")
mean = np.load("images-mean.npy")
for file, a in (("images.3", test), ("list.3", train), ("onlyi.3", test)):
    compare(file, None, softmax(forward(mean, [20, 9, 4], act["relu"], normal("images.h5", a))), True, 1e-5)
members, mean = np.load("square-members.npy"), np.load("square-mean.npy")
a = normal("square.h5", test)
compare("square.3", np.array([forward(m, [20, 9, 4], act["relu"], a) for m in members]), forward(mean, [20, 9, 4], act["relu"], a), True, 1e-11)
PY

cp class.h5 before.h5
cp classes.h5 before-data.h5
expect_fail "class.h5 is there already and holds no predictions" run 2 "$predict" class.h5 classes.h5 -output class.h5
expect_fail "classes.h5 is there already and holds no predictions" run 2 "$predict" class.h5 classes.h5 -output ./classes.h5
expect_fail "is there already and holds no predictions" run 1 "$predict" images.h5 images -output images/train-images-idx3-ubyte
check "snapshot and data are as they were" bash -c "cmp -s class.h5 before.h5 && cmp -s classes.h5 before-data.h5"
expect_fail "The data have no test set" run 2 "$predict" class.h5 onlyx.h5 -predict_set test
expect_fail "has 20 means and standard deviations" run 1 "$predict" class.h5 narrow.h5
expect_fail "-mlp_layers begins with 20 but the data have 19 inputs" run 2 "$predict" real.h5 narrow.h5
expect_fail "needs class labels" run 1 "$predict" class.h5 regression.h5
expect_fail "none.h5 does not exist" run 2 "$predict" class.h5 none.h5
expect_fail "There is no snapshot none.h5" run 2 "$predict" none.h5 classes.h5
expect_fail "not a snapshot" run 2 "$predict" classes.h5 classes.h5
expect_fail "a snapshot and the data" run 2 "$predict" class.h5
expect_fail "Unknown option -bogus" run 2 "$predict" class.h5 classes.h5 -bogus 1
expect_fail "nowhere" run 2 "$predict" class.h5 classes.h5 -output nowhere/p.h5
expect_fail "model/layout" run 2 "$predict" class.h5 classes.h5 -mlp_layers 20,8,4
check "an earlier file of predictions is replaced" run 2 "$predict" class.h5 onlyx.h5 -output train.3 >out 2>&1
check "by the new one" "$PYTHON" -c 'import h5py; assert h5py.File("train.3")["mean"].shape == (600, 4)'
check "nothing is left over" [ -z "$(find . -name '*.tmp*')" -a ! -e predictions.h5 ]
summary
