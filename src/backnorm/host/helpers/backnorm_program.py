"""backnorm's program protocol, version 1, for Python and NumPy.

import backnorm_program                      # first: what libraries print then goes to stderr
def call(x, gamma, beta, dy, train, state):  # dy is None in a forward pass
    return {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}
backnorm_program.serve("kind=batch sample=3,2,2 params=3 dtypes=float32,float64", call)

A layer with statistics passes state={"mean": numpy.zeros(3)}, finds state["mean"] in a call, and
returns {..., "state.mean": new_mean}. With can=higher in its facts, higher=f is called as
f(x, gamma, beta, dy, along) and returns {"x": ..., "gamma": ..., "beta": ..., "dy": ...}.
"""

import os

import numpy as np

__all__ = ["serve"]

INPUT, OUTPUT = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
ARRAYS = ("x", "gamma", "beta", "dy")
os.dup2(2, 1)  # whatever prints from now on prints to stderr


def serve(facts, call, state=None, higher=None):
    """Answer requests until the end of the input."""
    start = {"state." + name: value for name, value in (state or {}).items()}
    for line in iter(INPUT.readline, b""):
        what, *words = line.decode("ascii").split()
        given = dict(_array(word) for word in words if "=" in word)
        try:
            if what == "hello":
                _say("ok " + facts, start)
            elif what == "higher":
                along = [given[name] for name in sorted(given) if name.startswith("along")]
                _say("ok", higher(*map(given.get, ARRAYS), along))
            else:
                kept = {name[6:]: value for name, value in given.items() if "state." in name}
                _say("ok", call(*map(given.get, ARRAYS), "train" in words, kept))
        except Exception as error:
            _say(("error %s: %s" % (type(error).__name__, error)).replace("\n", " "), {})


def _array(word):
    name, _, place = word.partition("=")
    dtype, _, shape = place[:-1].partition("[")
    shape = tuple(int(length) for length in shape.split(",") if length)
    raw = INPUT.read(int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize)
    return name, np.frombuffer(raw, dtype).reshape(shape).copy()


def _say(line, arrays):
    blobs = []
    for name, value in arrays.items():
        if value is not None:
            array = np.asarray(value)
            line += " %s=%s[%s]" % (name, array.dtype.name, ",".join(map(str, array.shape)))
            blobs.append(array.tobytes())
    OUTPUT.write(line.encode("ascii", "replace") + b"\n" + b"".join(blobs))
    OUTPUT.flush()
