#!/usr/bin/python3
"""Writes darcy-field.h5 and darcy-channel.h5: pressures at 7 x 7 places of the unit square, with errors of 0.01.

The truth is a Whittle-Matern field of length 0.1, exponent 3 and standard deviation 1, or a channel. It is kept in each file as /truth (24 x 24
logarithms of the conductivity, x running fastest). The functions here know the model darcy and the parameterizations from their manual pages alone;
compare.py uses them.
"""
import math

import h5py
import numpy as np

CELLS = 24
PLACES = np.arange(1, 8) / 8
MIDDLES = (np.arange(CELLS) + 0.5) / CELLS
SD = 0.01
LENGTH = 0.1
CHANNEL = (0.15, 1.1, 0.1, 0.4, 0.2, 2.0, 0.0)
LOAD = 10.0


def field(xi, length, exponent=3.0, sd=1.0, cells=CELLS):
    """A field, by modes xi (along y, along x); entry (j, i) lies at y_j, x_i."""
    ky, kx = np.meshgrid(*(np.pi * np.arange(m) for m in xi.shape), indexing="ij")
    c = (1 + length**2 * (kx**2 + ky**2)) ** (-exponent / 2)
    basis = [np.where(np.arange(m), math.sqrt(2), 1) * np.cos(np.outer((np.arange(cells) + 0.5) / cells, np.pi * np.arange(m))) for m in xi.shape]
    return sd * basis[0] @ (c * xi) @ basis[1].T / math.sqrt((c**2).sum())


def channel(amplitude, frequency, slope, offset, width, inside, outside, cells=CELLS):
    """Logarithms of the conductivity: cells that the channel crosses in part have numbers in between."""
    x = (np.arange(cells) + 0.5) / cells
    middle = offset + slope * x + amplitude * np.sin(2 * np.pi * frequency * x)
    low, high = np.arange(cells)[:, None] / cells, (np.arange(cells)[:, None] + 1) / cells
    part = np.clip((np.minimum(high, middle + width / 2) - np.maximum(low, middle - width / 2)) * cells, 0, None)
    return outside + (inside - outside) * part


def solve(w):
    """The pressure in the cells, by finite volumes."""
    n = len(w)
    a = np.exp(w)
    across = lambda p, q: 2 / (1 / p + 1 / q)
    index = np.arange(n * n).reshape(n, n)
    matrix = np.zeros((n * n, n * n))
    for one, two, t in ((index[:, :-1], index[:, 1:], across(a[:, :-1], a[:, 1:])), (index[:-1], index[1:], across(a[:-1], a[1:]))):
        one, two, t = one.ravel(), two.ravel(), t.ravel()
        np.add.at(matrix, (one, one), t)
        np.add.at(matrix, (two, two), t)
        matrix[one, two] -= t
        matrix[two, one] -= t
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        matrix[index[edge], index[edge]] += 2 * a[edge]
    return np.linalg.solve(matrix, np.full(n * n, LOAD / n**2)).reshape(n, n)


def predict(w):
    """The pressure at the places, bilinear between the middles of cells and the boundary."""
    n = len(w)
    p = np.pad(solve(w), 1)
    at = np.r_[0, (np.arange(n) + 0.5) / n, 1]
    rows = np.array([np.interp(PLACES, at, row) for row in p])
    return np.array([np.interp(PLACES, at, column) for column in rows.T]).T


def write(name, truth, seed):
    y = predict(truth)
    v, u = np.meshgrid(PLACES, PLACES, indexing="ij")
    with h5py.File(name, "w") as file:
        file["x"] = np.c_[u.ravel(), v.ravel()]
        file["y"] = (y + SD * np.random.default_rng(seed).standard_normal(y.shape)).reshape(-1, 1)
        file["truth"] = truth


if __name__ == "__main__":
    xi = np.random.default_rng(4).standard_normal((12, 12))
    write("darcy-field.h5", field(xi, LENGTH), 1)
    write("darcy-channel.h5", channel(*CHANNEL), 2)
