"""What a model is called with: numbers drawn for it, of a shape that is given or guessed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm._types import Shape

__all__ = ["Shaped", "described", "draw_inputs", "guess"]

BATCH: Final = 8
"""Samples: enough that no statistic is of one or two values, and few enough to be quick."""

LENGTH: Final = 16
"""Length of a sequence."""

SIDE: Final = {1: 64, 2: 64, 3: 16}
"""Side of an image, by the number of its axes: what five halvings leave something of, or four."""

CONVOLUTIONS: Final = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)

NORMALIZATIONS: Final = {
    nn.BatchNorm1d: 0,
    nn.InstanceNorm1d: 1,
    nn.BatchNorm2d: 2,
    nn.InstanceNorm2d: 2,
    nn.BatchNorm3d: 3,
    nn.InstanceNorm3d: 3,
}
"""How many axes of an image they want."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """An input as it is asked for.

    Attributes
    ----------
    shape
        Its shape.
    below
        Whether it holds integers from 0 up to this number, without it; None for normal numbers.
    """

    shape: Shape
    below: int | None = None


def draw_inputs(model: nn.Module, shapes: Sequence[Shaped]) -> tuple[torch.Tensor, ...]:
    """Draw inputs: the same ones each time, in the format and on the device of the model.

    Parameters
    ----------
    model
        Its first parameter of floating point numbers says format and device.
    shapes
        One for each argument.

    Returns
    -------
    tuple of torch.Tensor
        Normal numbers with mean 0 and standard deviation 1, or integers.
    """
    generator = torch.Generator().manual_seed(0)
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return tuple(_draw(one, generator, like) for one in shapes)


def _draw(one: Shaped, generator: torch.Generator, like: torch.Tensor) -> torch.Tensor:
    if one.below is not None:
        return torch.randint(one.below, one.shape, generator=generator).to(like.device)
    return torch.randn(one.shape, generator=generator).to(like)


def guess(model: nn.Module, name: str) -> tuple[Shaped, str]:
    """Guess what a model takes by the first of its layers that has parameters.

    Parameters
    ----------
    model
        The model.
    name
        What messages call it.

    Returns
    -------
    tuple of Shaped and str
        The input, and the name of that layer.

    Raises
    ------
    SubjectError
        If that layer does not tell.
    """
    leaves = (
        (place, module)
        for place, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    )
    place, first = next(leaves, ("", model))
    shaped = _wanted_by(first)
    if shaped is None:
        raise SubjectError.no_input(name, type(first).__name__)
    return shaped, place or type(first).__name__


def _wanted_by(layer: nn.Module) -> Shaped | None:
    if isinstance(layer, CONVOLUTIONS) and layer.in_channels:
        axes = len(layer.kernel_size)
        return Shaped((BATCH, layer.in_channels, *(SIDE[axes],) * axes))
    if isinstance(layer, nn.Linear) and layer.in_features:
        return Shaped((BATCH, layer.in_features))
    if isinstance(layer, nn.Embedding):
        return Shaped((BATCH, LENGTH), layer.num_embeddings)
    if isinstance(layer, nn.LayerNorm):
        return Shaped((BATCH, *layer.normalized_shape))
    for cls, axes in NORMALIZATIONS.items():
        if isinstance(layer, cls) and layer.num_features:
            return Shaped((BATCH, layer.num_features, *(SIDE.get(axes, 0),) * axes))
    return None


def described(inputs: Any) -> str:
    """Say what was given, for messages.

    Parameters
    ----------
    inputs
        A tensor, or a tuple of arguments.

    Returns
    -------
    str
        Such as "an input of shape (8, 3, 64, 64)".
    """
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    words = [
        str(tuple(one.shape)) if isinstance(one, torch.Tensor) else type(one).__name__
        for one in given
    ]
    if len(words) == 1 and isinstance(given[0], torch.Tensor):
        return f"an input of shape {words[0]}"
    return f"the inputs {', '.join(words) or '()'}"
