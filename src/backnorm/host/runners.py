"""What calls a subject: here a layer or function by its layer spec, and a ready-made subject.

A runner takes and gives NumPy arrays, and leaves no trace: each call starts from the same state.
It has

- ``forward(x, gamma, beta)``, which gives y;
- ``run(x, gamma, beta, dy)``, which gives y, dx, dgamma and dbeta in a dictionary;
- ``can``, the names of what it offers beyond: "higher", "state", "traces", "overlapped" and
  "others" are operations, the rest are names of variants;
- "higher": ``higher(x, gamma, beta, dy, along)``, the last of the gradients of sum(along[0]*dx) and
  so on, by what they are by;
- "state": ``state()``, arrays by their names; ``given()``, those that the object came with, where
  calls start from others; ``attached()``, the names of those that hold a graph; ``after(steps)``,
  the runner after some calls, each of x, gamma, beta, dy or None, and whether to train;
- "traces": ``traces(x, gamma, beta, dy)``, what a call leaves behind, names in two lists:
  "overwritten", arrays that it was given, and "changed", global state; and where the runner holds
  random numbers fixed, "random", whether the call draws some;
- "overlapped": ``overlapped(x, gamma, beta, dy, later)``, what ``run`` gives, where between the two
  passes there is another forward pass, on the array ``later``;
- "others": ``others(x, gamma, beta, dy, moved)``, y, where the parameters beside gamma and beta are
  moved by the arrays in ``moved``, by name; "values", what each is then, and "gradients", of
  sum(y*dy) by those that it reaches, none without a dy;
- "mask": ``masked(x, gamma, beta, dy, mask)``, y and dx where a mask says what counts of x;
- "parts": ``apart(parts)``, in a list what each part of a batch gave, of arguments of ``run`` or,
  with "mask", those and a mask, in place of ``masked``; and without a mask "state", what is kept
  after that call;
- "float16", "bfloat16", "threads", "needs_dx": ``variant(dtype, threads, needs_dx)``, a runner that
  computes in that dtype, on that many threads, and where x needs a gradient or not.

NumPy pairs have theirs in `pairs`, modules of PyTorch in ``calls/torch.py``. Plain: Python 3.6 and
NumPy, and nothing of backnorm.
"""

import functools

import numpy as np

from .traces import World

__all__ = [
    "LayerRunner",
    "SubjectRunner",
    "first_of",
    "shaped_like",
]


class LayerRunner:
    """Calls a layer or a function by its layer spec, see `specs`.

    A framework that has VARIANTS runs in other ways too: its ``differentiate`` takes dtype, threads
    and needs_dx, and arrays as they lie in memory. For the others arrays are put in order. The
    functions of one that has devices take the name of one, ``place``.
    """

    def __init__(self, layer, base, variants=(), state=None, way=(), place=()):
        own = "differentiate" in layer
        self.layer, self.base, self.variants, self.way = layer, base, variants, way
        self.place = dict(place)
        self.call = layer["call"]
        self.differentiate = layer["differentiate"] if own else base.differentiate
        self.deeper = layer.get("higher") or (None if own else getattr(base, "higher", None))
        self.take_step = layer.get("take_step")
        if "step" in layer:
            self.take_step = functools.partial(base.take_step, layer["step"], **self.place)
        first = layer.get("state") or layer.get("constants", {})
        given = first if state is None else state
        self.kept = {name: np.asarray(value) for name, value in given.items()}
        offers = (
            ("higher", self.deeper),
            ("state", self.take_step),
            ("traces", True),
            ("overlapped", not own and hasattr(base, "overlapped")),
            ("parts", not own and "over" in layer),
            ("mask", not own and "over" in layer and layer.get("mask")),
        )
        self.can = [name for name, function in offers if function] + list(variants)

    def forward(self, x, gamma, beta):
        """Return y."""
        return self.run(x, gamma, beta, None)["y"]

    def run(self, x, gamma, beta, dy):
        """Return y and the gradients of sum(y*dy)."""
        leaves, upstream = self._leaves(x, gamma, beta), None if dy is None else self._theirs(dy)
        constants = self._constants(x.dtype)
        given = (self.call, leaves, constants, upstream) + self.way
        y, gradients = self.differentiate(*given, **self.place)
        shaped = self._shaped(gradients, gamma, beta)
        found = {"d" + role: shaped.get(role) for role in ("x", "gamma", "beta")}
        return dict(found, y=y)

    def higher(self, x, gamma, beta, dy, along):
        """Return the last of the gradients."""
        leaves, upstream = self._leaves(x, gamma, beta), self._theirs(dy)
        directions = [self._theirs(direction) for direction in along]
        given = (self.call, leaves, self._constants(x.dtype), upstream, directions)
        found = self.deeper(*given, **self.place)
        return self._shaped(found, gamma, beta)

    def traces(self, x, gamma, beta, dy):
        """Return what a call leaves behind; only a framework can say what is overwritten."""
        observed, found = getattr(self.base, "observed", None), {"overwritten": [], "changed": []}
        with World() as world:
            if observed is None or "differentiate" in self.layer:
                self.run(x, gamma, beta, dy)
            else:
                leaves, constants = self._leaves(x, gamma, beta), self._constants(x.dtype)
                given = (self.call, leaves, constants, self._theirs(dy))
                found = observed(*given, **self.place)
        return dict(found, changed=found["changed"] + world.changed)

    def overlapped(self, x, gamma, beta, dy, later):
        """Return y and the gradients of a call that another forward pass comes between."""
        leaves, constants = self._leaves(x, gamma, beta), self._constants(x.dtype)
        given = (self.call, leaves, constants, self._theirs(dy), self._theirs(later))
        y, gradients = self.base.overlapped(*given, **self.place)
        shaped = self._shaped(gradients, gamma, beta)
        found = {"d" + role: shaped.get(role) for role in ("x", "gamma", "beta")}
        return dict(found, y=y)

    def apart(self, parts):
        """Return what each part of a batch gave where all are called together."""
        given = [None if each[0] is None else np.stack(each) for each in zip(*parts)]
        x, gamma, beta, dy, *masks = given
        leaves, alike = self._leaves(x, gamma, beta), self._constants(x.dtype)
        constants = {name: np.stack([value] * len(parts)) for name, value in alike.items()}
        shown = dict(constants, **dict(zip(("mask",), masks)))
        over = self.layer["over"]
        y, gradients = self.differentiate(over["call"], leaves, shown, dy)
        found = {"d" + role: gradients.get(role) for role in ("x", "gamma", "beta")}
        state = {}
        if "step" in over and not masks:
            state = self.base.take_step(over["step"], constants, leaves, None, True)
        return [
            {
                "y": y[place],
                "state": {name: value[place] for name, value in state.items()},
                **{name: None if one is None else one[place] for name, one in found.items()},
            }
            for place in range(len(parts))
        ]

    def state(self):
        """Return the state that calls start from."""
        return self.kept

    def given(self):
        """Return the state that the layer came with."""
        return self.kept

    def attached(self):
        """Return nothing: what is kept between calls is NumPy's."""
        return []

    def after(self, steps):
        """Return a runner whose calls start from the state after some calls."""
        runner = self
        for x, gamma, beta, dy, train in steps:
            upstream = None if dy is None else self._theirs(dy)
            constants = runner._constants(x.dtype)
            moved = self.take_step(constants, self._leaves(x, gamma, beta), upstream, train)
            kept = (self.layer, self.base, self.variants)
            runner = LayerRunner(*kept, state=moved, way=self.way, place=self.place)
        return runner

    def variant(self, dtype, threads, needs_dx):
        """Return a runner that calls in another way."""
        way = (dtype, threads, needs_dx)
        return LayerRunner(self.layer, self.base, self.variants, self.kept, way, self.place)

    def on(self, device):
        """Return a runner that calls on a device."""
        place = {"device": device}
        return LayerRunner(self.layer, self.base, self.variants, self.kept, self.way, place)

    def _leaves(self, x, gamma, beta):
        given = {"gamma": gamma, "beta": beta}
        leaves = {role: value.copy() for role, value in given.items() if value is not None}
        return dict({"x": self._theirs(x)}, **leaves)

    def _constants(self, dtype):
        """Return what calls find beside x: numbers in its dtype, and counts and flags."""
        return {
            name: value.astype(dtype) if value.dtype.kind == "f" else value.copy()
            for name, value in self.kept.items()
        }

    def _shaped(self, gradients, gamma, beta):
        found = dict(gradients)
        for role, value in (("gamma", gamma), ("beta", beta)):
            if role in found:
                found[role] = shaped_like(value, found[role])
        return found

    def _theirs(self, array):
        return array if self.variants else array.copy()


class SubjectRunner:
    """Calls a ready-made subject, whose runner may give an object in place of a dictionary."""

    def __init__(self, runner):
        self.runner = runner
        needs = (("higher", ("higher",)), ("state", ("state", "after")), ("others", ("others",)))
        offers = [name for name, has in needs if all(hasattr(runner, one) for one in has)]
        self.can = list(getattr(runner, "can", offers))

    def forward(self, x, gamma, beta):
        """Return y."""
        return self.runner.forward(x, gamma, beta)

    def run(self, x, gamma, beta, dy):
        """Return y and the gradients."""
        found = self.runner.run(x, gamma, beta, dy)
        if isinstance(found, dict):
            return found
        return {name: getattr(found, name, None) for name in ("y", "dx", "dgamma", "dbeta")}

    def higher(self, x, gamma, beta, dy, along):
        """Return the last of the gradients."""
        return dict(self.runner.higher(x, gamma, beta, dy, along))

    def traces(self, x, gamma, beta, dy):
        """Return what a call leaves behind."""
        return dict(self.runner.traces(x, gamma, beta, dy))

    def overlapped(self, x, gamma, beta, dy, later):
        """Return y and the gradients of a call that another forward pass comes between."""
        return dict(self.runner.overlapped(x, gamma, beta, dy, later))

    def others(self, x, gamma, beta, dy, moved):
        """Return y, and the values and gradients of the parameters beside gamma and beta."""
        return dict(self.runner.others(x, gamma, beta, dy, moved))

    def state(self):
        """Return what the subject keeps."""
        return {name: np.asarray(value) for name, value in self.runner.state().items()}

    def given(self):
        """Return what the subject came with."""
        return dict(getattr(self.runner, "given", self.runner.state)())

    def attached(self):
        """Return the names of what holds a graph; nothing where it does not tell."""
        return list(self.runner.attached()) if hasattr(self.runner, "attached") else []

    def after(self, steps):
        """Return the runner after some calls."""
        return SubjectRunner(self.runner.after(steps))

    def variant(self, dtype, threads, needs_dx):
        """Return a runner that calls in another way."""
        return SubjectRunner(self.runner.variant(dtype, threads, needs_dx))


def first_of(y):
    """Return y, and where a layer returns more than y, its first part."""
    return y[0] if isinstance(y, (tuple, list)) and len(y) else y


def shaped_like(parameter, gradient):
    """Give the gradient of a (1, C, 1, 1) parameter the shape (C,) that the audit knows."""
    if gradient is None or parameter is None or gradient.size != parameter.size:
        return gradient
    return gradient.reshape(parameter.shape)
