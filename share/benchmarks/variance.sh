#!/usr/bin/env bash
# How far increments of a network trained layer by layer are from those of many perturbations, by their number N.
#   share/benchmarks/variance.sh [NAME] [N...]
# NAME is lenet, cnn, relu, deep, … (share/kalmia/layered-NAME.yaml; default lenet), N 16 to 256 by default. The network is trained for
# KALMIA_CYCLES cycles (default 468) and then left as it is for ten batches, once for each N and once with 2048, which is exact for
# layers of fewer states. Prints, layer by layer, the squared distance of the increments over the square of the exact ones, mean of the batches.
# KALMIA names the program (default: build/kalmia).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=jobs/setup.sh
. "$root/jobs/setup.sh"
case ${1:-} in -*) sed -n '2,7s/^# //p' "$0" >&2 && exit 2 ;; esac
name=${1:-lenet}
shift $(($# ? 1 : 0))
counts=("$@")
if [ ${#counts[@]} -eq 0 ]; then counts=(16 32 64 128 256); fi
kalmia=${KALMIA:-$root/build/kalmia}
options=$root/share/kalmia/layered-$name.yaml
cycles=${KALMIA_CYCLES:-468} batches=10
if [ ! -f "$options" ]; then
  echo "variance: $name is no network: there is no share/kalmia/layered-$name.yaml" >&2
  exit 1
fi
kal_packages data
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
run() {
  mpiexec -n "${KALMIA_RANKS:-$(kal_cores)}" "$kalmia" -options_file "$options" -run_monitor_every 0 -run_evaluate_every 0 "$@" >"$folder/log" || {
    cat "$folder/log" >&2
    exit 1
  }
}
run -run_cycles "$cycles" -snapshot_path "$folder/network.h5"
for N in "${counts[@]}" 2048; do
  # a cycle's increments are the first moments where nothing is kept of those before
  run -restart "$folder/network.h5" -run_cycles $((cycles + batches)) -layered_perturbations "$N" -layered_momentum 0 -layered_step 1e-12 -layered_decay 0 -snapshot_path "$folder/$N.h5" -snapshot_every 1 -snapshot_keep $batches
done
/usr/bin/python3 - "$folder" "$options" $batches "${counts[@]}" <<'PY'
import sys

import h5py
import numpy as np
import yaml

folder, path, batches, counts = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
options = yaml.safe_load(open(path))
shapes = []  # weights of a unit, units, states
if options["model"]["type"] == "mlp":
    widths = [int(w) for w in str(options["mlp"]["layers"]).split(",")]
    shapes = [(a, b, b) for a, b in zip(widths, widths[1:])]
    biased = True
else:
    height, width, channels = (int(w) for w in str(options["cnn"]["input"]).split(","))
    biased = options["cnn"].get("biases", True)
    for entry in options["cnn"]["layers"].split(","):
        kind, *numbers = entry.split(":")
        units, edge = int(numbers[0]), int(numbers[-1])
        if kind == "pool":
            height, width = height // units, width // units
            shapes[-1] = (*shapes[-1][:2], height * width * channels)
            continue
        if kind == "conv":
            weights, height, width = channels * edge * edge, height - edge + 1, width - edge + 1
        else:
            weights, height, width = channels * height * width, 1, 1
        shapes.append((weights, units, height * width * units))
        channels = units


def increments(count, batch):
    return np.array(h5py.File(f"{folder}/{count}.h5" + (f".{batch}" if batch else ""))["copies/0"], float).ravel()


exact = [increments(2048, batch) for batch in range(batches)]
print("%-8s" % "N", *("%-16s" % f"{states} states" for _, _, states in shapes[:-1]))
for count in counts:
    row, at = [], 0
    found = [increments(count, batch) for batch in range(batches)]
    for weights, units, _ in shapes[:-1]:
        part = slice(at, at + weights * units)
        row.append(np.mean([((a[part] - b[part]) ** 2).sum() / (b[part] ** 2).sum() for a, b in zip(found, exact)]))
        at += (weights + biased) * units
    print("%-8s" % count, *("%-16.3f" % value for value in row))
PY
