"""What a call of a subject leaves behind: arrays that it overwrites, and global state it changes.

Plain: Python 3.6 and NumPy, and nothing of backnorm.
"""

import random
import sys

import numpy as np

__all__ = ["World", "overwritten"]

SEED = 1234567
"""No layer seeds with it: then its numbers would look untouched."""

ERRORS = {"divide": "warn", "invalid": "warn", "over": "warn", "under": "ignore"}
"""What NumPy begins with."""


class World:
    """The global state that a normalization must leave alone; `changed` names what was changed.

    It is set to known values first: a subject that sets the same value in each call would change
    nothing after its first.

    Random numbers of PyTorch are not in it: modules such as dropout draw them by design. Whether a
    call seeds them is asked in ``calls/torch_tensors.py``.
    """

    def __init__(self):
        self.changed = []
        self.before = _world()
        random.seed(SEED)
        np.random.seed(SEED)  # noqa: NPY002 - it is this generator that is global
        np.seterr(**ERRORS)
        torch = _torch()
        if torch is not None:
            torch.set_default_dtype(torch.float32)
        self.known = _world()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Note the names of what differs now, and put back what was there at first."""
        now = _world()
        _put_back(self.before)
        self.changed = [name for name, value in self.known.items() if now.get(name) != value]


def overwritten(arrays, before):
    """Return the names of the arrays whose values are no longer those of their copies."""
    return [
        name
        for name, copied in before.items()
        if copied is not None and arrays[name].tobytes() != copied.tobytes()
    ]


def _torch():
    """Return PyTorch where a subject has loaded it."""
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "get_default_dtype") else None


def _world():
    kind, keys, *others = np.random.get_state()  # noqa: NPY002 - as above
    torch = _torch()
    found = {
        "the random state of NumPy": (kind, keys.tobytes(), str(keys.dtype), *others),
        "the random state of Python": random.getstate(),
        "the error state of NumPy": np.geterr(),
    }
    if torch is not None:
        found["the default dtype of PyTorch"] = torch.get_default_dtype()
    return found


def _put_back(world):
    kind, keys, dtype, *others = world["the random state of NumPy"]
    state = (kind, np.frombuffer(keys, dtype).copy(), *others)
    np.random.set_state(state)  # noqa: NPY002 - as above
    random.setstate(world["the random state of Python"])
    np.seterr(**world["the error state of NumPy"])
    if "the default dtype of PyTorch" in world:
        _torch().set_default_dtype(world["the default dtype of PyTorch"])
