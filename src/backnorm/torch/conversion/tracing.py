"""The graph of a module's forward, and the values under which the graph is right.

torch.fx runs forward once with proxies for the tensors and records what happens to them. It does
not record anything else: attributes that forward changes, a `with`, the answer of isinstance. A
forward that may do such things is refused here. And every attribute that forward reads is recorded
with its value: the graph may replace the forward only while these values are the same.
"""

from __future__ import annotations

import dis
import inspect
import os
import random
import sys
import sysconfig
import threading
import types
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import fx, nn

from backnorm.torch.conversion import layers
from backnorm.torch.conversion.stand_ins import Tracer
from backnorm.torch.conversion.surroundings import Surroundings, look_around

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import CodeType, FrameType

__all__ = ["TracedForward", "trace"]

# Each with a separator at its end: torchvision stands beside torch.
LIBRARIES: Final = str(Path(torch.__file__).parent) + os.sep
STANDARD: Final = sysconfig.get_path("stdlib") + os.sep
SITE_PACKAGES: Final = tuple(sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib"))

REFUSED: Final = frozenset(
    {
        "autocast", "callable", "checkpoint", "delattr", "enable_grad", "eval", "exec", "getattr",
        "globals", "hasattr", "id",
        "inference_mode", "is_grad_enabled", "isinstance", "issubclass", "locals", "no_grad",
        "print", "random", "set_grad_enabled", "setattr", "time", "type", "warn", "warnings",
    }
)  # fmt: skip
"""Names whose effect a graph does not show, or whose answer it would make permanent."""

CHANGES: Final = frozenset(
    {"DELETE_ATTR", "DELETE_GLOBAL", "DELETE_SUBSCR", "STORE_ATTR", "STORE_GLOBAL", "STORE_SUBSCR"}
)
BLOCKS: Final = frozenset({"PUSH_EXC_INFO", "SETUP_FINALLY", "SETUP_WITH"})

PLAIN: Final = (type(None), bool, int, float, str, torch.dtype, torch.device, torch.Size)
FUNCTIONS: Final = (types.FunctionType, types.BuiltinFunctionType, type)


@dataclass(frozen=True)
class TracedForward:
    """A graph, and the values under which it is right.

    Attributes
    ----------
    graph
        The operations of forward on its tensors.
    values
        The attributes of the module that forward read, with their values.
    present
        The attributes that were a module or a tensor. Another one may take their place, but not
        None: forward may have asked for that.
    structure
        The names of the children of the module, and of each container whose children it calls.
    around
        What the forward reads beside its arguments and its module.
    """

    graph: fx.Graph
    values: Mapping[str, Any]
    present: tuple[str, ...]
    structure: Mapping[str, tuple[str, ...]]
    around: Surroundings = field(default_factory=Surroundings)


def trace(module: nn.Module) -> TracedForward | str:
    """Return the graph of a module's forward, or why it cannot be traced.

    Parameters
    ----------
    module
        The module; each child becomes one call in the graph.

    Returns
    -------
    TracedForward or str
        The graph; or what forward does that a graph does not show.
    """
    why = _why_not(module)
    if why:
        return why
    if layers.is_plain(module):
        return _chained(module)
    around = look_around(module)
    if isinstance(around, str):
        return around
    first = _once(module)
    if isinstance(first, str):
        return first
    # A forward that asks a child for its mode, or torch whether gradients are wanted, gives another
    # graph now. Its own `training` is an attribute that was recorded: the graph may depend on that.
    with _other_modes(module):
        second = _once(module)
    differs = isinstance(second, str) or str(second.graph) != str(first.graph)
    if differs and "training" not in first.values:
        return "its forward depends on the mode of its children, or on whether gradients are wanted"
    return replace(first, around=around)


def _chained(sequence: nn.Sequential) -> TracedForward:
    """Return the graph of a Sequential, which calls its children one after the other."""
    graph, children = fx.Graph(), tuple(vars(sequence)["_modules"])
    x = graph.placeholder("input")
    for name in children:
        x = graph.create_node("call_module", name, (x,))
    graph.output(x)
    return TracedForward(graph, {}, children, {"": children})


def _why_not(module: nn.Module) -> str:
    return _why_no_subclass(module) or ("" if layers.is_plain(module) else _why_no_graph(module))


def _why_no_subclass(module: nn.Module) -> str:
    """Return why a generated subclass cannot take the place of a module's class; "" if it can."""
    cls = type(module)
    if "forward" in vars(module):
        return "its forward was replaced"
    if isinstance(module, fx.GraphModule | torch.jit.ScriptModule):
        return "it is generated code"
    if type(cls) is not type or any("__init_subclass__" in vars(base) for base in cls.__mro__[:-1]):
        return "its class registers its subclasses"
    if cls.__reduce_ex__ is not object.__reduce_ex__ or cls.__reduce__ is not object.__reduce__:
        return "its class defines how it is pickled"
    return ""


def _why_no_graph(module: nn.Module) -> str:
    cls = type(module)
    if torch._C._len_torch_dispatch_stack():  # noqa: SLF001
        return "a mode of PyTorch is active, such as that of fake tensors"
    if any(type(child).__call__ is not nn.Module.__call__ for child in module.children()):
        return "a child defines __call__"
    if not isinstance(cls.forward, types.FunctionType) or _is_library(cls.forward.__code__):
        return "its forward is wrapped by a decorator"
    for parameter in list(inspect.signature(cls.forward).parameters.values())[1:]:
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            return "its forward takes any number of arguments"
        if parameter.default is not parameter.empty:
            return "its forward has optional arguments"
    return _refused_by([cls.forward.__code__])


def _is_library(code: CodeType) -> bool:
    """Whether code belongs to Python's standard library or to torch."""
    file = code.co_filename
    if file.startswith((LIBRARIES, "<frozen")):
        return True
    return file.startswith(STANDARD) and not file.startswith(SITE_PACKAGES)


def _refused_by(codes: Sequence[CodeType]) -> str:
    """Return what code does that a graph does not show, by its names and its bytecode."""
    for code in codes:
        for name in (*code.co_names, *code.co_freevars):
            if name in REFUSED:
                return f"its forward uses {name}"
        operations = {step.opname for step in dis.get_instructions(code)}
        if operations & CHANGES:
            return "its forward changes what it does not return"
        if operations & BLOCKS:
            return "its forward has a with or try block"
        inner = _refused_by([const for const in code.co_consts if inspect.iscode(const)])
        if inner:
            return inner
    return ""


def _once(module: nn.Module) -> TracedForward | str:
    """Trace, and restore everything that tracing changed."""
    # `_why_not` has seen the code of forward only. The functions that forward calls are known after
    # it has run (`_calls_recorded`), and by then they may have changed something.
    before = dict(vars(module))
    states = random.getstate(), torch.get_rng_state()
    codes: list[CodeType] = []
    names: list[str] = []
    others: list[str] = []
    contents = _contents(module)
    tracer = Tracer()
    try:
        with _reads_recorded(module, names, others), _calls_recorded(type(module).forward, codes):
            graph = tracer.trace(module)
    except Exception as error:  # noqa: BLE001 - forward may raise anything when given stand-ins
        return f"torch.fx cannot trace its forward: {_first_line(error)}"
    finally:
        drawn = states[0] != random.getstate() or not torch.equal(states[1], torch.get_rng_state())
        constants = vars(module).keys() != before.keys()  # fx adds _tensor_constant0 and so on
        vars(module).clear()
        vars(module).update(before)
        random.setstate(states[0])
        torch.set_rng_state(states[1])
        changed = _put_back(contents)
    if changed:
        return "its forward changes what it does not return"
    if others:
        return f"its forward reads {others[0]} of a child"
    if drawn:
        return "its forward draws random numbers by itself"
    if constants:
        return "its forward creates constant tensors"
    return _refused_by(codes) or _with_values(module, graph, names)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}".rstrip(": ")


Contents = list[tuple[Any, Any]]


def _contents(module: nn.Module) -> Contents:
    """Return each list, dictionary and set that a module or a child has, and a copy of it."""
    values = (value for part in module.modules() for value in vars(part).values())
    return [(value, value.copy()) for value in values if isinstance(value, list | dict | set)]


def _put_back(contents: Contents) -> bool:
    """Restore what tracing changed; return whether anything was."""
    changed = False
    for value, before in contents:
        parts = value.values() if isinstance(value, dict) else value
        parts_before = before.values() if isinstance(before, dict) else before
        if [*map(id, parts)] == [*map(id, parts_before)]:
            continue
        changed = True
        value.clear()
        value.extend(before) if isinstance(value, list) else value.update(before)
    return changed


@contextmanager
def _reads_recorded(module: nn.Module, names: list[str], others: list[str]) -> Iterator[None]:
    """Record the attributes that code outside of torch reads from a module, and from others.

    Of other modules only what is not a module counts: calls find the children anew.
    """
    cls, thread = type(module), threading.get_ident()

    def is_foreign() -> bool:
        return threading.get_ident() == thread and not _is_library(sys._getframe(2).f_code)  # noqa: SLF001

    def recording(self: nn.Module, name: str) -> Any:
        if is_foreign():
            names.append(name)
        return cls.__getattribute__(self, name)

    def recording_other(self: nn.Module, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if self is not module and not name.startswith("__") and is_foreign():
            others.append(name)
        return value

    module.__class__ = type(cls.__name__, (cls,), {"__getattribute__": recording})
    nn.Module.__getattribute__ = recording_other  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        del nn.Module.__getattribute__
        module.__class__ = cls


@contextmanager
def _calls_recorded(forward: Any, codes: list[CodeType]) -> Iterator[None]:
    """Record the code of the functions that forward calls, except in libraries."""
    known = {forward.__code__}

    # A profile function sees every call, whatever is called: functions, methods, properties.
    def record(frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or frame.f_back is None or frame.f_back.f_code not in known:
            return
        code = frame.f_code
        if code.co_name == "decorate_context":  # what torch.no_grad makes of a function
            codes.append(code)
        elif not _is_library(code) and code.co_filename != __file__ and code not in known:
            known.add(code)
            codes.append(code)

    previous = sys.getprofile()
    sys.setprofile(record)
    try:
        yield
    finally:
        sys.setprofile(previous)


@contextmanager
def _other_modes(module: nn.Module) -> Iterator[None]:
    """Switch every module between training and eval, and gradients between on and off."""
    modes = {part: part.training for part in module.modules()}
    for part, training in modes.items():
        part.training = not training
    try:
        with torch.set_grad_enabled(not torch.is_grad_enabled()):
            yield
    finally:
        for part, training in modes.items():
            part.training = training


def _with_values(module: nn.Module, graph: fx.Graph, names: list[str]) -> TracedForward | str:
    """Record the values that were read; refuse a value that could change without a comparison."""
    values: dict[str, Any] = {}
    present: list[str] = []
    for name in dict.fromkeys(names):
        if name.startswith("__"):
            continue
        value = getattr(module, name, None)
        if isinstance(value, nn.Module | torch.Tensor):
            if isinstance(value, nn.ModuleList | nn.ModuleDict | nn.ParameterList):
                return f"its forward reads {name}, which may grow"
            present.append(name)
        elif getattr(value, "__self__", None) is module:
            continue
        elif _is_plain(value):
            values[name] = value
        else:
            return f"its forward reads {name}, a {type(value).__name__}"
    return TracedForward(graph, values, tuple(present), _structure(module, graph, present))


def _structure(
    module: nn.Module, graph: fx.Graph, present: Sequence[str]
) -> Mapping[str, tuple[str, ...]]:
    """Return the names of the children that the forward may have gone through one by one."""
    called = {str(node.target) for node in graph.nodes if node.op == "call_module"}
    owners = {target.rpartition(".")[0] for target in called}
    unnamed = {
        name
        for name in present
        if isinstance(getattr(module, name), nn.Sequential) and name not in called
    }
    paths = sorted({"", *owners, *unnamed})
    return {path: tuple(vars(module.get_submodule(path))["_modules"]) for path in paths}


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return type(value) in PLAIN or isinstance(value, FUNCTIONS)
