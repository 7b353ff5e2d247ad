#!/usr/bin/python3
"""Holds the members of a snapshot of the model diffusion, on the data of makedata.py, against the posterior's mode.

    compare.py SNAPSHOT

Prints, as root mean squares over the interval: the difference of the mean field to that of the posterior's mode; the posterior's
spread about it; and, where the state has a network of one hidden layer tanh, the residual of the equation at the mean and the difference of the
network to the equation's solution.
"""
import sys

import h5py
import numpy as np

from makedata import CELLS, LOAD, MODES, NODES, TERMS, matrix, mode, solve

with h5py.File(sys.argv[1]) as file:
    mean = file["ensemble/members"][()].mean(0)
with h5py.File("diffusion.h5") as file:
    y = file["y"][:15, 0]


def rms(v):
    return np.sqrt((v**2).mean())


xi, covariance = mode(y)
print(f"field: from the mode {rms(MODES @ (mean[:TERMS] - xi)):.4f}, spread {np.sqrt(np.einsum('ik,kl,il->i', MODES, covariance, MODES).mean()):.4f}, size {rms(MODES @ xi):.4f}")
if len(mean) > TERMS:
    theta = mean[TERMS:]
    units = (len(theta) - 1) // 3
    w, b, v, c = np.split(theta, [units, 2 * units, 3 * units])
    x = NODES[1:-1]
    q = 4 * x * (1 - x) * (np.tanh(np.outer(2 * x - 1, w) + b) @ v + c)
    print(f"network: residual {rms(matrix(mean[:TERMS]) @ q - LOAD):.4f} of {LOAD:g}, from the solution {rms(q - solve(mean[:TERMS])[1:-1]):.4f} of {rms(q):.4f}")
