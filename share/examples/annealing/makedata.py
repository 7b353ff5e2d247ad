#!/usr/bin/env python3
"""Data of twin experiments for variational annealing (share/doc/annealing.md).

    makedata.py lorenz96 FILE.h5 [--entries 20] [--forcing 8] [--noise 0.5] [--steps 160] [--ahead 80] [--observed 0,2,5,...] [--seed 1]
    makedata.py network FILE.h5 [--layers 2,3,2] [--samples 60] [--noise 0.05] [--activation tanh] [--seed 1]

lorenz96: samples of a trajectory (RK4, step 0.025, after 25 time units), each a time and the observed entries with errors; the test set is
what follows, every entry that is observed, without errors. network: inputs and outputs of a random network, both with errors; the test set without.
"""
import argparse

import h5py
import numpy as np


def tendency(x, forcing):
    return (np.roll(x, -1) - np.roll(x, 2)) * np.roll(x, 1) - x + forcing


def step(x, h, forcing):
    a = tendency(x, forcing)
    b = tendency(x + h / 2 * a, forcing)
    c = tendency(x + h / 2 * b, forcing)
    d = tendency(x + h * c, forcing)
    return x + h / 6 * (a + 2 * b + 2 * c + d)


def lorenz96(args, random):
    h, observed = 0.025, [int(i) for i in args.observed.split(",")]
    x = args.forcing + random.normal(size=args.entries)
    for _ in range(1000):
        x = step(x, h, args.forcing)
    path = [x]
    for _ in range(args.steps + args.ahead):
        path.append(step(path[-1], h, args.forcing))
    path, time = np.array(path), h * np.arange(args.steps + args.ahead + 1)
    seen = args.steps + 1
    y = path[:seen, observed] + args.noise * random.normal(size=(seen, len(observed)))
    return {"x": time[:seen, None], "y": y, "x_test": time[seen:, None], "y_test": path[seen:, observed], "path": path}


def network(args, random):
    act = {"tanh": np.tanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z))}[args.activation]
    width = [int(i) for i in args.layers.split(",")]
    layers = [(random.normal(size=(b, a)) * 2 / np.sqrt(a), 0.5 * random.normal(size=b)) for a, b in zip(width, width[1:])]

    def outputs(x):
        for k, (w, b) in enumerate(layers):
            x = x @ w.T + b
            if k < len(layers) - 1:
                x = act(x)
        return x

    x, test = random.normal(size=(args.samples, width[0])), random.normal(size=(1000, width[0]))
    seen, y = x + args.noise * random.normal(size=x.shape), outputs(x)
    y += args.noise * random.normal(size=y.shape)
    return {"x": seen, "y": y, "x_test": test, "y_test": outputs(test)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["lorenz96", "network"])
    parser.add_argument("file")
    parser.add_argument("--entries", type=int, default=20)
    parser.add_argument("--forcing", type=float, default=8.0)
    parser.add_argument("--noise", type=float)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--ahead", type=int, default=80)
    parser.add_argument("--observed", default="0,2,5,7,10,12,15,17")
    parser.add_argument("--layers", default="2,3,2")
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--activation", default="tanh")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.noise = args.noise or {"lorenz96": 0.5, "network": 0.05}[args.kind]
    with h5py.File(args.file, "w") as f:
        for name, value in globals()[args.kind](args, np.random.default_rng(args.seed)).items():
            f[name] = value


if __name__ == "__main__":
    main()
