#!/usr/bin/python3
"""Writes diabetes.h5: 342 patients to learn from and 100 to test on, of the data of Efron, Hastie, Johnstone and Tibshirani (2004).

    makedata.py [FOLDER]

FOLDER holds diabetes_data_raw.csv.gz and diabetes_target.csv.gz of scikit-learn (default: that of Debian's package
python3-sklearn). Targets are in standard deviations of the training targets about their mean, which are printed.
"""
import sys

import h5py
import numpy as np

folder = sys.argv[1] if len(sys.argv) > 1 else "/usr/lib/python3/dist-packages/sklearn/datasets/data"
x = np.loadtxt(f"{folder}/diabetes_data_raw.csv.gz")
y = np.loadtxt(f"{folder}/diabetes_target.csv.gz").reshape(-1, 1)
order = np.random.default_rng(0).permutation(len(x))
train, test = order[:342], order[342:]
mean, sd = y[train].mean(), y[train].std()
with h5py.File("diabetes.h5", "w") as file:
    for name, part in (("", train), ("_test", test)):
        file["x" + name], file["y" + name] = x[part], (y[part] - mean) / sd
design = [np.c_[np.ones(len(part)), x[part]] for part in (train, test)]
weights = np.linalg.lstsq(design[0], (y[train] - mean) / sd, rcond=None)[0]
error = np.sqrt(np.mean((design[1] @ weights - (y[test] - mean) / sd) ** 2))
print(f"targets: mean {mean:.2f}, standard deviation {sd:.2f}; a linear regression has rmse {error:.4f} of it on the test set")
