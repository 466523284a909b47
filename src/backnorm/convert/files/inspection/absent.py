"""What a file has where it has no normalization layer, told from the names and shapes of arrays."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from backnorm.convert.files._arrays import shapes_of
from backnorm.convert.files.inspection.record import FileFinding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from backnorm.convert.files.record import ModelFile

__all__ = ["absent_norms"]

LAST: Final = re.compile(r"(?P<before>.*?)(?P<last>[^./_:]*)")
"""A name, and the last of the words in it."""

BIASES: Final = {
    "weight": "bias",
    "kernel": "bias",
    "w": "b",
    "0": "1",
    "scale": "bias",
    "gamma": "beta",
}
"""For the last word of a weight's name, that of its bias."""

KERNEL_AXES: Final = 3
"""A convolution's kernel has the channels of input and output, and an axis of space at least."""


def absent_norms(model: ModelFile) -> Iterator[FileFinding]:
    """Yield what is found in a file without a normalization layer."""
    if model.layers:
        return
    if model.folded:
        yield FileFinding("F06", None, model.folded)
        return
    shapes = shapes_of(model.others)
    pairs = list(_with_bias(shapes))
    kernels = [name for name in pairs if len(shapes[name]) >= KERNEL_AXES]
    scales = [name for name in pairs if len(shapes[name]) == 1]
    if kernels and not scales:
        got = f"{len(kernels)} convolutions with a bias, such as {kernels[0]}"
        yield FileFinding("F06", None, got)
    else:
        # Notes tell why what is there is not taken for a layer, such as training_mode of ONNX.
        contents = _contents(shapes, 0 if model.notes else len(scales))
        yield FileFinding("F07", None, "; ".join((contents, *model.notes)))


def _with_bias(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """Yield the names of the weights that have a bias of one value an output beside them."""
    for name, shape in shapes.items():
        match = LAST.fullmatch(name)
        bias = match and BIASES.get(match["last"])
        beside = shapes.get(f"{match['before']}{bias}") if match and bias else None
        if beside is not None and len(beside) == 1 and beside[0] in (shape[:1] + shape[-1:]):
            yield name


def _contents(shapes: Mapping[str, tuple[int, ...]], scales: int) -> str:
    counts = {
        "arrays of 3 axes or more": _count(shapes.values(), range(KERNEL_AXES, 65)),
        "matrices": _count(shapes.values(), (2,)),
        "vectors": _count(shapes.values(), (1,)),
        "numbers": _count(shapes.values(), (0,)),
    }
    kinds = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    likely = f"; {scales} pairs of vectors may be layer or group norm" if scales else ""
    return f"{len(shapes)} arrays" + (f": {kinds}{likely}" if kinds else "")


def _count(shapes: Iterable[tuple[int, ...]], axes: Iterable[int]) -> int:
    wanted = set(axes)
    return sum(len(shape) in wanted for shape in shapes)
