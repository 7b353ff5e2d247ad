#!/usr/bin/env bash
# Runs the cases of this folder, each on a cluster of its own, a few at a time; prints "passed: NAME", "failed: NAME" or
# "skipped: NAME" for each, and the output of those that failed. Arguments: cases to run, as in  tests/slurm/run.sh limit node
#   KALMIA_BUILD       build folder (default: build in the tree)
#   KALMIA_SLURM_MODE  net, ns or plain (default: the first that this machine allows; see cluster.sh)
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
KALMIA_SOURCE=$(cd "$here/../.." && pwd)
KALMIA_BUILD=${KALMIA_BUILD:-$KALMIA_SOURCE/build}
KALMIA_BUILD=$(cd "$KALMIA_BUILD" && pwd) || exit 1
export KALMIA_SOURCE KALMIA_BUILD
# shellcheck source=tests/slurm/cluster.sh
. "$here/cluster.sh"
export KALMIA_SLURM_MODE=${KALMIA_SLURM_MODE:-$(cluster_choose)}
echo "virtual nodes in mode $KALMIA_SLURM_MODE"
if [ $# -eq 0 ]; then set -- limit node signals chain nodes scaling sweep damage; fi # the long ones first
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

one() {
  local code=0 start=$SECONDS what=failed
  timeout -k 30 "${KALMIA_SLURM_LIMIT:-400}" bash "$here/case_$1.sh" >"$logs/$1" 2>&1 || code=$?
  case $code in 0) what=passed ;; 77) what=skipped ;; esac
  { # in one go: others write, too
    if [ $what != passed ]; then sed 's/^/    /' "$logs/$1"; fi
    echo "$what: slurm $1 ($((SECONDS - start)) s)"
  } >"$logs/$1.report"
  cat "$logs/$1.report"
}
running=0
for case; do
  if [ $running -ge 3 ]; then
    wait -n
    running=$((running - 1))
  fi
  one "$case" &
  running=$((running + 1))
done
wait
! grep -q '^failed: ' "$logs"/*.report
