#!/usr/bin/env python3
"""makedata.py OUT [NOISE [LOGK ...]]: temperatures of a rod at ten times and five places, with errors of standard deviation NOISE.

The heat equation of heat.c, with the logarithms of its diffusivity in as many zones as are given, by the eigenvectors of a grid
eight times as fine and hence without an error in time.
"""
import sys

import h5py
import numpy


def temperatures(logk, places, times, cells=800):
    """u at places (of the grid) x times."""
    x = numpy.linspace(0, 1, cells + 1)
    middle = (numpy.arange(cells) + 0.5) / cells
    k = numpy.exp(numpy.asarray(logk))[numpy.minimum((middle * len(logk)).astype(int), len(logk) - 1)] * cells**2
    matrix = numpy.diag(-k[:-1] - k[1:]) + numpy.diag(k[1:-1], 1) + numpy.diag(k[1:-1], -1)
    value, vector = numpy.linalg.eigh(matrix)
    start = vector.T @ (numpy.sin(numpy.pi * x) + 0.5 * numpy.sin(2 * numpy.pi * x))[1:-1]
    at = numpy.rint(numpy.asarray(places) * cells).astype(int) - 1
    return numpy.array([vector[at] @ (numpy.exp(value * t) * start) for t in times]).T


def main():
    out = sys.argv[1]
    noise = float(sys.argv[2]) if len(sys.argv) > 2 else 0.01
    logk = [float(a) for a in sys.argv[3:]] or [-1.2, -2.5]
    places, times = [0.1, 0.3, 0.5, 0.7, 0.9], numpy.arange(1, 11) * 0.05
    u = temperatures(logk, places, times)
    with h5py.File(out, "w") as f:
        f["x"] = numpy.array([(p, t) for p in places for t in times])
        f["y"] = u.ravel() + noise * numpy.random.default_rng(1).normal(size=u.size)
        f.attrs["logk"] = logk


if __name__ == "__main__":
    main()
