"""From an object to specs of what can be called.

A **spec** is a dictionary: what `backnorm.audit.subject.Subject` has, with ``runner``, what calls
the subject (see `runners`), ``can``, what that offers beyond the two passes, ``axes``, the order of
the axes of x (see `backnorm.audit.subjects.axes`), ``channels``, the number of channels that it was
made for, 0 where that is not known, ``given``, whether the kind is known and not a guess,
``asked``, whether the user named the kind or the axes, and where parameters have several axes
``stored``, their shape. Of a normalization in a file there are ``forward_only``, why it has no
gradient; ``declared``, what the file says of it: eps, momentum, running_mean and running_var; and
``notes``.

How a framework is called stands in its file in ``calls/``, which has

- ``layers()``, all its normalization layers: (name, kind, candidate, arguments), see
  `calls.listed`;
- ``layer_classes()``, the classes of layers;
- ``layer(candidate, kind, train)``, the layer spec of a layer in one mode, see below;
- ``differentiate(call, leaves, constants, dy)``, y and the gradients of sum(y*dy) by name; without
  dy only y;
- ``higher(call, leaves, constants, dy, along)``, if there is a way: of the gradient g by x, that of
  sum(along[0]*g), and so on, in the end by all leaves and dy, by name;
- where they are needed: ``base()``, which names the framework that differentiates, if that is
  another one, as JAX is for Flax; ``build(cls, arguments)``, if a class is not just called;
  ``function(candidate)``, what to call and what to read its arguments from, if that is not the
  candidate; ``name_of(candidate)``; ``VARIANTS``, see `runners.LayerRunner`; ``dtypes_on(device)``,
  the dtypes on a device, or an error, where all functions take a ``device`` too; ``spread(layer)``,
  the layer spec of a layer whose calls may have several parts of a batch; ``BACKENDS`` and
  ``VARIABLE``, packages that it runs on, and the environment variable which chooses one.

A **layer spec** is a dictionary too: ``call``, a function of a dictionary of the framework's arrays
under the names x, gamma and beta, which gives y; ``shape``, that of gamma; and where they are not
the usual, ``gamma`` and ``beta``, whether there are such; ``stored``, the shape in which they are
kept; ``groups``; ``last``, whether channels are the last axis; ``dtypes``; ``differentiate`` and
``higher``; ``modes``, whether training and evaluation differ; ``parts``, of how many layers with
parameters it is made; ``axis_names``, the mapped axes of JAX over which it synchronizes; ``mask``,
whether ``call`` takes a mask beside x. In place of ``call`` it may have a ``runner``.

The spec of a layer that keeps something between its calls has ``state`` too, the arrays that it
starts from by name, which ``call`` then finds beside x; and either ``step``, a function of what
``call`` is given and of whether to train, which gives the state after a call (``base`` then has
``take_step``, which runs it), or ``take_step(state, leaves, dy, train)``, which does the same with
NumPy's arrays, and a backward pass if there is a dy.

Plain: Python 3.6 and NumPy, and nothing of backnorm.
"""

import inspect
import types

from . import defaults
from .calls import FRAMEWORKS, calls_of
from .devices import on_device, only_here
from .find import names_in
from .functions import may_be_none, of_function
from .model_file import OnnxFile
from .names import kind_of, name_of, role_of, roots
from .no_subject import NoSubject
from .pairs import PairRunner, has_modes, in_mode, is_pair, mode_of
from .runners import LayerRunner, SubjectRunner

__all__ = ["names_of_layers", "of_framework", "of_object"]

DTYPES = ("float32", "float64")


def of_framework(calls, asked):
    """Return specs of all normalization layers of a framework.

    ``asked`` is a dictionary of what is asked for: the kind, axes, arguments, modes ("train",
    "eval", "both", or "as it is"), name, device, and place, which of them is meant, each of which
    may be missing.
    """
    found, layers = [], list(calls.layers())
    if asked.get("place") is not None:
        layers = [layers[asked["place"]]]
    for name, kind, candidate, arguments in layers:
        one = dict(asked, name=name, kind=asked.get("kind") or kind, arguments=arguments)
        found += [dict(spec, asked=_is_asked(asked)) for spec in _of_calls(calls, candidate, one)]
    return found


def names_of_layers(calls):
    """Return the names of all normalization layers of a framework, in their order."""
    return [name for name, _, _, _ in calls.layers()]


def of_object(candidate, asked):
    """Return specs of an object: one for each mode that is asked for, and that it has.

    A dictionary stands for several objects, and gives each its name.
    """
    if isinstance(candidate, dict):
        each = ((name, one) for name, one in candidate.items())
        return [spec for name, one in each for spec in of_object(one, dict(asked, name=name))]
    if isinstance(candidate, OnnxFile):
        return candidate.specs()
    if hasattr(candidate, "sample_shape") and _runner_of(candidate) is not None:
        only_here("a subject of its own", asked)
        return _of_subject(candidate, asked)
    for root in roots(candidate):
        calls = calls_of(root)
        if calls is not None and _recognises(calls, candidate):
            return _of_calls(calls, candidate, asked)
    if is_pair(candidate):
        only_here("a pair of NumPy", asked)
        return _of_pair(candidate, asked)
    raise _unknown(candidate)


def _unknown(candidate):
    """Return what is raised where nothing here knows how to run the object."""
    halves = [name for name in ("forward", "backward") if callable(getattr(candidate, name, None))]
    if halves:
        return NoSubject.half_a_pair(halves[0])
    if isinstance(candidate, types.ModuleType):
        return NoSubject.whole_module(names_in(candidate))
    if isinstance(candidate, type):
        return NoSubject.unknown_class()
    return NoSubject.unknown_object(type(candidate).__name__)


# --- frameworks ---------------------------------------------------------------------------------


def _recognises(calls, candidate):
    """Whether an object is a layer, a class of layers, or a function."""
    classes = tuple(calls.layer_classes())
    if isinstance(candidate, type):
        return issubclass(candidate, classes) or _function_of(calls, candidate) is not None
    return isinstance(candidate, classes) or hasattr(candidate, "__name__")


def _function_of(calls, candidate):
    """Return what to call and what to read its arguments from; None if it is not a function."""
    if hasattr(calls, "function"):
        return calls.function(candidate)
    return None if isinstance(candidate, type) else (candidate, candidate)


def _of_calls(calls, candidate, asked):
    kind = asked.get("kind") or kind_of(candidate)
    name = asked.get("name") or getattr(calls, "name_of", name_of)(candidate)
    classes, given = tuple(calls.layer_classes()), asked.get("arguments")
    channels, guessed = 0, ""
    if isinstance(candidate, type) and issubclass(candidate, classes):
        arguments = _guess(candidate, defaults.CHANNELS[kind]) if given is None else given
        channels = _channels_in(arguments)
        if given is None and not _is_of_a_framework(candidate):
            guessed = ", ".join("%s=%s" % pair for pair in zip(_required(candidate), arguments))
        candidate = _build(calls, candidate, arguments, guessed=given is None)
    base = calls_of(calls.base()) if hasattr(calls, "base") else calls
    made = []
    for mode in _modes(asked, getattr(candidate, "training", True) is not False):
        train = mode == "train"
        if isinstance(candidate, classes):
            layer = _whole(calls.layer(candidate, kind, train), channels)
        else:
            layer = of_function(*_function_of(calls, candidate), given, kind, train)
        spec = _of_layer(name, kind, mode, layer, base, getattr(calls, "VARIANTS", ()))
        usual = "N...C" if layer.get("last") else ""
        axes = asked.get("axes") or _text_in(candidate, "axes") or usual
        known = {"given": bool(asked.get("kind")), "asked": _is_asked(asked)}
        spec = on_device(calls, base, spec, asked.get("device"))
        made.append(dict(spec, axes=axes, channels=channels, guessed=guessed, **known))
        if not layer.get("modes", True):
            # Nothing tells a layer the mode: another one would be the same, compiled once more.
            break
    return made


def _is_of_a_framework(cls):
    """Whether a class is a layer of a framework or of backnorm, whose arguments are well known."""
    return cls.__module__.partition(".")[0] in ("backnorm",) + tuple(FRAMEWORKS)


def _is_asked(asked):
    """Whether the user named the kind or the axes."""
    return bool(asked.get("kind") or asked.get("axes"))


def _of_layer(name, kind, mode, layer, base, variants):
    if "axis_names" in layer and hasattr(base, "spread"):
        layer = base.spread(layer)
    runner = layer.get("runner") or LayerRunner(layer, base, variants)
    return {
        "name": name,
        "kind": kind,
        "call": mode if layer.get("modes", True) else None,
        "parameter_shape": tuple(int(length) for length in layer["shape"]),
        "sample_shape": None,
        "has_gamma": layer.get("gamma", True),
        "has_beta": layer.get("beta", True),
        "groups": int(layer.get("groups") or 0),
        "stored": tuple(int(length) for length in layer.get("stored", layer["shape"])),
        "optional": layer.get("optional", False),
        "version": "",
        "parts": layer.get("parts", 0),
        "dtypes": list(layer.get("dtypes", DTYPES)),
        "can": list(runner.can),
        "runner": runner,
    }


def _modes(asked, training):
    """Return the modes to make specs of, for an object that is set to train or not."""
    wanted = asked.get("modes", "as it is")
    if wanted == "both":
        return ("train", "eval")
    if wanted == "as it is":
        return ("train",) if training else ("eval",)
    return (wanted,)


def _channels_in(arguments):
    """Return the one whole number that a layer is constructed with; 0 if there are others."""
    values = arguments.values() if isinstance(arguments, dict) else arguments
    numbers = {value for value in values if type(value) is int}
    return numbers.pop() if len(numbers) == 1 else 0


def _whole(layer, channels):
    """Return the layer spec of a layer with so many channels, which may share them among parts.

    gamma and beta of a part are not those of the layer.
    """
    own = 1
    for length in layer["shape"]:
        own *= int(length)
    if channels <= own or channels % own or not layer.get("gamma", True):
        return layer
    return dict(layer, shape=(channels,), stored=(channels,), gamma=False, beta=False)


def _build(calls, cls, arguments, guessed):
    """Construct a layer."""
    make = getattr(calls, "build", _construct)
    try:
        return make(cls, arguments)
    except Exception as error:
        takes = _required(cls)
        raise NoSubject.not_constructed(error, arguments, guessed, takes) from error


def _required(cls):
    """Return the names of the arguments that a constructor has no default for."""
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):
        return []
    open_ended = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in open_ended]


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
    return [defaults.GROUPS if role_of(p.name) == "groups" else channels for p in wanted]


# --- pairs and ready-made subjects --------------------------------------------------------------


def _of_pair(pair, asked):
    kind = asked.get("kind") or getattr(pair, "kind", "batch")
    sample = tuple(getattr(pair, "sample_shape", (defaults.PAIR_CHANNELS[kind],)))
    default = sample if kind in ("layer", "rms") else sample[:1]
    spec = {
        "name": asked.get("name") or getattr(pair, "__name__", type(pair).__name__),
        "kind": kind,
        "parameter_shape": tuple(getattr(pair, "parameter_shape", default)),
        "sample_shape": sample if hasattr(pair, "sample_shape") else None,
        "has_gamma": getattr(pair, "has_gamma", True),
        "has_beta": getattr(pair, "has_beta", kind != "rms"),
        "groups": getattr(pair, "groups", 0),
        "optional": may_be_none(pair.forward),
        "version": _text_in(pair, "version"),
        "dtypes": list(getattr(pair, "dtypes", DTYPES)),
        "stored": tuple(getattr(pair, "parameter_shape", default)),
        "axes": asked.get("axes") or _text_in(pair, "axes"),
        "given": bool(asked.get("kind") or hasattr(pair, "kind")),
        "asked": _is_asked(asked),
    }
    made = []
    for mode in _modes_of_pair(pair, asked):
        runner = PairRunner(pair, None if mode is None else mode == "train")
        made.append(dict(spec, call=mode, can=list(runner.can), runner=runner))
    return made


def _modes_of_pair(pair, asked):
    """Return the modes of a pair; a class shows in what it constructs whether it has any."""
    try:
        one = PairRunner(pair).fresh()
    except Exception:
        # Its first call will raise the same, and is told.
        return (None,)
    return _modes(asked, mode_of(one) is not False) if has_modes(one) else (None,)


def _runner_of(subject):
    """Return what calls a ready-made subject: its ``runner``, or ``box``, as it was called."""
    return getattr(subject, "runner", getattr(subject, "box", None))


def _of_subject(subject, asked):
    """Return the specs of something that has the attributes of a subject.

    One for each mode that is asked for, if its runner has modes as a pair has them, and it does not
    say itself in which it is called.
    """
    sample = tuple(subject.sample_shape)
    kind = asked.get("kind") or getattr(subject, "kind", "batch")
    default = sample if kind in ("layer", "rms") else sample[:1]
    title = subject if isinstance(subject, type) else type(subject)
    spec = {
        "name": getattr(subject, "name", None) or asked.get("name") or title.__name__,
        "kind": kind,
        "parameter_shape": tuple(getattr(subject, "parameter_shape", default)),
        "sample_shape": sample,
        "has_gamma": getattr(subject, "has_gamma", True),
        "has_beta": getattr(subject, "has_beta", True),
        "groups": getattr(subject, "groups", 0),
        "optional": may_be_none(_runner_of(subject).run),
        "version": _text_in(subject, "version"),
        "dtypes": list(getattr(subject, "dtypes", DTYPES)),
        "axes": asked.get("axes") or _text_in(subject, "axes"),
        "given": True,
        "asked": _is_asked(asked),
    }
    made, own = [], _runner_of(subject)
    call = getattr(subject, "call", None)
    modes = _modes(asked, mode_of(own) is not False) if call is None and has_modes(own) else (call,)
    for mode in modes:
        switched = own if mode is call else in_mode(own, mode == "train")
        runner = SubjectRunner(switched)
        made.append(dict(spec, call=mode, can=runner.can, runner=runner))
    return made


def _text_in(candidate, name):
    """Return an attribute that is text, else an empty one: layers may keep numbers of axes."""
    value = getattr(candidate, name, "")
    return value if isinstance(value, str) else ""
