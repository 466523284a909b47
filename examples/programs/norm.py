"""Instance normalization in Python. With an argument its gradient takes the mean as a constant.

backnorm program python > backnorm_program.py && backnorm audit --program 'python norm.py'
"""

import sys

import backnorm_program  # first: what libraries print then goes to stderr
import numpy as np

CUT = len(sys.argv) > 1


def call(x, gamma, beta, dy, train, state):
    """Return y, and the gradients where there is a dy."""
    mean, var = x.mean(2, keepdims=True), x.var(2, keepdims=True)
    r = 1 / np.sqrt(var + x.dtype.type(1e-5))
    h = (x - mean) * r
    found = {"y": gamma[:, None] * h + beta[:, None]}
    if dy is None:
        return found
    d = dy - h * (dy * h).mean(2, keepdims=True)
    dx = gamma[:, None] * r * (d if CUT else d - dy.mean(2, keepdims=True))
    return {**found, "dx": dx, "dgamma": (dy * h).sum((0, 2)), "dbeta": dy.sum((0, 2))}


facts = "kind=instance sample=3,5 params=3 dtypes=float32,float64"
backnorm_program.serve(facts, call)
