"""Record what the normalization layers receive and return in a forward and backward pass."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.graph import get_gradient_edge

from backnorm.host.runners import first_of
from backnorm.torch.model.routes import Routes
from backnorm.torch.model.state import take_snapshot
from backnorm.torch.model.values import looks_normalized

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn
    from torch.autograd.graph import GradientEdge

    from backnorm.torch.model.layers import Layer
    from backnorm.torch.model.state import Snapshot

__all__ = ["LayerCall", "PassCut", "Recorder"]


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
        Copies of the input and the output; y is None if the call returned no tensor.
    training
        Whether the layer was in training mode.
    before, after
        Its tensors before and after the call; after is None if the call did not end.
    dx, dy
        Gradients of x and y in the backward pass; None if no gradient arrived.
    recorded
        Whether autograd recorded the call.
    in_backward
        Whether the backward pass made the call, as activation checkpointing does.
    ended
        Whether the call returned.
    error
        What the call raised in the forward pass.
    shared
        Whether x gets gradient by another route than y as well; None where the graph is made and
        used within the backward pass, so that its routes are not known.
    autocast
        The dtype of automatic mixed precision; None without it.
    """

    layer: Layer
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    at: int
    x: torch.Tensor
    training: bool
    before: Snapshot
    recorded: bool
    in_backward: bool = False
    ended: bool = False
    error: Exception | None = None
    shared: bool | None = False
    autocast: torch.dtype | None = None
    y: torch.Tensor | None = None
    after: Snapshot | None = None
    dx: torch.Tensor | None = None
    dy: torch.Tensor | None = None


class PassCut(BaseException):
    """Ends a pass after so many calls of layers; no model takes it for an error."""


class Recorder:
    """Records the calls of layers.

    Attributes
    ----------
    calls
        The calls that were recorded.
    edges
        Where x and y of these calls are in the graph of autograd.
    on
        Whether it records; if not, layers are called as without it.
    in_backward
        Whether the backward pass is running.
    made
        How many calls of layers the pass has made.
    most
        After how many calls the pass is cut; None for a pass that is not.
    passed_over
        Layers that raise: their x is returned in place of y, so that the pass goes on.
    entering, leaving
        Called with the layer before each call, and with `made` after it.
    """

    __slots__ = (
        "calls",
        "edges",
        "entering",
        "in_backward",
        "leaving",
        "made",
        "most",
        "on",
        "passed_over",
    )

    def __init__(
        self,
        most: int | None = None,
        entering: Callable[[Layer], object] = lambda _: None,
        leaving: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.calls: list[LayerCall] = []
        self.edges: list[tuple[LayerCall, GradientEdge, GradientEdge]] = []
        self.on, self.in_backward = True, False
        self.made, self.most = 0, most
        self.passed_over: set[Layer] = set()
        self.entering, self.leaving = entering, leaving

    def begin(self) -> None:
        """Begin a pass: forget the calls of an earlier pass."""
        self.calls, self.edges, self.in_backward, self.made = [], [], False, 0
        self.on = True

    def end_call(self) -> None:
        """Count a call; raise PassCut if the pass shall make no other."""
        self.made += 1
        self.leaving(self.made)
        if self.made == self.most:
            raise PassCut

    def find_routes(self, outputs: Sequence[torch.Tensor]) -> None:
        """Say of each call whether its x gets gradient by another route than y."""
        routes = Routes(outputs) if self.edges else None
        for call, x, y in self.edges:
            call.shared = routes is not None and routes.pass_by(x, y)

    def listen(self, layers: Sequence[Layer]) -> None:
        """Record all calls of the layers; `kept` restores the classes.

        Each layer gets a subclass with another __call__, not hooks: so what the model's hooks
        change is part of the recorded call, in whatever order they were added.
        """
        for layer in layers:
            cls = type(layer.module)
            recording = functools.partialmethod(_recorded, layer, cls.__call__, self)
            members = {"__module__": cls.__module__, "__call__": recording}
            layer.module.__class__ = type(cls.__name__, (cls,), members)


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
    record = LayerCall(
        layer=layer,
        arguments=arguments,
        options=options,
        at=at,
        x=x.detach().clone(),
        training=layer.inner.training,
        before=take_snapshot(layer.inner),
        recorded=torch.is_grad_enabled(),
        in_backward=recorder.in_backward,
        shared=None if recorder.in_backward else False,
        autocast=_autocast_of(x),
    )
    recorder.calls.append(record)
    recorder.entering(layer)
    # A separate node of autograd: x may be used elsewhere, and the gradient that arrives at the
    # clone is the share of this call only.
    x_here = x.clone() if x.requires_grad else x.detach().clone()
    x_here.requires_grad_()
    x_here.register_hook(functools.partial(_add, record, "dx"))  # type: ignore[no-untyped-call]
    x_edge = get_gradient_edge(x_here)  # before the layer writes to x in place
    try:
        y = call(module, *arguments[:at], x_here, *arguments[at + 1 :], **options)
        record.ended = True
    except Exception as error:
        if recorder.in_backward:  # activation checkpointing ends the call as soon as it has enough
            raise
        record.error = error
        if layer not in recorder.passed_over:
            raise
        y = None
    finally:
        record.after = take_snapshot(layer.inner)
    output = first_of(y)
    _keep_output(record, output)
    if _is_floating(output) and output.requires_grad:
        recorder.edges.append((record, x_edge, get_gradient_edge(output)))
    if layer.sign == "values" and not _promises(record):
        recorder.calls.remove(record)
    recorder.end_call()
    return x_here if y is None else y


def _keep_output(record: LayerCall, y: Any) -> None:
    if _is_floating(y):
        record.y = y.detach().clone()
        if y.requires_grad:
            y.register_hook(functools.partial(_add, record, "dy"))


def _promises(record: LayerCall) -> bool:
    """Whether a module that no name tells is worth a measurement."""
    if record.y is None or record.y.shape != record.x.shape:
        return False
    return bool(record.layer.parameters) or looks_normalized(record.layer, record.y)


def _add(call: LayerCall, name: str, gradient: torch.Tensor) -> None:
    """Add a gradient to dx or dy: a model may call backward several times."""
    sum_ = getattr(call, name)
    setattr(call, name, gradient.detach().clone() if sum_ is None else sum_ + gradient.detach())


def _autocast_of(x: torch.Tensor) -> torch.dtype | None:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


def _is_floating(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()
