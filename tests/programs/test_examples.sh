#!/usr/bin/env bash
# labels: install
# Each example of share/examples, built against an installed Kalmia by the commands of its page and run: the same bits on 1, 2
# and 3 ranks, and estimates that agree with the truth and with posteriors computed by NumPy.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python
compgen -G "$KALMIA_BUILD/lib/libkalmia.so*" >/dev/null || skip "plug-ins need a shared libkalmia"

quiet() {
  "$@" >log 2>&1 || { tail -n 40 log; return 1; }
}
# posterior SNAPSHOT MODULE-TEXT: compares the members with the Gauss-Newton posterior of predict(u) -> y, prior and R in the text.
posterior() {
  "$PYTHON" - "$1" "$2" <<'PY'
import sys, h5py, numpy as np
space = {"np": np, "h5py": h5py}
exec(sys.argv[2], space)
predict, mean0, sd0, y, r, truth = (space[k] for k in ("predict", "mean0", "sd0", "y", "r", "truth"))
with h5py.File(sys.argv[1]) as f:
    members = f["ensemble/members"][()]
mean0, sd0, truth = np.asarray(mean0, float), np.asarray(sd0, float), np.asarray(truth)
u = truth.copy()
for _ in range(50):
    g = predict(u)
    J = np.stack([(predict(u + e) - predict(u - e)) / 2e-5 for e in 1e-5 * np.eye(len(u))], 1)
    cov = np.linalg.inv(J.T @ J / r + np.diag(1 / sd0**2))
    u = u + cov @ (J.T @ (y - g) / r + (mean0 - u) / sd0**2)
sd = np.sqrt(np.diag(cov))
m, s = members.mean(0), members.std(0, ddof=1)
print("posterior", u, sd, "members", m, s, "truth", truth)
assert (abs(m - u) < 0.5 * sd).all() and (abs(s / sd - 1) < 0.35).all() and (abs(m - truth) < 3 * s).all()
PY
}

check "cmake --install" quiet cmake --install "$KALMIA_BUILD" --prefix "$scratch/kalmia" || summary
examples=$(dirname "$(find "$scratch/kalmia" -name estimate.py)")
check "the examples are installed" [ -s "$examples/README.md" ] || summary
export PATH=$scratch/kalmia/bin:$PATH CMAKE_PREFIX_PATH=$scratch/kalmia
PKG_CONFIG_PATH=$(dirname "$(find "$scratch/kalmia" -name kalmia.pc)")${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
export PKG_CONFIG_PATH

# bits "what" COMMAND...: the same checksum on 1, 2 and 3 ranks
bits() {
  local what=$1 first='' ranks
  shift
  for ranks in 1 2 3; do
    check "$what: runs on $ranks" run $ranks "$@" >out || cat out
    first=${first:-$(result_value checksum <out)}
    same "$what: the same bits" "$(result_value checksum <out)" "$first"
  done
}

# C functions
cd "$examples/shell" || exit 1
check "shell: configures" quiet cmake -B build
check "shell: builds" quiet cmake --build build
bits shell build/logistic -options_file logistic.yaml -snapshot_path run.h5
check "shell: prints its estimates" [ "$(grep -c '^log [rK]: truth .* estimate .* +- ' out)" = 2 ]
cat >data.c <<'C'
#include <kalmia.h>
int main(int argc, char **argv)
{
  double z[20];
  PetscCall(PetscInitialize(&argc, &argv, NULL, NULL));
  PetscCall(KalDrawNormal((KalKey){.seed = 1, .purpose = KAL_DRAW_TEST}, 0, 20, z));
  for (int i = 0; i < 20; i++) printf("%.17g\n", z[i]);
  return (int)PetscFinalize();
}
C
# shellcheck disable=SC2046 # flags are words
check "shell: a program builds with pkg-config" quiet "${CC:-cc}" -std=c11 data.c -o data $(pkg-config --cflags --libs kalmia) -lm "-Wl,-rpath,$(pkg-config --variable=libdir kalmia)"
./data >errors.txt
check "shell: the posterior of the closed form" posterior run.h5 '
t = 0.5 * np.arange(1, 21)
def predict(u):
    r, K = np.exp(u)
    return K / (1 + (K / 0.5 - 1) * np.exp(-r * t))
mean0, sd0, r, truth = [0, 1.5], [0.7, 0.7], 0.01, [np.log(0.8), np.log(10)]
y = predict(np.array(truth)) + 0.1 * np.loadtxt("errors.txt")' || true

# A plug-in
cd "$examples/heat" || exit 1
check "heat: configures" quiet cmake -B build
check "heat: builds" quiet cmake --build build
cp build/libheat.so .
"$PYTHON" makedata.py heat.h5
bits heat kalmia -options_file heat.yaml
check "heat: prints its estimates" "$PYTHON" ../estimate.py heat-run.h5 left right
check "heat: the posterior of another solution, and the truth" posterior heat-run.h5 '
import sys; sys.path.insert(0, ".")
from makedata import temperatures
with h5py.File("heat.h5") as f:
    y, truth = f["y"][()], f.attrs["logk"]
def predict(u):
    return temperatures(u, [0.1, 0.3, 0.5, 0.7, 0.9], np.arange(1, 11) * 0.05, 200).ravel()
mean0, sd0, r = [-2, -2], [1, 1], 1e-4'
"$PYTHON" makedata.py three.h5 0.01 -1 -3 -2
sed 's/etki/eki/; s/heat-run/three-run/; s/path: heat.h5/path: three.h5/' heat.yaml >three.yaml
check "heat: three zones by perturbed observations" run 2 kalmia -options_file three.yaml -heat_zones 3 -eki_update stochastic -ensemble_size 200 -eki_step 0.02 -run_evaluate_ensemble 0 >out || cat out
check "heat: the truth of three zones" "$PYTHON" - <<'PY2'
import h5py, numpy as np
with h5py.File("three-run.h5") as f, h5py.File("three.h5") as g:
    u, truth = f["ensemble/members"][()], g.attrs["logk"]
print(u.mean(0), u.std(0), truth)
assert (abs(u.mean(0) - truth) < 4 * u.std(0, ddof=1)).all() and (u.std(0) < 0.2).all()
PY2
# shellcheck disable=SC2046
check "heat: builds with pkg-config" quiet "${CC:-cc}" -std=c11 -shared -fPIC heat.c -o libheat2.so $(pkg-config --cflags --libs kalmia)
check "heat: and runs" quiet run 1 kalmia -options_file heat.yaml -model_type ./libheat2.so -run_cycles 1

# An external command
cd "$examples/command" || exit 1
"$PYTHON" makedata.py decay.h5
bits command kalmia -options_file decay.yaml
check "command: prints its estimates" "$PYTHON" ../estimate.py decay-run.h5 a b
check "command: the posterior" posterior decay-run.h5 '
with h5py.File("decay.h5") as f:
    t, y, truth = f["x"][()], f["y"][()], f.attrs["truth"]
def predict(u):
    return np.exp(u[0] - np.exp(u[1]) * t)
mean0, sd0, r = [0, 0], [1, 1], 0.0025'
cd "$scratch" || exit 1
summary
