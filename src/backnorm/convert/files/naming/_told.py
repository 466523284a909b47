"""What the caller says of kernels: of which kind they are, and what was flattened before them."""

from __future__ import annotations

import fnmatch
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backnorm.convert.files._arrays import shapes_of
from backnorm.convert.files._flat_kernels import KERNEL_SPELLINGS
from backnorm.convert.files.naming._layouts import LAYOUTS, family_of, lengths_of
from backnorm.convert.files.record import LayerKernel
from backnorm.convert.files.untold import setting_of
from backnorm.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import Shape
    from backnorm.convert.files.record import ModelFile, Setting

__all__ = ["KERNEL_OPTIONS", "OTHER", "layer_of", "with_kernel_settings"]

KERNEL_OPTIONS: Final = ("flatten", "kind")

OTHER: Final = "other"
"""The kind of an array that is not a kernel."""

AXES: Final = {"dense": (2,), "conv": (3, 4, 5), "depthwise": (3, 4, 5), "transposed": (3, 4, 5)}
"""How many axes a kernel of each kind has."""

FEWEST_AXES: Final = 2


def with_kernel_settings(model: ModelFile, settings: Sequence[Setting]) -> ModelFile:
    """Add what is said of kernels; what the file tells stays.

    Parameters
    ----------
    model
        What was read.
    settings
        Pattern for the layers' names, option, value; later ones win. Those of other options than
        `KERNEL_OPTIONS` are passed over.

    Returns
    -------
    ModelFile
        With these kernels.

    Raises
    ------
    KernelError
        If a pattern fits nothing, or a value contradicts a shape.
    """
    model = _with_kinds(model, [setting for setting in settings if setting[1] == "kind"])
    return _with_channels(model, [setting for setting in settings if setting[1] == "flatten"])


def _with_channels(model: ModelFile, settings: Sequence[Setting]) -> ModelFile:
    """Say how many channels the maps have that are flattened before dense layers."""
    file, shapes = Path(model.path).name, shapes_of(model.others)
    _check_patterns(file, settings, [k.name for k in model.kernels if k.kind == "dense"])
    kernels = []
    for kernel in model.kernels:
        value = setting_of(settings, kernel.name, "flatten")
        told = kernel.kind != "dense" or kernel.channels is not None or value is None
        kernels.append(kernel if told else _flattened(file, kernel, shapes[kernel.weight], value))
    return replace(model, kernels=tuple(kernels))


def _flattened(file: str, kernel: LayerKernel, shape: Shape, value: object) -> LayerKernel:
    lengths = lengths_of(shape, kernel.layout, None) or {}
    rows = math.prod(length for name, length in lengths.items() if name != "O")
    if value is False:
        return replace(kernel, channels=rows)
    if not isinstance(value, int) or value is True or value < 1 or rows % value:
        raise KernelError.wrong_channels(file, kernel.name, value, rows)
    layout = kernel.layout if "S" in kernel.layout else kernel.layout.replace("I", "(IS)")
    return replace(kernel, channels=value, layout=layout)


def _with_kinds(model: ModelFile, settings: Sequence[Setting]) -> ModelFile:
    """Say of which kind arrays are that the file does not tell."""
    if not settings:
        return model
    file, shapes = Path(model.path).name, shapes_of(model.others)
    names = {
        layer_of(model, name): name for name, shape in shapes.items() if len(shape) >= FEWEST_AXES
    }
    _check_patterns(file, settings, list(names))
    kernels = {kernel.weight: kernel for kernel in model.kernels}
    for layer, name in names.items():
        kind = setting_of(settings, layer, "kind")
        if kind is not None and (name not in kernels or not kernels[name].told):
            kernels[name] = _of_kind(model, layer, name, shapes, kind)
    ordered = (kernels[name] for name in shapes if name in kernels)
    return replace(model, kernels=tuple(ordered))


def layer_of(model: ModelFile, name: str) -> str:
    """Return what the layer of an array is called: the array's name without its last word."""
    for spelling in KERNEL_SPELLINGS.get(_family(model), ()):
        parts = spelling.split(name)
        if parts is not None and not parts[1]:
            return parts[0].removeprefix(spelling.start)
    return name


def _family(model: ModelFile) -> str:
    families = {family_of(layer.dialect) for layer in model.layers}
    return families.pop() if len(families) == 1 else ""


def _of_kind(
    model: ModelFile, layer: str, name: str, shapes: Mapping[str, Shape], kind: object
) -> LayerKernel:
    shape, layouts = shapes[name], LAYOUTS.get(_family(model), {})
    fits = [known for known in layouts if len(shape) in AXES[known]]
    if kind == OTHER:
        return LayerKernel(layer, OTHER, name, "")
    if kind not in fits:
        raise KernelError.wrong_kind(Path(model.path).name, layer, kind, shape, [*fits, OTHER])
    beside = (s.bias_of(layer) for s in KERNEL_SPELLINGS[_family(model)])
    bias = next((other for other in beside if layer != name and other in shapes), "")
    # Only Keras's kernel tells how many channels a depthwise layer reads.
    channels = shape[-2] if kind == "depthwise" and "M" in layouts[kind].split(")")[-1] else None
    return LayerKernel(layer, str(kind), name, layouts[str(kind)], bias, channels)


def _check_patterns(file: str, settings: Sequence[Setting], names: Sequence[str]) -> None:
    for pattern, option, _ in settings:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            raise KernelError.unknown(file, pattern, option, names)
