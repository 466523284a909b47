"""What the normalization layers of a model receive and give in one forward and backward pass."""

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

__all__ = ["Call", "Layer", "find_layers", "listen", "replay"]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A normalization layer in its place.

    Attributes
    ----------
    name
        Its name in the model.
    module
        What is listened to: the layer, or a module around it that adds no parameters.
    inner
        The layer itself.
    kind
        Its kind, told by its name.
    """

    name: str
    module: nn.Module
    inner: nn.Module
    kind: Kind

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Its gamma and beta, of those that it has."""
        names = parameter_names(self.inner)
        return {role: self.inner.get_parameter(name) for role, name in names.items()}

    def geometry(self, shape: Shape) -> Geometry:
        """How x falls apart into rows."""
        stored = stored_shape(self.inner)
        own = stored if self.kind in ("layer", "rms") else (math.prod(stored),)
        if self.kind in ("layer", "rms") and not stored:
            own = tuple(getattr(self.inner, "normalized_shape", shape[-1:]))
        groups = getattr(self.inner, "num_groups", getattr(self.inner, "groups", 1))
        return geometry(self.kind, shape, own, groups)


@dataclass(slots=True, eq=False)
class Call:
    """One call of a layer.

    Attributes
    ----------
    layer
        Which.
    arguments, options
        What it was called with.
    at
        Which of the arguments is x.
    x, y
        Copies of what went in and came out; y is None if it raised.
    training
        Whether it was set to train.
    before, after
        Its tensors before and after the call.
    dx, dy
        What left it and what arrived in the backward pass; None where nothing did.
    recorded
        Whether autograd was on.
    """

    layer: Layer
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    at: int
    x: torch.Tensor
    training: bool
    before: list[torch.Tensor]
    recorded: bool
    y: torch.Tensor | None = None
    after: list[torch.Tensor] = field(default_factory=list)
    dx: torch.Tensor | None = None
    dy: torch.Tensor | None = None


def find_layers(model: nn.Module) -> tuple[Layer, ...]:
    """Return the normalization layers of a model, and the modules around one that add nothing.

    What is around a layer comes after it: a fault there is the surroundings' own.
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
    """Return the kind that the name of a class, or of one that it is made of, says."""
    kinds = (kind_in(cls.__name__) for cls in type(module).__mro__)
    return next(filter(None, kinds), None)


def listen(layers: Sequence[Layer], calls: list[Call]) -> None:
    """Have all calls of the layers noted; `kept` puts the classes back.

    The class is what is exchanged, not hooks added: so the model's own hooks are heard as well,
    whatever their order.
    """
    for layer in layers:
        cls = type(layer.module)
        tapped = functools.partialmethod(_noted, layer, cls.__call__, calls)
        try:
            layer.module.__class__ = type(cls.__name__, (cls,), {"__call__": tapped})
        except TypeError:  # a class that is no Python class, as of a compiled script
            continue


def _noted(
    module: nn.Module,
    layer: Layer,
    call: Callable[..., Any],
    calls: list[Call],
    /,
    *arguments: Any,
    **options: Any,
) -> Any:
    at = next((i for i, one in enumerate(arguments) if _is_floating(one)), -1)
    if at < 0:
        return call(module, *arguments, **options)
    x: torch.Tensor = arguments[at]
    tensors = tensors_of(layer.inner)
    one = Call(
        layer=layer,
        arguments=arguments,
        options=options,
        at=at,
        x=x.detach().clone(),
        training=layer.inner.training,
        before=values_of(tensors),
        recorded=torch.is_grad_enabled(),
    )
    calls.append(one)
    # A node of its own, so that what arrives is this call's share and no other's.
    own = x.clone() if x.requires_grad else x.detach().clone()
    own.requires_grad_()
    own.register_hook(functools.partial(_keep, one, "dx"))  # type: ignore[no-untyped-call]
    given = (*arguments[:at], own, *arguments[at + 1 :])
    try:
        y = call(module, *given, **options)
    except ValueError:
        if _values_per_row(layer, x) > 1:
            raise
        return own  # told as a finding; the rest of the model shall be looked at as well
    first = first_of(y)
    if _is_floating(first):
        one.y = first.detach().clone()
        if first.requires_grad:
            first.register_hook(functools.partial(_keep, one, "dy"))
    one.after = values_of(tensors)
    return y


def _values_per_row(layer: Layer, x: torch.Tensor) -> int:
    return layer.geometry(tuple(x.shape)).n


def _keep(one: Call, name: str, gradient: torch.Tensor) -> None:
    known = getattr(one, name)
    setattr(one, name, gradient.detach().clone() if known is None else known + gradient.detach())


def _is_floating(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def replay(call: Call, x: torch.Tensor) -> torch.Tensor | None:
    """Return y of the same call for another x, from the same state."""
    layer = call.layer
    tensors = tensors_of(layer.inner)
    put_back(tensors, call.before)
    layer.inner.training = call.training
    given = (*call.arguments[: call.at], x.clone(), *call.arguments[call.at + 1 :])
    with torch.no_grad() if not call.recorded else torch.enable_grad():
        y = layer.module(*given, **call.options)
    first = first_of(y)
    return first.detach() if isinstance(first, torch.Tensor) else None
