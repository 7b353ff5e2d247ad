#!/usr/bin/python3
"""The data of the race's inverse problems, in the current folder: elliptic.h5, forcing.h5, and what their posteriors are made of.

Called by run.sh; files that are there already stay.
"""
import os

import h5py
import numpy as np

STEP, PLACES = 0.05, 40
WINDOWS = [(5.0, 15.0), (15.0, 25.0)]


def lorenz96(x, forcing):
    """A time step of columns of states, by the classical Runge-Kutta scheme."""

    def rate(x):
        return (np.roll(x, -1, 0) - np.roll(x, 2, 0)) * np.roll(x, 1, 0) - x + forcing

    k1 = rate(x)
    k2 = rate(x + STEP / 2 * k1)
    k3 = rate(x + STEP / 2 * k2)
    k4 = rate(x + STEP * k3)
    return x + STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def averages(forcing, seed):
    """Mean and standard deviation of all places over each window, for columns of forcings: windows x 2 x columns."""
    x = forcing + np.random.default_rng(seed).standard_normal((PLACES, len(forcing)))
    sums = np.zeros((len(WINDOWS), 2, len(forcing)))
    for step in range(1, round(max(b for _, b in WINDOWS) / STEP) + 1):
        x = lorenz96(x, forcing)
        for w, (a, b) in enumerate(WINDOWS):
            if round(a / STEP) < step <= round(b / STEP):
                sums[w] += np.stack([x.mean(0), (x**2).mean(0)]) * STEP / (b - a)
    return np.stack([sums[:, 0], np.sqrt(sums[:, 1] - sums[:, 0] ** 2)], 1)


def write(name, **arrays):
    if os.path.exists(name):
        return
    with h5py.File(name + ".new", "w") as f:
        for key, value in arrays.items():
            f[key] = value() if callable(value) else value
    os.rename(name + ".new", name)


def main():
    write("elliptic.h5", x=[[0.25], [0.75]], y=[[27.5], [79.7]])
    write("forcing.h5", x=WINDOWS, y=lambda: averages(np.array([8.0]), 1)[:, :, 0])
    # What a forcing predicts in the mean over starts: the smooth map that the posterior is taken of.
    forcing = np.linspace(2.0, 12.0, 101)
    write("forcing-mean.h5", forcing=forcing, mean=lambda: averages(np.repeat(forcing, 16), 2).reshape(len(WINDOWS), 2, -1, 16).mean(3))


if __name__ == "__main__":
    main()
