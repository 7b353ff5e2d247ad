#!/usr/bin/env bash
# An external command as the model: parameters estimated and states forecast with the same bits on 1, 2 and 3 ranks and after a
# restart; commands that fail in every way are failed members; no shell, no launcher's variables, nothing left behind.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

kalmia=$KALMIA_BIN/kalmia
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
mkdir tmp "a folder"
export TMPDIR=$PWD/tmp

# y(t) = a + b t, in C: line STATE OUTPUT INPUT [MEMBER MODE ...]; a MODE "m=x" makes member m do x. Not linked to anything.
cat >line.c <<'C'
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv)
{
  double x[2], t[1000], y[1000];
  size_t i, n;
  FILE  *f = fopen(argv[1], "rb");
  char   kind = 'o';

  if (!f || fread(x, 8, 2, f) != 2 || fgetc(f) != EOF) return 3;
  fclose(f);
  f = fopen(argv[3], "rb");
  if (!f) return 4;
  n = fread(t, 8, 1000, f);
  fclose(f);
  for (i = 5; i < (size_t)argc; i++) {
    char *end = strchr(argv[i], '=');
    if (end && strtol(argv[i], NULL, 10) == strtol(argv[4], NULL, 10)) kind = end[1];
  }
  for (i = 0; i < n; i++) y[i] = x[0] + x[1] * t[i];
  if (kind == 'c') { /* crashes */
    fprintf(stderr, "about to crash\n");
    raise(SIGABRT);
  }
  if (kind == 'x') return 9;
  if (kind == 'h') sleep(1000);
  if (kind == 'g') n--;
  if (kind == 'n') y[0] = 0.0 / (y[0] - y[0]);
  if (kind == 'm') return 0;
  f = fopen(argv[2], "wb");
  if (!f || fwrite(y, 8, n, f) != n) return 5;
  return fclose(f) ? 6 : 0;
}
C
check "the command is built" "${CC:-cc}" -O1 line.c -o "a folder/line it" || summary
"$PYTHON" - <<'PY' || exit 1
import h5py, numpy
t = numpy.linspace(0, 3, 12)
with h5py.File("line.h5", "w") as f:
    f["x"], f["y"] = t, 1 + 2 * t + 0.1 * numpy.random.default_rng(1).normal(size=t.size)
PY
line='"./a folder/line it" {state} {output} {input} {member}'
common="-observations_path line.h5 -observations_noise 0.01 -model_type command -command_state 2 -command_mean 0,1 -command_spread 2 -ensemble_size 9 -run_seed 3 -analysis_type etki -etki_target posterior -etki_step 0.2 -run_monitor_every 0"
go() { # go RANKS COMMAND OPTION...
  local ranks=$1 command=$2
  shift 2
  # shellcheck disable=SC2086 # options are words
  run "$ranks" "$kalmia" $common -model_command "$command" "$@" >out 2>err
}
# shellcheck disable=SC2317 # called by check
# What a run may leave: nothing in the scratch folder, no process.
clean() {
  ! compgen -G "tmp/kalmia-*" >/dev/null && ! pgrep -f "$PWD/tmp/kalmia-member" >/dev/null
}

first=
for ranks in 1 2 3; do
  check "it runs on $ranks" go $ranks "$line" -snapshot_path run.h5 || cat err
  first=${first:-$(result_value checksum <out)}
  same "the same bits" "$(result_value checksum <out)" "$first"
  check "nothing is left" clean
done
check "the posterior is that of the line" "$PYTHON" - <<'PY'
import h5py, numpy as np
with h5py.File("line.h5") as f:
    t, y = f["x"][()], f["y"][()]
with h5py.File("run.h5") as f:
    u = f["ensemble/members"][()]
G = np.stack([np.ones_like(t), t], 1)
precision = G.T @ G / 0.01 + np.eye(2) / 4
mean = np.linalg.solve(precision, G.T @ y / 0.01 + np.array([0, 1]) / 4)
cov = np.linalg.inv(precision)
# the members' own prior moments differ from (0, 1) and 4, which the data outweigh a hundred times
assert np.allclose(u.mean(0), mean, atol=0.2 * np.sqrt(np.diag(cov))), (u.mean(0), mean)
assert np.allclose(np.cov(u.T), cov, rtol=0.2, atol=0), (np.cov(u.T), cov)
PY
check "several at once on a rank" go 2 "$line" -command_parallel 3
same "give the same bits" "$(result_value checksum <out)" "$first"
go 1 "$line" -run_cycles 2 -snapshot_path half.h5
check "a restart has the command with its quotes" run 3 "$kalmia" -restart half.h5 -run_cycles 5 -snapshot_path other.h5 >out
same "and the same bits" "$(result_value checksum <out)" "$first"
printf 'model:\n  type: command\n  command: "%s"\n' "${line//\"/\\\"}" >line.yaml
# shellcheck disable=SC2086
check "a command from an option file" run 1 "$kalmia" $common -options_file line.yaml >out
same "gives the same bits" "$(result_value checksum <out)" "$first"

# Members that fail: the run goes on, the same on every number of ranks.
for case in "c=it ended by signal 6 (Aborted); its output ends: about to crash" "x=it ended with exit status 9" "g=it wrote 88 bytes and not the 96 of 12 numbers" "n=number 0 of its output is" "m=it wrote no output"; do
  kind=${case%%=*}
  bits=
  for ranks in 1 2 3; do
    check "$kind: goes on, on $ranks" go $ranks "$line 4=$kind" || cat err
    bits=${bits:-$(result_value checksum <out)}
    same "$kind: the same bits" "$(result_value checksum <out)" "$bits"
    check "$kind: told with its reason" grep -qE "^kalmia: warning: the command failed for 1 of [0-9]+ members \(observe\); member 4: $(sed 's/[()]/\\&/g' <<<"${case#*=}")" err || cat err
    check "$kind: counted" [ "$(grep -c '1 failed member redrawn\|1 failed members redrawn' out)" = 5 ]
    check "$kind: nothing is left" clean
  done
  check "$kind: other bits than without failures" [ "$bits" != "$first" ]
done
check "two kinds at once, tried again" go 2 "$line 4=x 7=n" -command_retries 1
check "told so" grep -q 'member 4, at the last of 2 tries: it ended with exit status 9' err

# A command that hangs ends in time, and does not outlive its rank.
before=$SECONDS
check "hangs: goes on" go 2 "$line 4=h" -command_timeout 3 -run_cycles 1 -run_evaluate_ensemble 0
check "hangs: told" grep -q 'member 4: it ran longer than 3 seconds (-command_timeout) and was told to end' err
check "hangs: in time" [ $((SECONDS - before)) -lt 60 ]
check "hangs: nothing is left" clean
# shellcheck disable=SC2086
"$kalmia" $common -model_command "$line 4=h" >out 2>err </dev/null &
rank=$!
for _ in $(seq 200); do
  child=$(pgrep -P $rank -f 'line it.* 4 4=h' | head -n 1)
  [ -n "$child" ] && break
  sleep 0.1
done
check "hangs: started" [ -n "$child" ]
kill -KILL $rank
wait $rank 2>/dev/null
for _ in $(seq 50); do kill -0 "$child" 2>/dev/null || break; sleep 0.1; done
check "hangs: dies with its rank" bash -c "! kill -0 ${child:-1} 2>/dev/null"
rm -rf tmp/kalmia-member-*

code=0
go 2 "$line 0=x 1=x 2=c 3=x 4=x 5=m" || code=$?
check "too few survivors: exit code 3" [ $code = 3 ]
check "too few survivors: nothing is left" clean

# No shell: what would be commands to one are words.
"$PYTHON" - <<'PY'
open("words.py", "w").write("""#!%s
import array, os, sys
x = array.array("d"); x.frombytes(open(sys.argv[1], "rb").read())
t = array.array("d"); t.frombytes(open(sys.argv[3], "rb").read())
with open("seen-" + sys.argv[4], "w") as f:
    print(sys.argv[5:], file=f)
    print(sorted(k for k in os.environ if k.startswith(("OMPI_", "PMIX_", "PMI_", "ORTE_", "SLURM_"))), file=f)
    print(oct(os.stat(os.path.dirname(sys.argv[1])).st_mode & 0o777), file=f)
open(sys.argv[2], "wb").write(array.array("d", [x[0] + x[1] * s for s in t]).tobytes())
""" % __import__("sys").executable)
PY
chmod +x words.py
export SLURM_JOB_ID=12 SLURM_PROCID=1 SLURM_STEP_ID=0 SLURM_NTASKS=2
# shellcheck disable=SC2016 # nothing is to be expanded
check "words of a shell" go 2 './words.py {state} {output} {input} {member} ; rm -rf precious & $(touch hacked) `touch hacked` | > hacked "a b" '"'; touch hacked' * {{x}} {size}" -run_cycles 1 || cat err
unset SLURM_JOB_ID SLURM_PROCID SLURM_STEP_ID SLURM_NTASKS
check "mean nothing" [ ! -e hacked ]
check "are handed on as they are" grep -qxF "[';', 'rm', '-rf', 'precious', '&', '\$(touch', 'hacked)', '\`touch', 'hacked\`', '|', '>', 'hacked', 'a b', '; touch hacked', '*', '{x}', '2']" seen-3 || cat seen-3
check "none of the launcher's variables, the job's alone" grep -qxF "['SLURM_JOB_ID']" seen-3 || cat seen-3
check "a folder of its own" grep -qxF "0o700" seen-3
same "and the same bits" "$(go 2 './words.py {state} {output} {input} {member}' && result_value checksum <out)" "$first"

check "folders that are kept" go 2 "$line" -command_keep -command_scratch "a folder" -run_cycles 1 -run_evaluate_ensemble 0
check "are there" bash -c "[ -s 'a folder'/kalmia-member-3-*/state ] && [ -s 'a folder'/kalmia-member-3-*/output ] && [ -e 'a folder'/kalmia-member-3-*/log ] && [ \"\$(stat -c %a 'a folder'/kalmia-member-3-*)\" = 700 ]"
check "help" bash -c "'$kalmia' -model_type command -help >help && grep -q -- -command_timeout help"

# Forecasts: Lorenz-63 as a command against the model of that name, in a twin experiment.
cat >lorenz.c <<'C'
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static void f(const double *x, double *d)
{
  d[0] = 10 * (x[1] - x[0]);
  d[1] = x[0] * (28 - x[2]) - x[1];
  d[2] = x[0] * x[1] - 8.0 / 3.0 * x[2];
}
int main(int argc, char **argv) /* TASK STATE OUTPUT FROM TO SAMPLES */
{
  const double from = atof(argv[4]), to = atof(argv[5]), h = 0.01;
  double       x[3], a[3], b[3], c[3], d[3], y[3];
  FILE        *s = fopen(argv[2], "rb");
  int          i, k, n = 3;

  if (argc != 7 || !s || fread(x, 8, 3, s) != 3) return 1;
  if (!strcmp(argv[1], "observe")) {
    if (from != to || strcmp(argv[6], "2")) return 2;
    x[1] = x[2];
    n    = 2;
  } else {
    for (k = (int)floor((to - from) / h + 0.5); k > 0; k--) {
      f(x, a);
      for (i = 0; i < 3; i++) y[i] = x[i] + h / 2 * a[i];
      f(y, b);
      for (i = 0; i < 3; i++) y[i] = x[i] + h / 2 * b[i];
      f(y, c);
      for (i = 0; i < 3; i++) y[i] = x[i] + h * c[i];
      f(y, d);
      for (i = 0; i < 3; i++) x[i] += h / 6 * (a[i] + 2 * b[i] + 2 * c[i] + d[i]);
    }
  }
  s = fopen(argv[3], "wb");
  return !s || fwrite(x, 8, n, s) != (size_t)n || fclose(s);
}
C
check "lorenz: is built" "${CC:-cc}" -O1 lorenz.c -o lorenz -lm
twin="-observations_type twin -observations_interval 0.1 -observations_noise 2 -analysis_type etkf -ensemble_size 6 -run_cycles 6 -run_seed 4 -run_monitor_every 0"
prior="-model_type command -command_state 3 -command_step 0.01 -command_mean 1.509,-1.531,25.46 -command_spread 1.4142135623730951"
words="./lorenz {task} {state} {output} {from} {to} {samples}"
# shellcheck disable=SC2086
check "lorenz: the model of that name" run 1 "$kalmia" $twin -model_type lorenz63 -observations_stride 2 -snapshot_path own.h5 >out
bits=
for ranks in 1 2 3; do
  # shellcheck disable=SC2086
  check "lorenz: by a command, on $ranks" run $ranks "$kalmia" $twin $prior -model_command "$words" -command_task forecast -observations_stride 2 -snapshot_path theirs.h5 >out
  bits=${bits:-$(result_value checksum <out)}
  same "lorenz: the same bits" "$(result_value checksum <out)" "$bits"
done
check "lorenz: the same members to rounding" "$PYTHON" - <<'PY'
import h5py, numpy as np
with h5py.File("own.h5") as f, h5py.File("theirs.h5") as g:
    a, b = f["ensemble/members"][()], g["ensemble/members"][()]
assert a.shape == (6, 3) and np.ptp(a[:, 0]) > 1e-3 and np.allclose(a, b, rtol=0, atol=1e-9), abs(a - b).max()
PY
# shellcheck disable=SC2086
check "lorenz: what is observed by the command too" run 2 "$kalmia" $twin $prior -model_command "$words" -command_task both -observations_operator model -observations_count 2 >out
same "lorenz: the same bits" "$(result_value checksum <out)" "$bits"
check "lorenz: nothing is left" clean

refused() { go 2 "./nosuch {state} {output}" || { cat err; return 1; }; }
expect_fail "./nosuch is not there, or is no file that can be executed" refused
elsewhere() { go 3 "$line" -command_scratch nowhere || { cat err; return 1; }; }
expect_fail "The scratch folder nowhere (-command_scratch) is not there" elsewhere
summary
