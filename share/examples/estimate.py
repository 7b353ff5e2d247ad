#!/usr/bin/env python3
"""estimate.py SNAPSHOT [NAME ...]: mean and standard deviation of each entry of the state over the members."""
import sys

import h5py
import numpy

with h5py.File(sys.argv[1], "r") as f:
    members = f["ensemble/members"][()]
mean, spread = members.mean(0), members.std(0, ddof=1)
for i in range(len(mean)):
    name = sys.argv[2 + i] if len(sys.argv) > 2 + i else "entry %d" % i
    print("%-16s %12.6f +- %.6f" % (name, mean[i], spread[i]))
