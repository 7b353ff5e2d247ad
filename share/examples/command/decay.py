#!/usr/bin/env python3
"""decay.py STATE OUTPUT TIMES: y(t) = exp(a) exp(-exp(b) t) at each time, for the state (a, b).

The files hold doubles and nothing else. Needs nothing but Python.
"""
import array
import math
import sys


def read(path):
    numbers = array.array("d")
    with open(path, "rb") as f:
        numbers.frombytes(f.read())
    return numbers


a, b = read(sys.argv[1])
y = array.array("d", [math.exp(a - math.exp(b) * t) for t in read(sys.argv[3])])
with open(sys.argv[2], "wb") as f:
    f.write(y.tobytes())
