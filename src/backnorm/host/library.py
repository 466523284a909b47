"""A C function of a shared library as a program: `library.py FILE FUNCTION`; see docs/programs.md.

The function is called as

    void norm(int train, size_t n, const T *x, const T *gamma, const T *beta, const T *dy,
              T *y, T *dx, T *dgamma, T *dbeta);

where x, dy, y and dx have n samples, and dy is NULL in a forward pass. The text `norm_facts`, if
the library has it, is what the program answers to hello.

Plain: Python 3.6 and NumPy, and nothing of backnorm.
"""

import ctypes
import importlib
import os
import sys

import numpy as np

__all__ = ["main"]

FACTS = "kind=batch sample=3 params=3 dtypes=float64"
"""What is said of a function that says nothing of itself."""


class OtherSample(ValueError):
    """x has samples of another shape than the function was made for."""

    def __init__(self, got, takes):
        super().__init__("x has shape %s; the function takes samples of %s" % (got, takes))


def main():
    """Answer requests by calling the function."""
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "helpers"))
    helper = importlib.import_module("backnorm_program")
    file, name = sys.argv[1:]
    try:
        library = ctypes.CDLL(file)
        function = getattr(library, name)
    except (OSError, AttributeError) as error:
        os.write(helper.OUTPUT.fileno(), ("error %s\n" % str(error).replace("\n", " ")).encode())
        return
    function.restype = None
    facts = _facts(library, name)
    sample = next((word[7:] for word in facts.split() if word.startswith("sample=")), "")
    shape = tuple(int(length) for length in sample.split(",") if length.isdigit())

    def call(x, gamma, beta, dy, train, state):
        del state
        if x.shape[1:] != shape:
            raise OtherSample(x.shape, shape)
        y, dx = np.zeros_like(x), np.zeros_like(x)
        dgamma, dbeta = (None if one is None else np.zeros_like(one) for one in (gamma, beta))
        arrays = (x, gamma, beta, dy, y, dx, dgamma, dbeta)
        pointers = [None if one is None else ctypes.c_void_p(one.ctypes.data) for one in arrays]
        function(ctypes.c_int(train), ctypes.c_size_t(len(x)), *pointers)
        if dy is None:
            return {"y": y}
        return {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}

    helper.serve(facts, call)


def _facts(library, name):
    """Return the text beside the function: an array of characters, up to its zero."""
    try:
        place = ctypes.c_char.in_dll(library, name + "_facts")
    except ValueError:
        return FACTS
    return ctypes.string_at(ctypes.addressof(place)).decode("ascii", "replace")


if __name__ == "__main__":
    main()
