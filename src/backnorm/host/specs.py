"""From an object to what can be called. Plain: Python 3.6 and NumPy, and nothing of backnorm.

A spec is a dictionary: what `backnorm.audit.subject.Subject` has, ``box``, the black box, and
``can``, what that offers beyond the two passes: "higher" derivatives, and a "state" to follow.
How a framework is called stands in its ``_calls.py``, which has

- ``FRAMEWORK``, its import name, and ``base``, a function that names the framework which
  differentiates (itself, or for Flax JAX);
- ``layers(tools)``, all its normalization layers: (name, kind, candidate, arguments);
- ``layer_classes()``, the classes of layers;
- ``layer(candidate, kind, train, tools)``, the facts of a layer in one mode: ``call``, a function
  of a dictionary of the framework's arrays under the names x, gamma and beta, which gives y;
  ``shape``, that of gamma; and where they are not the usual, ``gamma`` and ``beta``, whether there
  are such; ``groups``; ``last``, whether channels are the last axis; ``dtypes``; ``differentiate``;
- ``differentiate(call, leaves, constants, dy)``, y and the gradients of sum(y*dy) by name; without
  dy only y;
- ``higher(call, leaves, constants, dy, along)``, if there is a way: of the gradient g by x, that of
  sum(along[0]*g), and so on, in the end by all leaves and dy, by name;
- ``build(cls, arguments)``, where a class is not just called.

The facts of a layer that keeps something between its calls have ``state`` too, the arrays that it
starts from by name, which ``call`` then finds beside x; and either ``step``, a function of what
``call`` is given and of whether to train, which gives the state after a call (``base`` then has
``visit``, which runs it), or ``visit(state, leaves, dy, train)``, which does the same with NumPy's
arrays, and a backward pass if there is a dy.

This module is given to them as ``tools``, since they cannot import it in both places.
"""

import copy
import functools
import inspect
import re
import sys
import types

import numpy as np

__all__ = [
    "CHANNELS",
    "CannotBuild",
    "Unknown",
    "batch_of_running",
    "first_of",
    "kind_of",
    "mode_arguments",
    "of_calls",
    "of_framework",
    "of_object",
    "role_of",
    "running",
]

GROUPS = 2
"""Groups of channels where their number is not given."""

CHANNELS = {"batch": 4, "layer": 6, "group": 4, "instance": 4, "rms": 6}
"""Channels where their number is not given: few, so that the audit is quick."""

KINDS = (
    ("rmsnorm", "rms"),
    ("layernorm", "layer"),
    ("groupnorm", "group"),
    ("instancenorm", "instance"),
    ("batchnorm", "batch"),
)
"""What the names of classes and functions say where the kind is not given."""

ROLES = (
    ("gamma", r"weight|gamma|scale|g|w|gain|alpha"),
    ("beta", r"bias|beta|shift|offset|b"),
    ("running_mean", r"(running|moving|global|pop|population|ema|avg)_?(mean|mu|avg)|rm"),
    (
        "running_var",
        r"(running|moving|global|pop|population|ema|avg)_?(var|variance|std|sigma2?)|rv",
    ),
    ("training", r"(is_)?(training|train)|use_(input|batch)_stats|train_mode"),
    ("inference", r"use_running_average|inference|deterministic|use_global_stats"),
    ("groups", r"n(um)?_?groups|groups"),
    (
        "channels",
        (
            r"(n(um)?_?|in_?)?(features|channels|planes|dims?)|d_model|hidden(_size)?|width"
            r"|normalized_shape|size|c"
        ),
    ),
    ("x", r"x|input|inputs|X|tensor|data"),
)
"""Names seen in layers that people write, as whole words."""

BY_PLACE = ("x", "gamma", "beta")
"""What the first arguments are where their names say nothing."""

USUAL = ", ".join(BY_PLACE)


class CannotBuild(Exception):
    """A class cannot be constructed, or it is not clear how to call a function."""

    def __init__(self, arguments, cause):
        super().__init__(arguments)
        self.arguments = arguments
        self.cause = cause


class Unknown(Exception):
    """Nothing here knows how to run the object."""

    def __init__(self, candidate):
        super().__init__(type(candidate).__name__)
        self.candidate = candidate


class Box:
    """A call of a framework as a black box on NumPy arrays.

    Where a layer keeps a state, calls start from the one that is given, or else from its first.
    """

    def __init__(self, facts, base):
        own = "differentiate" in facts
        self.call = facts["call"]
        self.differentiate = facts["differentiate"] if own else base.differentiate
        self.deeper = facts.get("higher") or (None if own else getattr(base, "higher", None))
        given = facts.get("state") or facts.get("constants", {})
        self.constants = {name: np.asarray(value) for name, value in given.items()}
        self.last = facts.get("last", False)
        self.visit = facts.get("visit")
        if "step" in facts:
            self.visit = functools.partial(base.visit, facts["step"])
        offers = (("higher", self.deeper), ("state", self.visit))
        self.can = [name for name, function in offers if function]

    def forward(self, x, gamma, beta, state=None):
        """Return y."""
        return self.run(x, gamma, beta, None, state)["y"]

    def run(self, x, gamma, beta, dy, state=None):
        """Return y and the gradients of sum(y*dy)."""
        leaves, upstream = self._leaves(x, gamma, beta), None if dy is None else self._theirs(dy)
        constants = self._constants(state, x.dtype)
        y, gradients = self.differentiate(self.call, leaves, constants, upstream)
        shaped = self._shaped(gradients, gamma, beta)
        found = {"d" + role: shaped.get(role) for role in ("x", "gamma", "beta")}
        return dict(found, y=self._ours(y))

    def higher(self, x, gamma, beta, dy, along, state=None):
        """Return the last of the gradients of sum(along[0]*dx) and so on, by what they are by."""
        leaves, upstream = self._leaves(x, gamma, beta), self._theirs(dy)
        constants = self._constants(state, x.dtype)
        directions = [self._theirs(direction) for direction in along]
        found = self.deeper(self.call, leaves, constants, upstream, directions)
        return self._shaped(found, gamma, beta)

    def state(self):
        """Return the state that calls start from."""
        return self.constants

    def after(self, visits, state=None):
        """Return the state after some calls, each of x, gamma, beta, dy and whether to train."""
        kept = self.constants if state is None else state
        for x, gamma, beta, dy, train in visits:
            given = self._constants(kept, x.dtype)
            upstream = None if dy is None else self._theirs(dy)
            kept = self.visit(given, self._leaves(x, gamma, beta), upstream, train)
        return kept

    def _leaves(self, x, gamma, beta):
        given = {"x": self._theirs(x), "gamma": gamma, "beta": beta}
        return {role: value.copy() for role, value in given.items() if value is not None}

    def _constants(self, state, dtype):
        """Return what calls find beside x: numbers in its format, and counts and flags."""
        given = self.constants if state is None else state
        return {k: v.astype(dtype) if v.dtype.kind == "f" else v.copy() for k, v in given.items()}

    def _shaped(self, gradients, gamma, beta):
        found = dict(gradients)
        for role in set(found).intersection(("x", "dy")):
            found[role] = self._ours(found[role])
        for role, value in (("gamma", gamma), ("beta", beta)):
            gradient = found.get(role)
            if gradient is not None and value is not None and gradient.size == value.size:
                found[role] = gradient.reshape(value.shape)
        return found

    def _theirs(self, array):
        return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if self.last else array.copy()

    def _ours(self, array):
        if not self.last or not isinstance(array, np.ndarray) or array.ndim < 2:
            return array
        return np.ascontiguousarray(np.moveaxis(array, -1, 1))


class PairBox:
    """A NumPy pair as a black box: a fresh copy for each call, so that state starts anew."""

    def __init__(self, pair):
        self.pair = pair

    def _fresh(self):
        if isinstance(self.pair, types.ModuleType):
            return self.pair
        return self.pair() if isinstance(self.pair, type) else copy.deepcopy(self.pair)

    def forward(self, x, gamma, beta):
        """Return y."""
        return self._fresh().forward(x, gamma, beta)[0]

    def run(self, x, gamma, beta, dy):
        """Return y and the gradients."""
        pair = self._fresh()
        y, cache = pair.forward(x, gamma, beta)
        y = copy.copy(y)
        dx, dgamma, dbeta = pair.backward(dy, cache)
        return {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}


def of_framework(calls, calls_of, asked):
    """Return specs of all normalization layers of a framework."""
    found = []
    for name, kind, candidate, arguments in calls.layers(tools()):
        one = dict(asked, name=name, kind=asked.get("kind") or kind, arguments=arguments)
        found += of_calls(calls, calls_of, candidate, one)
    return found


def of_object(candidate, calls_of, asked):
    """Return specs of an object; ``calls_of`` gives the calls of a framework, or None."""
    if hasattr(candidate, "box") and hasattr(candidate, "sample_shape"):
        return [_of_subject(candidate)]
    for root in roots(candidate):
        calls = calls_of(root)
        if calls is not None and recognises(calls, candidate):
            return of_calls(calls, calls_of, candidate, asked)
    if all(callable(getattr(candidate, name, None)) for name in ("forward", "backward")):
        return [_of_pair(candidate, asked)]
    raise Unknown(candidate)


def recognises(calls, candidate):
    """Whether an object is a layer, a class of layers, or a function."""
    classes = tuple(calls.layer_classes())
    if isinstance(candidate, type):
        return issubclass(candidate, classes)
    return isinstance(candidate, classes) or hasattr(candidate, "__name__")


def of_calls(calls, calls_of, candidate, asked):
    """Return specs of an object of a framework, one for each mode that is asked for."""
    kind = asked.get("kind") or kind_of(candidate)
    name = asked.get("name") or name_of(candidate)
    classes = tuple(calls.layer_classes())
    given = asked.get("arguments")
    if isinstance(candidate, type) and issubclass(candidate, classes):
        candidate = build(calls, candidate, given, kind)
        is_layer = True
    else:
        is_layer = isinstance(candidate, classes)
    base = calls_of(calls.base()) or calls
    wanted = asked.get("calls", "as it is")
    made = []
    for mode in _modes(wanted, getattr(candidate, "training", True) is not False):
        train = mode == "train"
        if is_layer:
            facts = calls.layer(candidate, kind, train, tools())
        else:
            facts = _of_function(candidate, given, kind, train)
        made.append(_spec(name, kind, mode, facts, base))
    return made


def _modes(wanted, training):
    if wanted == "both":
        return ("train", "eval")
    if wanted == "as it is":
        return ("train",) if training else ("eval",)
    return (wanted,)


def _spec(name, kind, mode, facts, base):
    shape = tuple(int(length) for length in facts["shape"])
    box = Box(facts, base)
    return {
        "name": name,
        "kind": kind,
        "call": mode if facts.get("modes", True) else None,
        "parameter_shape": shape,
        "sample_shape": None,
        "has_gamma": facts.get("gamma", True),
        "has_beta": facts.get("beta", True),
        "groups": int(facts.get("groups") or 0),
        "dtypes": list(facts.get("dtypes", ("float32", "float64"))),
        "can": box.can,
        "box": box,
    }


def _of_pair(pair, asked):
    kind = asked.get("kind") or getattr(pair, "kind", "batch")
    usual = {"batch": 3, "layer": 6, "group": 4, "instance": 3, "rms": 6}[kind]
    sample = tuple(getattr(pair, "sample_shape", (usual,)))
    default = sample if kind in ("layer", "rms") else sample[:1]
    return {
        "name": asked.get("name") or getattr(pair, "__name__", type(pair).__name__),
        "kind": kind,
        "call": None,
        "parameter_shape": tuple(getattr(pair, "parameter_shape", default)),
        "sample_shape": sample if hasattr(pair, "sample_shape") else None,
        "has_gamma": getattr(pair, "has_gamma", True),
        "has_beta": getattr(pair, "has_beta", kind != "rms"),
        "groups": getattr(pair, "groups", 0),
        "dtypes": list(getattr(pair, "dtypes", ("float32", "float64"))),
        "can": [],
        "box": PairBox(pair),
    }


class _SubjectBox:
    """The box of a ready-made subject: what it returns as a dictionary."""

    def __init__(self, box):
        self.box = box

    def forward(self, x, gamma, beta):
        return self.box.forward(x, gamma, beta)

    def run(self, x, gamma, beta, dy):
        run = self.box.run(x, gamma, beta, dy)
        if isinstance(run, dict):
            return run
        return {key: getattr(run, key, None) for key in ("y", "dx", "dgamma", "dbeta")}

    def higher(self, x, gamma, beta, dy, along):
        return dict(self.box.higher(x, gamma, beta, dy, along))


def _of_subject(subject):
    """Return the spec of something that has the attributes of a subject."""
    sample = tuple(subject.sample_shape)
    kind = getattr(subject, "kind", "batch")
    default = sample if kind in ("layer", "rms") else sample[:1]
    return {
        "name": getattr(subject, "name", type(subject).__name__),
        "kind": kind,
        "call": getattr(subject, "call", None),
        "parameter_shape": tuple(getattr(subject, "parameter_shape", default)),
        "sample_shape": sample,
        "has_gamma": getattr(subject, "has_gamma", True),
        "has_beta": getattr(subject, "has_beta", True),
        "groups": getattr(subject, "groups", 0),
        "dtypes": list(getattr(subject, "dtypes", ("float32", "float64"))),
        "can": ["higher"] if hasattr(subject.box, "higher") else [],
        "box": _SubjectBox(subject.box),
    }


# --- names --------------------------------------------------------------------------------------


def role_of(name):
    """Return the role of a name, and "" where it has none.

    Examples
    --------
    >>> role_of("moving_mean"), role_of("bias"), role_of("eps")
    ('running_mean', 'beta', '')
    """
    last = name.rpartition(".")[2].strip("_")
    return next((role for role, names in ROLES if re.match("(?:%s)$" % names, last)), "")


def kind_of(candidate):
    """Guess the kind from the names of a function, or of a class and its bases."""
    cls = candidate if isinstance(candidate, type) else type(candidate)
    names = [getattr(candidate, "__name__", "")] + [base.__name__ for base in cls.__mro__]
    for name in names:
        plain = name.lower().replace("_", "").replace("normalization", "norm")
        for part, kind in KINDS:
            if part in plain:
                return kind
    return "batch"


def name_of(candidate):
    """Return what to call an object: module and name."""
    named = candidate if hasattr(candidate, "__qualname__") else type(candidate)
    return "%s.%s" % (named.__module__, named.__qualname__)


def roots(candidate):
    """Return the top packages that an object comes from: its classes', and those it uses."""
    classes = (candidate if isinstance(candidate, type) else type(candidate)).__mro__
    names = [cls.__module__ for cls in classes]
    names.append(getattr(candidate, "__module__", None) or "")
    used = list(getattr(candidate, "__globals__", {}).values())
    names += [value.__name__ for value in used if isinstance(value, types.ModuleType)]
    found = []
    for name in names:
        root = name.partition(".")[0]
        if root.isidentifier() and root not in found:
            found.append(root)
    return found


def running(role, length):
    """Return running statistics that no batch has: the probes' means are 1.5 and more."""
    return np.linspace(0.5, 1.5, length) if role == "running_var" else np.linspace(-1, 1, length)


def batch_of_running(length):
    """Return a batch, channels last, whose mean and variance are those running statistics."""
    mean, deviation = running("running_mean", length), np.sqrt(running("running_var", length))
    return np.stack([mean - deviation, mean + deviation]).reshape(2, 1, length)


def first_of(y):
    """Return y, and where a layer returns more than y, its first part."""
    return y[0] if isinstance(y, (tuple, list)) and len(y) else y


def mode_arguments(function, train):
    """Return what to pass to arguments that ask whether to train."""
    values = {"training": train, "inference": not train}
    try:
        names = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    return {name: values[role_of(name)] for name in names if role_of(name) in values}


# --- classes ------------------------------------------------------------------------------------


def build(calls, cls, given, kind):
    """Construct a layer; without arguments, guess those that have no default."""
    arguments = _guess(cls, CHANNELS[kind]) if given is None else given
    make = getattr(calls, "build", _construct)
    try:
        return make(cls, arguments)
    except Exception as error:
        raise CannotBuild(repr(arguments), error) from error


def _construct(cls, arguments):
    return cls(**arguments) if isinstance(arguments, dict) else cls(*arguments)


def _guess(cls, channels):
    """Guess what a constructor wants: groups by their name, and channels for anything else."""
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):
        return [channels]
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    wanted = [p for p in parameters if p.kind in named and p.default is p.empty]
    return [GROUPS if role_of(p.name) == "groups" else channels for p in wanted]


# --- functions ----------------------------------------------------------------------------------


def _of_function(function, given, kind, train):
    """Return the facts of a function of arrays: its arguments are told by their names."""
    positional, keywords = plan(function, given)
    roles = {role for role, _ in positional} | {role for role, _ in keywords.values()}
    shape = (CHANNELS[kind],)
    groups = GROUPS if "groups" in roles else 0
    fixed = {"training": train, "inference": not train, "channels": shape, "groups": groups}

    def call(arrays):
        def value(role, default):
            return arrays.get(role, fixed.get(role, default))

        arguments = [value(role, default) for role, default in positional]
        named = {name: value(role, default) for name, (role, default) in keywords.items()}
        return function(*arguments, **named)

    return {
        "call": call,
        "last": getattr(function, "channels_last", False),
        "shape": shape,
        "gamma": "gamma" in roles,
        "beta": "beta" in roles,
        "groups": groups,
        "constants": {role: running(role, shape[0]) for role in roles if "running" in role},
        "modes": bool(roles & {"training", "inference"}),
    }


def plan(function, given):
    """Work out how to call a function: for each argument its role and its value where fixed.

    ``given`` are arguments that the caller fixes: by name, or those after x, gamma and beta.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise CannotBuild(USUAL, error) from error
    if not isinstance(given, dict):
        after = [p.name for p in parameters[1:] if role_of(p.name) not in BY_PLACE]
        given = dict(zip(after, given or ()))
    positional, keywords = [], {}
    for place, parameter in enumerate(parameters):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        entry = _entry(place, parameter, given)
        if parameter.kind is parameter.KEYWORD_ONLY:
            keywords[parameter.name] = entry
        else:
            positional.append(entry)
    return positional, keywords


def _entry(place, parameter, given):
    if parameter.name in given:
        return "fixed", given[parameter.name]
    role = "x" if place == 0 else role_of(parameter.name)
    if role and (role != "x" or place == 0):
        return role, None if parameter.default is parameter.empty else parameter.default
    if parameter.default is not parameter.empty:
        return "fixed", parameter.default
    if place < len(BY_PLACE):
        return BY_PLACE[place], None
    raise CannotBuild(USUAL, TypeError(parameter.name + " has no default"))


def tools():
    """Return this module, by whatever name it was imported."""
    return sys.modules[__name__]
