"""How a NumPy pair is called: an object with a forward and a backward function.

A pair is an object, a class or a module with two functions::

    class MyNorm:
        @staticmethod
        def forward(x, gamma, beta):
            ...
            return y, cache

        @staticmethod
        def backward(dy, cache):
            ...
            return dx, dgamma, dbeta

and, where the defaults do not suit, with any of the attributes ``kind``, ``sample_shape``,
``parameter_shape``, ``has_gamma``, ``has_beta``, ``groups``, ``dtypes`` of a subject.

Without beta (``has_beta = False``) the functions may be ``forward(x, gamma)`` and a ``backward``
that returns ``dx, dgamma``.

A pair that can differentiate its own gradient has a method ``higher(x, gamma, beta, dy, along)``,
see `runners`. Numbers and arrays that an object keeps in attributes are its state. An attribute
``training``, or two methods ``train`` and ``eval``, set its mode. An attribute ``half_dtypes``
names dtypes, such as float16, that it takes as well, and is to be looked at in.

Plain: Python 3.6 and NumPy, and nothing of backnorm.
"""

import copy
import inspect
import types

import numpy as np

from .traces import World, overwritten

__all__ = ["NotReturned", "PairRunner", "has_modes", "in_mode", "is_pair", "mode_of"]

HALF = ("float16", "bfloat16")


class NotReturned(Exception):
    """A function of a pair gave ``got`` in place of ``what`` the protocol says.

    ``sort`` is "none", "array" or "tuple" if it gave such, else "other".
    """

    def __init__(self, what, got, sort):
        super().__init__(what)
        self.what = what
        self.got = got
        self.sort = sort


class PairRunner:
    """Calls a NumPy pair: a fresh copy for each call, so that each starts from the same state.

    ``train`` sets the pair's mode before each call, where it has modes. ``dtype`` is the one it
    computes in, where that is not the one of its input: arrays come as float32 and go as float32.
    """

    def __init__(self, pair, train=None, dtype=""):
        self.pair, self.train, self.dtype = pair, train, dtype
        half = [name for name in getattr(pair, "half_dtypes", ()) if name in HALF]
        offers = ["state", "traces", "overlapped"] + (
            ["higher"] if callable(getattr(pair, "higher", None)) else []
        )
        self.can = offers + half

    def forward(self, x, gamma, beta):
        """Return y."""
        return self._ours(self._forward(self.fresh(), x, gamma, beta)[0])

    def run(self, x, gamma, beta, dy):
        """Return y and the gradients."""
        pair = self.fresh()
        y, cache = self._forward(pair, x, gamma, beta)
        # The backward pass may work in the memory of y.
        y = copy.copy(y)
        return self._named(y, pair.backward(self._theirs(dy), cache), beta)

    def higher(self, x, gamma, beta, dy, along):
        """Return the last of the gradients, by the pair's own means."""
        given = [self._theirs(array) for array in (x, gamma, beta, dy)]
        return dict(self.fresh().higher(*given, [self._theirs(one) for one in along]))

    def traces(self, x, gamma, beta, dy):
        """Return what a call leaves behind."""
        pair = self.fresh()
        arrays = {"x": x, "gamma": gamma, "beta": beta, "dy": dy}
        given = {name: self._theirs(array) for name, array in arrays.items()}
        copies = {name: copy.copy(array) for name, array in given.items()}
        with World() as world:
            made = pair.forward(*_taken(pair, [given["x"], given["gamma"], given["beta"]]))
            _, cache = _split(made, "(y, cache)", 2)
            pair.backward(given["dy"], cache)
        return {"overwritten": overwritten(given, copies), "changed": world.changed}

    def overlapped(self, x, gamma, beta, dy, later):
        """Return y and the gradients of a call that another forward pass comes between."""
        pair = self.fresh()
        y, cache = self._forward(pair, x, gamma, beta)
        y = copy.copy(y)
        self._forward(pair, later, gamma, beta)
        return self._named(y, pair.backward(self._theirs(dy), cache), beta)

    def state(self):
        """Return the numbers and arrays that the pair keeps."""
        attributes = getattr(self.fresh(), "__dict__", {})
        return {name: np.array(value) for name, value in attributes.items() if _is_number(value)}

    def given(self):
        """Return what the pair came with: that is what calls start from."""
        return self.state()

    def attached(self):
        """Return nothing: NumPy has no graph."""
        return []

    def after(self, steps):
        """Return a runner of the pair as it is after some calls."""
        pair = self.fresh()
        for x, gamma, beta, dy, train in steps:
            _set_mode(pair, train)
            _, cache = self._forward(pair, x, gamma, beta)
            if dy is not None:
                pair.backward(self._theirs(dy), cache)
        return PairRunner(pair, self.train, self.dtype)

    def variant(self, dtype, threads, needs_dx):
        """Return a runner of the pair in another dtype."""
        return PairRunner(self.pair, self.train, dtype)

    def fresh(self):
        """Return a pair to call once; a module is what it is."""
        return in_mode(self.pair, self.train)

    def _forward(self, pair, x, gamma, beta):
        given = [self._theirs(array) for array in (x, gamma, beta)]
        return _split(pair.forward(*_taken(pair, given)), "(y, cache)", 2)

    def _named(self, y, gradients, beta):
        if beta is None and isinstance(gradients, (tuple, list)) and len(gradients) == 2:
            gradients = tuple(gradients) + (None,)
        dx, dgamma, dbeta = _split(gradients, "(dx, dgamma, dbeta)", 3)
        found = {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}
        return {name: self._ours(value) for name, value in found.items()}

    def _theirs(self, array):
        """Return a copy with the order in memory of the array, which the pair may write to."""
        if array is None or not self.dtype:
            return None if array is None else array.copy(order="K")
        return array.astype(self.dtype)

    def _ours(self, array):
        return np.asarray(array, np.float32) if self.dtype and array is not None else array


def is_pair(candidate):
    """Whether an object has both functions."""
    return all(callable(getattr(candidate, name, None)) for name in ("forward", "backward"))


def has_modes(pair):
    """Whether a pair tells training from evaluation, by an attribute or by two methods."""
    return hasattr(pair, "training") or _has_switches(pair)


def in_mode(pair, train):
    """Return a copy of a pair, or what a class constructs, in a mode; None leaves it as it is."""
    if isinstance(pair, type):
        pair = pair()
    elif not isinstance(pair, types.ModuleType):
        pair = copy.deepcopy(pair)
    if train is not None:
        _set_mode(pair, train)
    return pair


def mode_of(pair):
    """Return the mode that a pair is set to; None where nothing tells."""
    training = getattr(pair, "training", None)
    return None if training is None else bool(training)


def _taken(pair, given):
    """Return the arguments that ``forward`` is passed: no beta where there is none to take it."""
    if given[-1] is not None:
        return given
    try:
        takes = inspect.signature(pair.forward)
    except ValueError:
        return given
    try:
        takes.bind(*given)
    except TypeError:
        return given[:-1]
    return given


def _split(value, what, count):
    if not isinstance(value, (tuple, list)) or len(value) != count:
        raise NotReturned(what, *_described(value))
    return value


def _described(value):
    """Return what a value is, in words, and its sort."""
    kind = type(value).__name__
    if value is None:
        return "None", "none"
    if isinstance(value, np.ndarray):
        return "an array of shape %s" % (value.shape,), "array"
    if isinstance(value, (tuple, list)):
        return "a %s of %d" % (kind, len(value)), "tuple"
    return "a value of type %s" % kind, "other"


def _is_number(value):
    """Whether an attribute is a number or an array of numbers, and no flag."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fiu"
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _has_switches(pair):
    return all(callable(getattr(pair, name, None)) for name in ("train", "eval"))


def _set_mode(pair, train):
    """Set a pair to train or to evaluate, unless it is set so or has no modes."""
    if getattr(pair, "training", not train) is train:
        return
    if _has_switches(pair):
        pair.train() if train else pair.eval()
    elif hasattr(pair, "training"):
        pair.training = train
