#!/usr/bin/env python3
"""Errors of the path of least action against the true trajectory that makedata.py lorenz96 wrote, within the window and beyond it.

    forecast.py SNAPSHOT.h5 DATA.h5 [--forcing 8]

Beyond the window the path is continued by the equations with the forcing of the fitted model.
"""
import argparse

import h5py
import numpy as np

from makedata import step

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("snapshot")
parser.add_argument("data")
parser.add_argument("--forcing", type=float, default=8.0)
args = parser.parse_args()
with h5py.File(args.data) as f:
    truth, window = f["path"][:], len(f["x"])
with h5py.File(args.snapshot) as f:
    members, rungs = f["ensemble/members"][:], int(f["analysis/rungs"][0])
    action = f["analysis/action"][:].reshape(-1, len(members))[rungs - 1]
path = list(members[action.argmin()].reshape(window, -1))
while len(path) < len(truth):
    path.append(step(path[-1], 0.025, args.forcing))
error = np.sqrt(np.mean((np.array(path) - truth) ** 2, axis=1))
print(f"action {action.min():.4f}; spread of the trajectory {truth.std():.2f}; root mean square error, all entries:")
print(f"within the window {np.sqrt(np.mean(error[:window] ** 2)):.3f}, at its end {error[window - 1]:.3f}")
for ahead in range(20, len(truth) - window + 1, 20):
    print(f"{0.025 * ahead:.1f} time units ahead {error[window - 1 + ahead]:.3f}")
