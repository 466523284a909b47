"""Kernels in files that hold named arrays and nothing else, by the names of their framework."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backnorm.convert.files.naming._layouts import LAYOUTS, family_of, lengths_of
from backnorm.convert.files.record import LayerKernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backnorm._types import Shape
    from backnorm.convert.files.record import NormLayer

__all__ = ["KERNEL_SPELLINGS", "KernelSpelling", "kernels_by_name"]

LARGEST_SPATIAL: Final = 3

KINDS: Final = {
    "depthwise_": "depthwise",
    "pointwise_": "conv",
    "conv_": "conv",
    "transposed_": "transposed",
}
"""What may stand before the word for a kernel, and the kind that it tells. Keras has the first two;
new files have the others where nothing else would tell the kind."""


@dataclass(frozen=True, slots=True)
class KernelSpelling:
    """How one framework names the arrays of a convolution or dense layer.

    Attributes
    ----------
    weight, bias
        How the names end.
    start
        How they may begin.
    prefixes
        Those of `KINDS` that may stand before the last word of a kernel's name.
    """

    weight: str
    bias: str
    start: str = ""
    prefixes: tuple[str, ...] = ()

    def ending(self, prefix: str, before: str = "") -> str:
        """Return how the name of a kernel ends, behind what stands before."""
        return f"{before}{self.weight[0]}{prefix}{self.weight[1:]}"

    def weight_of(self, layer: str, prefix: str = "") -> str:
        """Return the name of a kernel."""
        return self.ending(prefix, self.start + layer)

    def bias_of(self, layer: str) -> str:
        """Return the name of a bias."""
        return f"{self.start}{layer}{self.bias}"

    def split(self, name: str) -> tuple[str, str] | None:
        """Return the layer and the prefix in the name of a kernel; None if it is another name."""
        for prefix in (*self.prefixes, ""):
            ending = self.ending(prefix)
            if name.endswith(ending):
                return name.removesuffix(ending), prefix
        return None


_PAIR: Final = ("depthwise_", "pointwise_")

_TORCH: Final = KernelSpelling(".weight", ".bias", prefixes=_PAIR)

KERNEL_SPELLINGS: Final[Mapping[str, tuple[KernelSpelling, ...]]] = {
    "torch": (_TORCH,),
    "caffe": (_TORCH,),
    "onnx": (_TORCH,),
    "mxnet": (
        _TORCH,
        KernelSpelling("_weight", "_bias", "arg:"),
        KernelSpelling("_weight", "_bias"),
    ),
    "keras": (KernelSpelling("/kernel", "/bias", prefixes=tuple(KINDS)),),
    "flax": (
        KernelSpelling("/kernel", "/bias", "params/", tuple(KINDS)),
        KernelSpelling("/kernel", "/bias", prefixes=tuple(KINDS)),
    ),
}
"""By family of dialects; new files take the first."""


def kernels_by_name(
    layers: Sequence[NormLayer], shapes: Mapping[str, Shape]
) -> tuple[LayerKernel, ...]:
    """Find kernels by their names.

    Names are understood if all normalization layers of the file are of one framework.

    Parameters
    ----------
    layers
        The normalization layers.
    shapes
        Of all other arrays.

    Returns
    -------
    tuple of LayerKernel
        In the order of the file. A transposed convolution is told by the length of its bias or
        by its name, else it looks like a convolution. Weights with two axes but without a bias
        could be embeddings, and are left out where the name does not tell.
    """
    families = {family_of(layer.dialect) for layer in layers}
    family = families.pop() if len(families) == 1 else ""
    found: list[LayerKernel] = []
    for name, shape in shapes.items():
        for spelling in KERNEL_SPELLINGS.get(family, ()):
            parts = spelling.split(name) if name.startswith(spelling.start) else None
            if parts is not None:
                found += _kernel(family, spelling, name, parts, shape, shapes)
                break
    return tuple(found)


def _kernel(  # noqa: PLR0917 - the parts of one kernel
    family: str,
    spelling: KernelSpelling,
    name: str,
    parts: tuple[str, str],
    shape: Shape,
    shapes: Mapping[str, Shape],
) -> Iterator[LayerKernel]:
    layer, prefix = parts
    beside = layer + spelling.bias
    # The bias of Keras's SeparableConv2D belongs to the second of its kernels.
    first = prefix == "depthwise_" and spelling.ending("pointwise_", layer) in shapes
    bias = beside if beside in shapes and not first else ""
    layouts = LAYOUTS[family]
    channels = None
    if len(shape) == 2:  # noqa: PLR2004 - in and out
        if not bias and name.endswith("weight"):
            return
        kind = "dense"
    elif 2 < len(shape) <= 2 + LARGEST_SPATIAL:  # noqa: PLR2004 - in and out
        kind = KINDS.get(prefix) or _convolution(
            family, layer, shape, shapes[bias] if bias else None
        )
        channels = int(shape[-2]) if kind == "depthwise" and family == "keras" else None
    else:
        return
    if kind and lengths_of(shape, layouts[kind], channels):
        told = bool(prefix)
        plain = layer.removeprefix(spelling.start)
        yield LayerKernel(plain, kind, name, layouts[kind], bias, channels, told=told)


def _convolution(family: str, layer: str, shape: Shape, bias: Shape | None) -> str:
    """Tell a convolution from others by the name, or by the bias; empty where neither does."""
    last = re.split(r"[./]", layer)[-1].lower().replace("_", "")
    if family == "keras" and "depthwiseconv" in last:
        return "depthwise"
    if "convtranspose" in last or "dtranspose" in last:
        return "transposed"
    single = family == "keras" and shape[-1] == 1  # one output channel, or a depthwise layer
    if bias is None or family == "flax":
        return "" if single and not re.match(r"conv[123]d", last) else "conv"
    out, into = (-1, -2) if family == "keras" else (0, 1)
    if math.prod(bias) == shape[out]:
        return "conv"
    if math.prod(bias) != shape[into]:
        return ""
    return "depthwise" if single else "transposed"
