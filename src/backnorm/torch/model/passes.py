"""The passes of a model in which the calls of its layers are recorded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from backnorm.torch.model.again import with_zeros_replaced
from backnorm.torch.model.calls import PassCut
from backnorm.torch.model.judge import running_changed
from backnorm.torch.model.noise import random_gradient

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import nn

    from backnorm.torch.model.calls import LayerCall, Recorder
    from backnorm.torch.model.inputs import ModelInputs
    from backnorm.torch.model.layers import Layer

__all__ = ["RecordedPass", "record_pass"]


@dataclass(frozen=True, slots=True, eq=False)
class RecordedPass:
    """The calls that a pass of a model made, and what it raised.

    Attributes
    ----------
    calls
        Each call, and how many times the running statistics were updated for its x.
    freed
        The layers that a gradient reaches once the parameters that are 0 are not.
    error
        What the forward or the backward pass raised, if anything.
    stage
        The pass that ran last: forward or backward.
    ended_by
        The layer whose call raised the error; None if that was not a layer.
    passed_over
        The layers that raised and whose x was returned in place of y.
    """

    calls: tuple[tuple[LayerCall, int], ...]
    freed: frozenset[Layer]
    error: Exception | None
    stage: str
    ended_by: Layer | None = None
    passed_over: frozenset[Layer] = frozenset()


def record_pass(model: nn.Module, inputs: ModelInputs, recorder: Recorder) -> RecordedPass:
    """Run a model forward and backward, and once more where parameters of 0 stop the gradient.

    Parameters
    ----------
    model
        The model.
    inputs
        Its arguments.
    recorder
        What listens to the layers.

    Returns
    -------
    RecordedPass
        What was recorded up to where a pass raised, or was cut.
    """
    error = _run(model, inputs, recorder)
    stage = "backward" if recorder.in_backward else "forward"
    ended_by = None if error is None else _raised_by(error, recorder.calls)
    if ended_by is not None:
        return RecordedPass((), frozenset(), error, stage, ended_by)
    calls = _paired(recorder.calls)
    if error is not None:
        calls = _finished(calls)
    freed = frozenset() if recorder.most else _freed(model, inputs, recorder, calls)
    recorder.on = False
    return RecordedPass(
        tuple(calls), freed, error, stage, passed_over=frozenset(recorder.passed_over)
    )


def _run(model: nn.Module, inputs: ModelInputs, recorder: Recorder) -> Exception | None:
    """Run one forward and one backward pass; return what was raised."""
    recorder.begin()
    try:
        output = model(*inputs.arguments, **inputs.named)
        outputs = [y for y in _tensors(output) if y.requires_grad]
        weights = [random_gradient(y) if y.dim() else torch.ones_like(y) for y in outputs]
        recorder.find_routes(outputs)
        recorder.in_backward = True
        if outputs:
            torch.autograd.backward(outputs, weights)
    except PassCut:
        return None
    except Exception as error:  # noqa: BLE001 - foreign code; a layer may be the cause
        return error
    finally:
        recorder.edges = []  # they hold the graph
    return None


def _raised_by(error: Exception, calls: Sequence[LayerCall]) -> Layer | None:
    """Return the layer whose call raised an error; None for what only may be a layer."""
    layers = (call.layer for call in calls if call.error is error)
    known = [layer for layer in layers if layer.sign != "values" and layer.module is layer.inner]
    return known[-1] if known else None  # modules around it raise the same error


def _tensors(output: Any) -> Iterator[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, dict | tuple | list):
        for part in output.values() if isinstance(output, dict) else output:
            yield from _tensors(part)


def _paired(calls: Sequence[LayerCall]) -> list[tuple[LayerCall, int]]:
    """Merge the calls that the backward pass made again with the first calls on the same x.

    Activation checkpointing runs a part of the forward pass again: then one of the two calls, which
    one depends on the implementation, has the gradients.

    Returns
    -------
    list of tuple of LayerCall and int
        Each call, and how many times the running statistics were updated for its x.
    """
    pairs: list[tuple[LayerCall, int]] = []
    for call in calls:
        same = (i for i, (first, _) in enumerate(pairs) if call.in_backward and _again(first, call))
        at = next(same, None)
        if at is None:
            pairs.append((call, int(running_changed(call))))
            continue
        first, updates = pairs[at]
        whole = first
        if call.dy is not None:
            whole = replace(call, before=first.before, in_backward=False)
        pairs[at] = (whole, updates + running_changed(call))
    return pairs


def _finished(calls: Sequence[tuple[LayerCall, int]]) -> list[tuple[LayerCall, int]]:
    """Leave out calls that were cut, and take away the dy of those that the backward pass missed.

    Those without dy are made again.
    """
    for call, _ in calls:
        if call.dx is None:
            call.dy = None
    return [(call, updates) for call, updates in calls if call.ended or call.error is not None]


def _again(first: LayerCall, call: LayerCall) -> bool:
    """Whether a call in the backward pass repeats a call of the forward pass."""
    return call.layer is first.layer and not first.in_backward and torch.equal(call.x, first.x)


def _freed(
    model: nn.Module,
    inputs: ModelInputs,
    recorder: Recorder,
    calls: Sequence[tuple[LayerCall, int]],
) -> frozenset[Layer]:
    """Return the layers that a gradient reaches once the parameters that are 0 are not."""
    if all(call.dy is None or call.dy.any() for call, _ in calls):
        return frozenset()
    with with_zeros_replaced(model) as replaced:
        # With parameters that it did not expect, foreign code may raise.
        if not replaced or _run(model, inputs, recorder) is not None:
            return frozenset()
    reached = (call for call in recorder.calls if call.dy is not None and call.dy.any())
    return frozenset(call.layer for call in reached)
