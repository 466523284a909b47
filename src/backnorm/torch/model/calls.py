"""Record what the normalization layers receive and return in a forward and backward pass."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from backnorm.audit.kinds import geometry
from backnorm.host.calls.torch_modules import parameter_names, stored_shape
from backnorm.host.names import kind_in
from backnorm.host.runners import first_of
from backnorm.torch.model.state import put_back, tensors_of, values_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backnorm._types import Shape
    from backnorm.audit.kinds import Geometry, Kind

__all__ = ["Layer", "LayerCall", "Recorder", "find_layers", "replay"]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A normalization layer in its place.

    Attributes
    ----------
    name
        Its name in the model.
    module
        The module whose calls are recorded: the layer, or a module around it that adds no
        parameters.
    inner
        The layer itself.
    kind
        Its kind, by the name of its class.
    """

    name: str
    module: nn.Module
    inner: nn.Module
    kind: Kind

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Those of gamma and beta that it has."""
        names = parameter_names(self.inner)
        return {role: self.inner.get_parameter(name) for role, name in names.items()}

    def geometry(self, shape: Shape) -> Geometry:
        """How x is divided into rows."""
        stored = stored_shape(self.inner)
        own = stored if self.kind in ("layer", "rms") else (math.prod(stored),)
        if self.kind in ("layer", "rms") and not stored:
            own = tuple(getattr(self.inner, "normalized_shape", shape[-1:]))
        groups = getattr(self.inner, "num_groups", getattr(self.inner, "groups", 1))
        return geometry(self.kind, shape, own, groups)


@dataclass(slots=True, eq=False)
class LayerCall:
    """One call of a layer.

    Attributes
    ----------
    layer
        The layer.
    arguments, options
        The arguments of the call, by position and by name.
    at
        Position of x among the arguments.
    x, y
        Copies of the input and the output; y is None if the call raised.
    training
        Whether the layer was in training mode.
    before, after
        Values of its tensors before and after the call.
    dx, dy
        Gradients of x and y in the backward pass; None if no gradient arrived.
    recorded
        Whether autograd recorded the call.
    in_backward
        Whether the backward pass made the call, as activation checkpointing does.
    """

    layer: Layer
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    at: int
    x: torch.Tensor
    training: bool
    before: list[torch.Tensor]
    recorded: bool
    in_backward: bool = False
    y: torch.Tensor | None = None
    after: list[torch.Tensor] = field(default_factory=list)
    dx: torch.Tensor | None = None
    dy: torch.Tensor | None = None


def find_layers(model: nn.Module) -> tuple[Layer, ...]:
    """Return the normalization layers of a model, and modules around one that add no parameters.

    The modules around layers come last: a fault that shows only there is not the layer's.
    """
    kinds = {name: _kind_of(module) for name, module in model.named_modules()}
    layers = [
        Layer(name, module, module, kind)
        for name, module in model.named_modules()
        if (kind := kinds[name]) is not None
    ]
    own = {id(layer.module) for layer in layers}
    around = [
        Layer(name, module, inside[0].module, inside[0].kind)
        for name, module in model.named_modules()
        if id(module) not in own
        and len(inside := _inside(module, layers)) == 1
        and {id(p) for p in module.parameters()} == {id(p) for p in inside[0].module.parameters()}
    ]
    return (*layers, *around)


def _inside(module: nn.Module, layers: Sequence[Layer]) -> list[Layer]:
    parts = {id(part) for part in module.modules()}
    return [layer for layer in layers if id(layer.module) in parts]


def _kind_of(module: nn.Module) -> Kind | None:
    """Return the kind by the name of a class or of its bases; None if no name tells it."""
    kinds = (kind_in(cls.__name__) for cls in type(module).__mro__)
    return next(filter(None, kinds), None)


class Recorder:
    """Records the calls of layers.

    Attributes
    ----------
    calls
        The calls that were recorded.
    on
        Whether it records; if not, layers are called as without it.
    in_backward
        Whether the backward pass is running.
    """

    __slots__ = ("calls", "in_backward", "on")

    def __init__(self) -> None:
        self.calls: list[LayerCall] = []
        self.on, self.in_backward = True, False

    def listen(self, layers: Sequence[Layer]) -> None:
        """Record all calls of the layers; `kept` restores the classes.

        Each layer gets a subclass with another __call__, not hooks: so what the model's hooks
        change is part of the recorded call, in whatever order they were added.
        """
        for layer in layers:
            cls = type(layer.module)
            recording = functools.partialmethod(_recorded, layer, cls.__call__, self)
            try:
                layer.module.__class__ = type(cls.__name__, (cls,), {"__call__": recording})
            except TypeError:  # not a Python class: a compiled script
                continue


def _recorded(
    module: nn.Module,
    layer: Layer,
    call: Callable[..., Any],
    recorder: Recorder,
    /,
    *arguments: Any,
    **options: Any,
) -> Any:
    at = next((i for i, argument in enumerate(arguments) if _is_floating(argument)), -1)
    if at < 0 or not recorder.on:
        return call(module, *arguments, **options)
    x: torch.Tensor = arguments[at]
    tensors = tensors_of(layer.inner)
    record = LayerCall(
        layer=layer,
        arguments=arguments,
        options=options,
        at=at,
        x=x.detach().clone(),
        training=layer.inner.training,
        before=values_of(tensors),
        recorded=torch.is_grad_enabled(),
        in_backward=recorder.in_backward,
    )
    recorder.calls.append(record)
    # A separate node of autograd: x may be used elsewhere, and the gradient that arrives at the
    # clone is the share of this call only.
    x_here = x.clone() if x.requires_grad else x.detach().clone()
    x_here.requires_grad_()
    x_here.register_hook(functools.partial(_add, record, "dx"))  # type: ignore[no-untyped-call]
    try:
        y = call(module, *arguments[:at], x_here, *arguments[at + 1 :], **options)
    except ValueError:
        if _values_per_row(layer, x) > 1:
            raise
        return x_here  # a finding reports it (M06), and the other layers shall be audited as well
    finally:  # activation checkpointing ends the call by an exception as soon as it has enough
        record.after = values_of(tensors)
    first = first_of(y)
    if _is_floating(first):
        record.y = first.detach().clone()
        if first.requires_grad:
            first.register_hook(functools.partial(_add, record, "dy"))
    return y


def _values_per_row(layer: Layer, x: torch.Tensor) -> int:
    return layer.geometry(tuple(x.shape)).n


def _add(call: LayerCall, name: str, gradient: torch.Tensor) -> None:
    """Add a gradient to dx or dy: a model may call backward several times."""
    sum_ = getattr(call, name)
    setattr(call, name, gradient.detach().clone() if sum_ is None else sum_ + gradient.detach())


def _is_floating(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def replay(call: LayerCall, x: torch.Tensor) -> torch.Tensor | None:
    """Return y of the same call on another x, from the same state of the layer."""
    layer = call.layer
    put_back(tensors_of(layer.inner), call.before)
    layer.inner.training = call.training
    with torch.set_grad_enabled(call.recorded):
        x_here = x.detach().clone().requires_grad_().clone()  # hooks of the model may expect it
        arguments = (*call.arguments[: call.at], x_here, *call.arguments[call.at + 1 :])
        y = first_of(layer.module(*arguments, **call.options))
    return y.detach() if isinstance(y, torch.Tensor) else None
