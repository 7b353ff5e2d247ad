#!/usr/bin/env python3
"""makedata.py OUT: y(t) = exp(a) exp(-exp(b) t) for a = 0.7, b = -0.3 at thirty times, with errors of standard deviation 0.05."""
import sys

import h5py
import numpy

t = numpy.arange(1, 31) * 0.1
with h5py.File(sys.argv[1], "w") as f:
    f["x"] = t
    f["y"] = numpy.exp(0.7 - numpy.exp(-0.3) * t) + 0.05 * numpy.random.default_rng(1).normal(size=t.size)
    f.attrs["truth"] = [0.7, -0.3]
