"""From modules, classes and functions of torch to subjects of the audit."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from backnorm.audit.subject import Subject
from backnorm.audit.subjects.fitting import distinct, fitted
from backnorm.torch._build import GROUPS, build, channels_for
from backnorm.torch._function import FunctionBox, plan_call
from backnorm.torch._module import ModuleBox, in_mode, parameter_names, stored_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backnorm._types import Shape
    from backnorm.audit.kinds import Kind
    from backnorm.audit.subject import Call
    from backnorm.audit.subjects.adapter import Request

__all__ = ["make_subjects"]

KIND_BY_NAME: Final[Mapping[str, Kind]] = {
    "rmsnorm": "rms",
    "layernorm": "layer",
    "groupnorm": "group",
    "instancenorm": "instance",
    "batchnorm": "batch",
}
"""What the names of classes and functions say where the kind is not given."""


def make_subjects(candidate: Any, request: Request) -> tuple[Subject, ...]:
    """Make subjects of an object, in the modes that are asked for.

    Parameters
    ----------
    candidate
        A module, a class of modules, an autograd.Function, or a function of tensors.
    request
        What is asked for.

    Returns
    -------
    tuple of Subject
        Training first; one only where training and evaluation do the same.

    Raises
    ------
    SubjectError
        If a class cannot be constructed, or it is not clear how to call a function.
    """
    asked = replace(
        request, name=request.name or _name_of(candidate), kind=request.kind or _kind_of(candidate)
    )
    if isinstance(candidate, type) and issubclass(candidate, nn.Module):
        candidate = build(candidate, asked.arguments, asked.name, channels_for(asked.kind))
    if isinstance(candidate, nn.Module):
        made = [_of_module(candidate, asked, call) for call in _calls(asked, candidate.training)]
    else:
        made = [_of_function(candidate, asked, call) for call in _calls(asked, training=True)]
    return distinct([fitted(subject) for subject in made])


def _calls(request: Request, training: bool) -> tuple[Call, ...]:  # noqa: FBT001 - a property
    if request.calls == "both":
        return ("train", "eval")
    if request.calls == "as it is":
        return ("train",) if training else ("eval",)
    return (request.calls,)


def _of_module(module: nn.Module, request: Request, call: Call) -> Subject:
    kind: Kind = request.kind or "batch"
    copied = in_mode(module, train=call == "train")
    names = parameter_names(copied)
    shape = _parameter_shape(kind, stored_shape(copied))
    groups = vars(copied).get("num_groups", vars(copied).get("groups", 0))
    return Subject(
        name=request.name,
        kind=kind,
        box=ModuleBox(request.name, copied, names),
        sample_shape=shape,
        parameter_shape=shape,
        has_gamma="gamma" in names,
        has_beta="beta" in names,
        call=call,
        groups=groups if isinstance(groups, int) else 0,
    )


def _of_function(function: Any, request: Request, call: Call) -> Subject:
    kind: Kind = request.kind or "batch"
    plan = plan_call(request.name, _signature_of(function), request.arguments)
    shape = (channels_for(kind),)
    groups = GROUPS if "groups" in plan.roles else 0
    applied = getattr(function, "apply", function) if isinstance(function, type) else function
    return Subject(
        name=request.name,
        kind=kind,
        box=FunctionBox(request.name, applied, plan, call == "train", shape, groups),
        sample_shape=shape,
        parameter_shape=shape,
        has_gamma="gamma" in plan.roles,
        has_beta="beta" in plan.roles,
        call=call if "training" in plan.roles else None,
        groups=groups,
    )


def _parameter_shape(kind: Kind, stored: Shape) -> Shape:
    """Return the shape of gamma without axes of length 1, as in (1, C, 1, 1)."""
    if not stored:
        return (channels_for(kind),)
    if kind in ("layer", "rms"):
        return tuple(length for length in stored if length != 1) or (1,)
    return (math.prod(stored),)


def _signature_of(function: Any) -> Callable[..., Any]:
    """Return what to read arguments from: for an autograd.Function, forward without its ctx."""
    if not isinstance(function, type):
        return function  # type: ignore[no-any-return]
    old_style = function.setup_context is torch.autograd.Function.setup_context  # type: ignore[attr-defined]
    forward = function.forward  # type: ignore[attr-defined]
    return functools.partial(forward, None) if old_style else forward


def _name_of(candidate: Any) -> str:
    named = candidate if hasattr(candidate, "__qualname__") else type(candidate)
    module = str(named.__module__)
    # torch.nn.modules.batchnorm.BatchNorm2d is known as torch.nn.BatchNorm2d.
    public = "torch.nn" if module.startswith("torch.nn.modules") else module
    return f"{public}.{named.__qualname__}"


def _kind_of(candidate: Any) -> Kind:
    """Guess the kind from the names of a function, or of a class and its bases."""
    cls = candidate if isinstance(candidate, type) else type(candidate)
    names = [getattr(candidate, "__name__", ""), *(base.__name__ for base in cls.__mro__)]
    for name in names:
        plain = name.lower().replace("_", "")
        for part, kind in KIND_BY_NAME.items():
            if part in plain:
                return kind
    return "batch"
