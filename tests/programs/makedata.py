"""Small data sets for the end-to-end tests: makedata.py KIND OUT [SAMPLES [INPUTS [CLASSES]]]

classes     HDF5, /x /y /x_test /y_test: 20 inputs, 4 classes, 400 training and 100 test samples
regression  HDF5, the same with 3 real-valued targets
linear      HDF5, the same with one real-valued target, linear in the inputs, with noise
idx         a folder with MNIST's file names: 400 and 100 images of 5 x 4 bytes, 4 classes; labels gzipped
"""
import gzip
import os
import struct
import sys

import h5py
import numpy


def idx(values):
    """The bytes of an IDX file of uint8."""
    head = struct.pack(">BBBB", 0, 0, 8, values.ndim) + struct.pack(">%dI" % values.ndim, *values.shape)
    return head + values.astype(numpy.uint8).tobytes()


def samples(count, inputs, classes, seed):
    """Inputs about one centre a class, and the classes; every class occurs."""
    centres = numpy.random.default_rng(1).normal(size=(classes, inputs))
    draw = numpy.random.default_rng(seed)
    y = draw.permutation(numpy.arange(count) % classes)
    return centres[y] + draw.normal(size=(count, inputs)), y


def main():
    kind, out = sys.argv[1:3]
    count, inputs, classes = (list(map(int, sys.argv[3:])) + [400, 20, 4][len(sys.argv) - 3:])
    (x, y), (xt, yt) = samples(count, inputs, classes, 2), samples(max(count // 4, 1), inputs, classes, 3)
    if kind == "idx":
        os.mkdir(out)
        for name, a, b in (("train", x, y), ("t10k", xt, yt)):
            a = numpy.clip(128 + 32 * a, 0, 255).reshape(len(a), 5, -1)
            with open("%s/%s-images-idx3-ubyte" % (out, name), "wb") as f:
                f.write(idx(a))
            with gzip.open("%s/%s-labels-idx1-ubyte.gz" % (out, name), "wb") as f:
                f.write(idx(b))
        return
    if kind == "regression":
        w = numpy.random.default_rng(4).normal(size=(inputs, 3)) / numpy.sqrt(inputs)
        y, yt = numpy.tanh(x @ w), numpy.tanh(xt @ w)
    if kind == "linear":
        w = numpy.random.default_rng(4).normal(size=inputs)
        y, yt = (a @ w + 0.1 * numpy.random.default_rng(5).normal(size=len(a)) for a in (x, xt))
    with h5py.File(out, "w") as f:
        f["x"], f["y"], f["x_test"], f["y_test"] = x, y, xt, yt


main()
