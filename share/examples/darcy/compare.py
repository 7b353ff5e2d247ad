#!/usr/bin/python3
"""Holds the members of a snapshot of the model darcy against the truth of makedata.py.

    compare.py hierarchical|fixed|level-set|channel SNAPSHOT

for share/kalmia/darcy-hierarchical.yaml, the same with -field_length_spread 0, darcy-level-set.yaml and darcy-channel.yaml. Prints the
root mean square over the cells of the difference of the members' mean of w to the truth, and that of the truth about its own mean; the unknown length, or the
part of the cells that are on the right side of 1, or the channel's seven numbers with their standard deviations.
"""
import math
import sys

import h5py
import numpy as np

from makedata import CHANNEL, LENGTH, channel, field

kind, name = sys.argv[1:]
with h5py.File(name) as file:
    members = file["ensemble/members"][()]
with h5py.File("darcy-channel.h5" if kind in ("level-set", "channel") else "darcy-field.h5") as file:
    truth = file["truth"][()]
low, high = np.array([0, 0.5, -0.3, 0.2, 0.1]), np.array([0.3, 1.5, 0.3, 0.8, 0.4])


def numbers(u):
    """What a state says beside the modes."""
    if kind == "channel":
        return np.r_[low + (high - low) * np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in u[:5]]), 2 + 0.5 * u[5], 0.5 * u[6]]
    return np.array([0.3 * math.exp(0.5 * u[144]) if kind == "hierarchical" else 0.3])


def logarithm(u, v):
    """What the model takes."""
    if kind == "channel":
        return channel(*v)
    w = field(u[:144].reshape(12, 12), v[0])
    return np.where(w >= 0, 2.0, 0.0) if kind == "level-set" else w


v = np.array([numbers(u) for u in members])
mean = np.mean([logarithm(*pair) for pair in zip(members, v)], 0)
print(f"error {math.sqrt(((mean - truth) ** 2).mean()):.4f} of {truth.std():.4f}")
if kind == "level-set":
    print(f"right {((mean > 1) == (truth > 1)).mean():.4f}")
elif kind == "hierarchical":
    print(f"length {v.mean():.4f} with sd {v.std():.4f}; the truth has {LENGTH}")
elif kind == "channel":
    for what, m, s, t in zip(("amplitude", "frequency", "slope", "offset", "width", "inside", "outside"), v.mean(0), v.std(0), CHANNEL):
        print(f"{what} {m:.4f} with sd {s:.4f}; the truth has {t}")
