"""The inputs of a model: random numbers, of a shape that the user gives or that is guessed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm._types import Shape

__all__ = [
    "CONVOLUTIONS",
    "HERE",
    "ModelInputs",
    "Shaped",
    "described",
    "draw_inputs",
    "guess",
    "inputs_of",
]

HERE: Final = str(Path(__file__).parent)
"""Folder of the code that calls models: a place in a model's code is below it."""

BATCH: Final = 8
"""Samples: enough that each statistic has more than two values, and few enough to be quick."""

LENGTH: Final = 16
"""Length of a sequence."""

SIDE: Final = {1: 64, 2: 64, 3: 16}
"""Side of an image, by the number of its axes: it can be halved five times at least, or four."""

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
"""How many axes of an image each class takes."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """The shape and the kind of numbers of an input.

    Attributes
    ----------
    shape
        Its shape.
    below
        Draw integers from 0 to below - 1; None for normally distributed numbers.
    """

    shape: Shape
    below: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ModelInputs:
    """The arguments of a model, by position and by name."""

    arguments: tuple[Any, ...]
    named: Mapping[str, Any]


def inputs_of(model: nn.Module, inputs: Any) -> ModelInputs:
    """Return the arguments that a model is called with.

    Parameters
    ----------
    model
        The model.
    inputs
        A tuple has the arguments by position. A mapping has them by name where all its keys are
        names of arguments; any other mapping, and whatever else, is the only argument.
    """
    if isinstance(inputs, tuple):
        return ModelInputs(inputs, {})
    if isinstance(inputs, Mapping) and inputs:
        names = inspect.signature(model.forward).parameters.keys()
        if inputs.keys() <= names:
            return ModelInputs((), inputs)
    return ModelInputs((inputs,), {})


def draw_inputs(model: nn.Module, shapes: Sequence[Shaped]) -> tuple[torch.Tensor, ...]:
    """Draw inputs: the same numbers each time, in the dtype and on the device of the model.

    Parameters
    ----------
    model
        Its first floating-point parameter decides on dtype and device.
    shapes
        One for each argument.

    Returns
    -------
    tuple of torch.Tensor
        Normally distributed numbers with mean 0 and standard deviation 1, or integers.
    """
    generator = torch.Generator().manual_seed(0)
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return tuple(_draw(shaped, generator, like) for shaped in shapes)


def _draw(shaped: Shaped, generator: torch.Generator, like: torch.Tensor) -> torch.Tensor:
    if shaped.below is not None:
        return torch.randint(shaped.below, shaped.shape, generator=generator).to(like.device)
    return torch.randn(shaped.shape, generator=generator).to(like)


def guess(model: nn.Module, name: str) -> tuple[Shaped, str]:
    """Guess the input of a model from its first layer with parameters.

    Parameters
    ----------
    model
        The model.
    name
        Name of the model in messages.

    Returns
    -------
    tuple of Shaped and str
        The input, and the name of that layer.

    Raises
    ------
    SubjectError
        If the input cannot be guessed from that layer.
    """
    with_parameters = (
        (layer_name, module)
        for layer_name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    )
    layer_name, first = next(with_parameters, ("", model))
    shaped = _input_of(first)
    if shaped is None:
        raise SubjectError.no_input(name, type(first).__name__)
    return shaped, layer_name or type(first).__name__


def _input_of(layer: nn.Module) -> Shaped | None:
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
    """Describe inputs for a message.

    Parameters
    ----------
    inputs
        A tensor, a mapping, or a tuple of arguments.

    Returns
    -------
    str
        Such as "an input of shape (8, 3, 64, 64)".
    """
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    words = list(map(_words, arguments))
    if len(words) == 1 and isinstance(arguments[0], torch.Tensor):
        return f"an input of shape {words[0]}"
    return f"the inputs {', '.join(words) or '()'}"


def _words(argument: Any) -> str:
    """Return the shape of a tensor, what is in a mapping, or the class of anything else."""
    if isinstance(argument, torch.Tensor):
        return str(tuple(argument.shape))
    if isinstance(argument, Mapping):
        return f"{{{', '.join(f'{key}: {_words(one)}' for key, one in argument.items())}}}"
    return type(argument).__name__
