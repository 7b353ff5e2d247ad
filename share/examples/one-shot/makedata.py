#!/usr/bin/python3
"""Writes diffusion.h5: 15 observations, with errors of 0.01, of the solution of -(e^u q')' = 10, q(0) = q(1) = 0, and the 63 equations.

The functions here know the model diffusion (its default options) from its manual page alone; compare.py uses them.
"""
import h5py
import numpy as np

CELLS, TERMS, LENGTH, EXPONENT, LOAD = 64, 6, 0.2, 2.0, 10.0
NOISE = 1e-4
NODES = np.arange(CELLS + 1) / CELLS
PLACES = np.arange(1, 16) / 16
TRUTH = np.array([0.6, -1.0, 0.8, 0.5, -0.7, 0.3])

k = np.arange(TERMS)
sd = (1 + (k * np.pi * LENGTH) ** 2) ** (-EXPONENT / 2)
MODES = np.where(k, np.sqrt(2) * np.cos(np.outer(NODES[:-1] + 0.5 / CELLS, k) * np.pi), 1) * sd / np.sqrt((sd**2).sum())


def matrix(xi):
    """The equation's, for the field with coefficients xi."""
    a = np.exp(MODES @ xi)
    return (np.diag(a[:-1] + a[1:]) - np.diag(a[1:-1], 1) - np.diag(a[1:-1], -1)) * CELLS**2


def solve(xi):
    """The solution at the nodes."""
    return np.r_[0, np.linalg.solve(matrix(xi), np.full(CELLS - 1, LOAD)), 0]


def predict(xi):
    """The solution where it is observed."""
    return np.interp(PLACES, NODES, solve(xi))


def mode(y):
    """The posterior's mode and its covariance there, by Gauss and Newton's method from 0."""
    xi = np.zeros(TERMS)
    loss = lambda v: ((y - predict(v)) ** 2).sum() / NOISE + v @ v
    for _ in range(100):
        J = np.stack([(predict(xi + e) - predict(xi - e)) / 2e-6 for e in 1e-6 * np.eye(TERMS)], 1)
        covariance = np.linalg.inv(J.T @ J / NOISE + np.eye(TERMS))
        step = covariance @ (J.T @ (y - predict(xi)) / NOISE - xi)
        while loss(xi + step) > loss(xi) and np.abs(step).max() > 1e-12:
            step /= 2
        xi = xi + step
    return xi, covariance


if __name__ == "__main__":
    y = predict(TRUTH) + np.sqrt(NOISE) * np.random.default_rng(1).standard_normal(len(PLACES))
    inner = NODES[1:-1]
    with h5py.File("diffusion.h5", "w") as file:
        file["x"] = np.r_[np.c_[PLACES, 0 * PLACES], np.c_[inner, 0 * inner + 1]]
        file["y"] = np.r_[y, 0 * inner][:, None]
