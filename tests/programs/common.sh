# shellcheck shell=bash
# For end-to-end tests in bash, run by ctest with KALMIA_BIN (the folder of the programs), KALMIA_BUILD (the
# build folder), KALMIA_SOURCE and MPIEXEC. A test sources this file, calls `check` and `expect_fail`, and ends:
#
#   . "$KALMIA_SOURCE/tests/programs/common.sh"
#   run 2 "$KALMIA_BIN/kalmia" -run_cycles 3 >first
#   check "the first run reports its cycles" [ "$(result_value cycles <first)" = 3 ]
#   expect_fail "Unknown option -no_such" run 2 "$KALMIA_BIN/kalmia" -no_such 1
#   summary
#
# The test begins in an empty scratch folder, which is removed when it exits; KEEP=1 keeps it.
set -uo pipefail

KALMIA_SOURCE=${KALMIA_SOURCE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
# shellcheck source=jobs/setup.sh
. "$KALMIA_SOURCE/jobs/setup.sh"
KALMIA_BUILD=${KALMIA_BUILD:-$KALMIA_SOURCE/build}
KALMIA_BIN=${KALMIA_BIN:-$KALMIA_BUILD}
MPIEXEC=${MPIEXEC:-mpiexec}
# A Python with numpy and h5py: Debian's own before one that stands earlier in PATH.
PYTHON=${KALMIA_PYTHON:-}
for python in /usr/bin/python3 python3; do
  if [ -z "$PYTHON" ] && "$python" -c 'import h5py, numpy' 2>/dev/null; then PYTHON=$python; fi
done

exec 3>&1 # the report, whatever a case's own output is sent to
scratch=$(mktemp -d "${TMPDIR:-/tmp}/kalmia-test.XXXXXX")
checks=0
failures=0
ended=0
cd "$scratch" || exit 1

leave() {
  local code=$?
  cd / || true
  if [ "${KEEP:-0}" = 1 ]; then echo "kept: $scratch"; else rm -rf "$scratch"; fi
  if [ $ended = 0 ]; then
    echo "not ok: the test ended before its summary"
    exit $((code ? code : 1))
  fi
}
trap leave EXIT

# run N COMMAND...: COMMAND on N ranks, at most KALMIA_LIMIT seconds (a hang is a failure).
run() {
  local ranks=$1
  shift
  timeout -k 5 "${KALMIA_LIMIT:-240}" "$MPIEXEC" -n "$ranks" "$@" </dev/null
}

# check "what should hold" COMMAND...: one case, passed if COMMAND returns 0. Where nothing else makes sense
# without it: check ... || summary
check() {
  local what=$1
  shift
  checks=$((checks + 1))
  if "$@"; then
    echo "ok: $what" >&3
  else
    echo "not ok: $what" >&3
    echo "    ($*)" >&3
    failures=$((failures + 1))
    return 1
  fi
}

# sanitized: whether the programs were built with sanitizers: ten times as slow, and looking for other things, so fewer cases do.
sanitized() { [ -n "${ASAN_OPTIONS:-}" ]; }

# same "what" A B: one case, passed if the two words are the same and not empty.
same() {
  check "$1: $2 and $3" [ -n "$2" -a "$2" = "$3" ]
}

# expect_fail "message" COMMAND...: one case, passed if COMMAND returns non-zero in time, is not killed by a
# signal, and says `message` on standard output or error. A program that refuses its input need not free all it
# took, so leaks are not looked for here; the other reports of a sanitizer are.
expect_fail() {
  local message=$1 code=0
  shift
  checks=$((checks + 1))
  ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" "$@" >"$scratch/.expect_fail" 2>&1 || code=$?
  if [ $code -eq 0 ]; then
    echo "not ok: should have failed with \"$message\": $*"
  elif [ $code -eq 124 ] || [ $code -ge 128 ]; then
    echo "not ok: hung or crashed (exit $code): $*"
  elif grep -qE 'AddressSanitizer|runtime error:' "$scratch/.expect_fail"; then
    echo "not ok: a sanitizer's report: $*"
  elif ! grep -qF -- "$message" "$scratch/.expect_fail"; then
    echo "not ok: failed (exit $code) without saying \"$message\": $*"
  else
    echo "ok: refused with \"$message\""
    return 0
  fi
  sed 's/^/    | /' "$scratch/.expect_fail" | head -n 40
  failures=$((failures + 1))
  return 0
}

# need_python: ends the test as skipped where there is no Python with numpy and h5py.
need_python() {
  [ -n "$PYTHON" ] || skip "no Python with numpy and h5py (Debian: python3-h5py)"
}

# make_data KIND OUT [SAMPLES [INPUTS [CLASSES]]]: a small data set, see makedata.py.
make_data() {
  "$PYTHON" "$KALMIA_SOURCE/tests/programs/makedata.py" "$@" || exit 1
}

# result_value KEY <OUTPUT: the value of KEY in the last line "result: key=value ..." of a run's output.
result_value() {
  sed -n 's/^result: //p' | tail -n 1 | tr ' ' '\n' | sed -n "s/^$1=//p" | head -n 1
}

# skip "why": ends the test as skipped.
skip() {
  echo "skipped: $1"
  ended=1
  exit 77
}

summary() {
  ended=1
  echo "$((checks - failures)) of $checks checks passed"
  if [ $checks -eq 0 ] || [ $failures -gt 0 ]; then exit 1; fi
  exit 0
}
