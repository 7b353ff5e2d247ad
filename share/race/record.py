#!/usr/bin/python3
"""Adds a run of the race to its table: record.py SNAPSHOT PROBLEM accuracy|members ENTRANT SEED TABLE. Called by run.sh.

accuracy: scores of the mean network as the history has them, and at the end those of the members' averaged predictions too.
members: of each snapshot that was kept, how far the members' mean is from the posterior's, and their spread beside it.
Seconds are those of forecast, observation and analysis: scores and snapshots take none.
"""
import csv
import os
import sys

import h5py
import numpy as np

COLUMNS = ["problem", "entrant", "seed", "method", "members", "cycle", "forward_passes", "seconds", "accuracy", "nll", "ece", "accuracy_ensemble", "nll_ensemble", "ece_ensemble", "error", "spread"]


def options(f):
    """The options that the run was made with."""
    lines = (line.split(None, 1) for line in f["options"][()].decode().splitlines() if line.strip())
    return {words[0].lstrip("-"): words[1] if len(words) > 1 else "true" for words in lines}


def elliptic(given):
    """Mean and standard deviations of the posterior of the elliptic problem, by quadrature."""
    m = np.array([float(v) for v in given["elliptic_mean"].split(",")])
    s = np.array([float(v) for v in given["elliptic_spread"].split(",")])
    u1, u2 = np.meshgrid(np.linspace(-4.5, -1.0, 1401), np.linspace(100.0, 109.0, 1201), indexing="ij")
    x, y = np.array([0.25, 0.75]), np.array([27.5, 79.7])
    predicted = u2[..., None] * x + np.exp(-u1)[..., None] * (x - x**2) / 2
    energy = ((y - predicted) ** 2).sum(2) / (2 * float(given["observations_noise"])) + ((u1 - m[0]) / s[0]) ** 2 / 2 + ((u2 - m[1]) / s[1]) ** 2 / 2
    return moments(energy, [u1, u2])


def forcing(given):
    """The same of the forcing of Lorenz-96, for the map from forcings to averages that is smooth in the mean over starts."""
    with h5py.File("forcing-mean.h5") as f, h5py.File("forcing.h5") as d:
        grid = np.linspace(f["forcing"][0], f["forcing"][-1], 5001)
        mean, y = f["mean"][()], d["y"][()]
        at = f["forcing"][()]
    predicted = np.stack([[np.interp(grid, at, mean[w, k]) for k in range(2)] for w in range(len(mean))])
    energy = ((y[:, :, None] - predicted) ** 2).sum((0, 1)) / (2 * float(given["observations_noise"]))
    energy += ((grid - float(given["lorenz96_forcing_mean"])) / float(given["lorenz96_forcing_spread"])) ** 2 / 2
    return moments(energy, [grid])


def moments(energy, coordinates):
    weight = np.exp(energy.min() - energy)
    weight /= weight.sum()
    mean = np.array([(weight * c).sum() for c in coordinates])
    return mean, np.sqrt([(weight * (c - m) ** 2).sum() for c, m in zip(coordinates, mean)])


def members(f):
    """Mean and standard deviations of what a snapshot holds; methods that keep a covariance say it themselves."""
    if "ensemble/mean" in f:
        return f["ensemble/mean"][()], None
    u = f["ensemble/members"][()]
    n = int(f["ensemble/n"][()])
    if "analysis/covariance" in f and f["analysis/covariance"].size == n * n:
        sd = np.sqrt(np.diag(f["analysis/covariance"][()].reshape(n, n)))
    else:
        sd = u.std(0, ddof=1) if len(u) > 1 else None
    for key in ("analysis/consensus", "analysis/mean"):
        if key in f and f[key].size == n:
            return f[key][()], sd
    return u.mean(0), sd


def posterior(f, problem):
    """Its mean and standard deviations; of the forcing that is filtered the truth, in whose units errors are then."""
    if problem == "lorenz96":
        return 8.0, 1.0
    return {"elliptic": elliptic, "forcing": forcing}[problem](options(f))


def judged(f, problem, reference, deviation):
    """Error and spread, in standard deviations of the posterior."""
    mean, sd = members(f)
    if problem == "lorenz96":  # its last entry is the forcing
        mean, sd = mean[-1:], None if sd is None else sd[-1:]
    return np.sqrt((((mean - reference) / deviation) ** 2).mean()), None if sd is None else np.sqrt(((sd / deviation) ** 2).mean())


def history(f):
    h = {name: f["history/" + name][()] for name in f["history"] if name != "forward_passes"}
    h["forward_passes"] = np.cumsum(f["history/forward_passes"][()])
    h["seconds"] = np.cumsum(h["seconds_forecast"] + h["seconds_observe"] + h["seconds_analysis"])
    return h


def of_accuracy(path):
    with h5py.File(path) as f:
        h, last = history(f), dict(pair.split("=") for pair in f["run/result"][()].decode().split()[1:])
    for k in np.flatnonzero(~np.isnan(h["accuracy"][:-1])):
        yield {"cycle": k + 1, **{name: h[name][k] for name in ("forward_passes", "seconds", "accuracy", "nll", "ece")}}
    final = {name: float(last[name]) for name in ("accuracy", "nll", "ece", "accuracy_ensemble", "nll_ensemble", "ece_ensemble")}
    yield {"cycle": len(h["cycle"]), "forward_passes": h["forward_passes"][-1], "seconds": h["seconds"][-1], **final}


def of_members(path, problem):
    places = [path] + [f"{path}.{k}" for k in range(1, 1001) if os.path.exists(f"{path}.{k}")]
    with h5py.File(path) as f:
        judge = posterior(f, problem)
    for place in reversed(places):
        with h5py.File(place) as f:
            h = history(f)
            error, spread = judged(f, problem, *judge)
        yield {"cycle": len(h["cycle"]), "forward_passes": h["forward_passes"][-1], "seconds": h["seconds"][-1], "error": error, "spread": spread}


def plain(value):
    return "" if value is None or value != value else f"{value:.6g}" if isinstance(value, float) else str(value)


def main():
    path, problem, score, entrant, seed, table = sys.argv[1:]
    with h5py.File(path) as f:
        head = {"problem": problem, "entrant": entrant, "seed": seed, "method": f["analysis/type"][()].decode(), "members": int(f["ensemble/N"][()])}
    rows = list(of_accuracy(path) if score == "accuracy" else of_members(path, problem))
    for row in rows:
        row["forward_passes"] = int(round(row["forward_passes"]))
        row.update(head)
    new = not os.path.exists(table)
    with open(table, "a", newline="") as f:  # whole entrants, so that a race can go on
        writer = csv.DictWriter(f, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows({name: plain(row.get(name)) for name in COLUMNS} for row in rows)
    end = rows[-1]
    scores = f"accuracy {end['accuracy']:.4f}" if score == "accuracy" else f"error {end['error']:.4f}"
    print(f"{problem}/{entrant}, seed {seed}: {scores} after {end['forward_passes']} forward passes, {end['seconds']:.1f} s", flush=True)


if __name__ == "__main__":
    main()
