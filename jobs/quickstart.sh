#!/usr/bin/env bash
# Trains a network on Fashion-MNIST layer by layer, with forward passes and local ensemble analyses, on all cores of this machine.
#   KALMIA_OUT    the snapshot to write (default: quickstart.h5 in the current folder)
#   KALMIA_RANKS  how many ranks (default: as many as cores)
# Arguments are handed on to kalmia, after the options of share/kalmia/quickstart.yaml.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=jobs/setup.sh
. "$root/jobs/setup.sh"

out=${KALMIA_OUT:-}
if [ -z "$out" ]; then
  out=quickstart.h5
  for ((i = 2; ; i++)); do # an earlier run's snapshot stays
    [ -e "$out" ] || break
    out=quickstart-$i.h5
  done
elif [ -e "$out" ]; then
  echo "quickstart: $out exists already; move it or name another file in KALMIA_OUT" >&2
  exit 1
fi

kal_packages data
echo "quickstart: building in $root/build"
kal_build programs "$root" "$root/build"

ranks=${KALMIA_RANKS:-$(kal_cores)}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run=(mpiexec -n "$ranks" "$root/build/kalmia" -options_file "$root/share/kalmia/quickstart.yaml" -snapshot_path "$out" "$@")
echo "quickstart: ${run[*]}"
"${run[@]}" | tee "$log"

result=$(grep '^result: ' "$log" | tail -n 1 || true)
accuracy=$(sed -n 's/^result:.* accuracy=\([^ ]*\).*/\1/p' <<<"$result")
if [ -z "$accuracy" ]; then
  echo "quickstart: the run printed no result line with an accuracy" >&2
  exit 1
fi
if ! awk -v a="$accuracy" 'BEGIN { exit !(a + 0 >= 0.86) }'; then
  echo "quickstart: the accuracy is $accuracy, less than the 0.86 this run is to reach" >&2
  exit 1
fi
if [ ! -s "$out" ]; then
  echo "quickstart: the run ended without its snapshot $out" >&2
  exit 1
fi
cycles=$(sed -n 's/^result:.* cycles=\([0-9]*\).*/\1/p' <<<"$result")
more=$((${cycles:-100} * 2))
here=$root/
if [ "$PWD" = "$root" ]; then here=; fi
bin=${here}build
cat <<END

Test accuracy $accuracy, without back-propagation; the network is in $out.
  once a shell           . ${here}jobs/setup.sh
  continue               mpiexec -n $ranks $bin/kalmia -restart $out -run_cycles $more -analysis_schedule_cycles $more
  on other ranks         mpiexec -n 3 $bin/kalmia -restart $out -run_cycles $more -analysis_schedule_cycles $more    (the same bits)
  look at it             $bin/kalmia-inspect $out
END
