"""What names say: the role of a parameter, a buffer or an argument, and the kind of a layer.

The one table of names. Plain: Python 3.6, and nothing of backnorm.
"""

import inspect
import re
import types

__all__ = [
    "ROLES",
    "RUNNING",
    "STATE_ROLES",
    "STATISTICS",
    "kind_in",
    "kind_of",
    "mode_arguments",
    "name_of",
    "names_a_norm",
    "names_an_input",
    "role_of",
    "roots",
    "state_role",
    "takes_mask",
]

RUNNING = (
    ("running_mean", r"(running|moving|global|pop|population|ema|avg)_?(mean|mu|avg)|rm"),
    (
        "running_var",
        r"(running|moving|global|pop|population|ema|avg)_?(var|variance|std|sigma2?)|rv",
    ),
)
"""Running statistics, as whole words, as all names below."""

STATISTICS = tuple(role for role, _ in RUNNING)

ROLES = (
    ("gamma", r"(affine_)?weight|(log_)?(gamma|scale|weight)|g|w|gain|alpha"),
    ("beta", r"(affine_)?bias|beta|shift|offset|b"),
    *RUNNING,
    ("training", r"(is_)?(training|train)|use_(input|batch)_stats|train_mode"),
    ("inference", r"use_running_average|inference|deterministic|use_global_stats"),
    ("direction", r"mode"),
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
"""What layers that people write call their parameters, buffers and arguments."""

OTHER_INPUTS = (
    r"(class_|style_|attention_|padding_)?(style|mask|labels?|lengths?|cond(ition)?|context"
    r"|domain|reference|guide|targets?|class_?ids?)"
)
"""What they call a second input of a function: its shape is not that of gamma."""

STATE_ROLES = (
    *RUNNING,
    ("count", r"num_batches_tracked|n(um)?_?(batches|updates|steps|calls)|count(er)?|steps?"),
    ("momentum", r"momentum|decay(_rate)?|keep|moving_average_fraction|exponential_avg_factor"),
)
"""What they call what they keep between calls: statistics, a count of updates, a weight."""

COLLECTION = "batch_stats."
"""Where Flax keeps running statistics, which it calls mean and var there."""

KINDS = (
    ("rmsnorm", "rms"),
    ("layernorm", "layer"),
    ("groupnorm", "group"),
    ("instancenorm", "instance"),
    ("batchnorm", "batch"),
)
"""What the names of classes and functions say where the kind is not given."""

LETTERS = "LN|GN|IN|FRN|GRN|LRN|RMS"
ENDS_AS_NORM = re.compile(
    r"(.*N|.*_n|n)orm(ali[sz]ation)?(\d|[123][dD])?$"  # PixelNorm, my_norm, MyNorm2d
    r"|(.*[a-z0-9_])?[A-Z]*BN(\d|[123][dD])?$"  # BN2d, ABN, SyncBN
    r"|(.*[a-z0-9_])?(%s)(\d|[123][dD])?$" % LETTERS  # LN, RevIN, AdaIN
)
"""Names of classes that end as a normalization, in whole words."""

HAS_NORM = re.compile(
    r".*Norm(ali[sz]ation)?(?=[0-9_A-Z])|norm_"  # NormAct, EvoNorm2dB0
    r"|[A-Z]*BN(?=[0-9_]|[A-Z][a-z])|(%s)(?=_|[123][dD]|[A-Z][a-z])" % LETTERS  # BNAct, IN_relu
)
"""Names that begin so, or have such a word inside: a normalization and what comes after it."""


def role_of(name):
    """Return the role of a name, and "" where it has none.

    Examples
    --------
    >>> role_of("moving_mean"), role_of("bias"), role_of("eps")
    ('running_mean', 'beta', '')
    """
    return _role_in(ROLES, _last(name))


def state_role(name):
    """Return the role of a name among what a layer keeps, and "" where it has none.

    Examples
    --------
    >>> state_role("bn.moving_var"), state_role("num_batches_tracked"), state_role("x_hat")
    ('running_var', 'count', '')
    >>> state_role("batch_stats.mean")
    'running_mean'
    """
    last = _last(name)
    return _role_in(STATE_ROLES, "running_" + last if name.startswith(COLLECTION) else last)


def names_an_input(name):
    """Return whether a name is that of an input beside x, such as a style or a mask.

    Examples
    --------
    >>> names_an_input("style"), names_an_input("attention_mask"), names_an_input("scale")
    (True, True, False)
    """
    return bool(re.match("(%s)$" % OTHER_INPUTS, _last(name)))


def _last(name):
    return name.rpartition(".")[2].strip("_")


def _role_in(roles, word):
    return next((role for role, names in roles if re.match("(?:%s)$" % names, word)), "")


def kind_in(name):
    """Return the kind that a name says, and "" where it says none.

    Examples
    --------
    >>> kind_in("FrozenBatchNorm2d"), kind_in("instance_normalization"), kind_in("Linear")
    ('batch', 'instance', '')
    """
    plain = name.lower().replace("_", "").replace("normalization", "norm")
    return next((kind for part, kind in KINDS if part in plain), "")


def names_a_norm(name):
    """Return whether the name of a class is that of a normalization, of whatever kind.

    "ends" where it ends so, or says the kind; "has" where another word follows; "" elsewhere.

    Examples
    --------
    >>> [names_a_norm(name) for name in ("DetachedMeanNorm", "BN2d", "RevIN", "NormAct")]
    ['ends', 'ends', 'ends', 'has']
    >>> {names_a_norm(name) for name in ("Normal", "Linear", "DBNet", "INPUT", "GNN")}
    {''}
    """
    if kind_in(name) or ENDS_AS_NORM.match(name):
        return "ends"
    return "has" if HAS_NORM.match(name) else ""


def kind_of(candidate):
    """Guess the kind from the names of a function, or of a class and its bases."""
    cls = candidate if isinstance(candidate, type) else type(candidate)
    known = [getattr(candidate, "__name__", "")] + [base.__name__ for base in cls.__mro__]
    return next(filter(None, map(kind_in, known)), "batch")


def name_of(candidate):
    """Return what to call an object: module and name."""
    named = candidate if hasattr(candidate, "__qualname__") else type(candidate)
    return "%s.%s" % (named.__module__, named.__qualname__)


def roots(candidate):
    """Return the top packages that an object comes from: its classes', and those it uses."""
    classes = (candidate if isinstance(candidate, type) else type(candidate)).__mro__
    places = [cls.__module__ for cls in classes]
    places.append(getattr(candidate, "__module__", None) or "")
    # What wraps a function, as jax.jit does, may have no globals.
    inner = inspect.unwrap(candidate) if callable(candidate) else candidate
    places.append(getattr(inner, "__module__", None) or "")
    used = list(getattr(inner, "__globals__", {}).values())
    places += [value.__name__ for value in used if isinstance(value, types.ModuleType)]
    found = []
    for place in places:
        root = place.partition(".")[0]
        if root.isidentifier() and root not in found:
            found.append(root)
    return found


def takes_mask(function):
    """Return whether a function has an argument ``mask``, which says what counts of x.

    Examples
    --------
    >>> takes_mask(lambda x, mask=None: x), takes_mask(lambda x: x)
    (True, False)
    """
    return "mask" in inspect.signature(function).parameters


def mode_arguments(function, train):
    """Return what to pass to arguments that ask whether to train, or whether to normalize.

    Reversible normalizations have one forward for both ways: of ("norm", "denorm") the first.
    """
    values = {"training": train, "inference": not train, "direction": "norm"}
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    return {name: values[role_of(name)] for name in parameters if role_of(name) in values}
