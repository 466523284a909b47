"""Shapes of inputs as users write them: 8,3,64,64, or 8,16:1000 for integers below 1000."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["read_shapes", "shapes_of"]

WRITTEN: Final = re.compile(r"(?P<shape>[1-9]\d*(,[1-9]\d*)*)(:(?P<below>[1-9]\d*))?")

LARGEST: Final = 2**28
"""Numbers in one input: 1 GiB of float32. More is taken for a typing mistake."""


def read_shapes(
    _: click.Context, __: click.Parameter, texts: Sequence[str]
) -> tuple[dict[str, Any], ...]:
    """Return the shapes for `Job.inputs`; raise BadParameter if a text is not a shape."""
    return shapes_of(texts)


def shapes_of(texts: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """Return the same outside an option."""
    return tuple(map(_read, texts))


def _read(text: str) -> dict[str, Any]:
    match = WRITTEN.fullmatch(text.replace(" ", ""))
    if match is None:
        message = f"{text!r} is not a shape; pass for example 8,3,64,64, or 8,16:1000 for integers"
        raise click.BadParameter(message)
    shape = [int(size) for size in match["shape"].split(",")]
    count = math.prod(shape)
    if count > LARGEST:
        message = f"{text!r} has {count:,} numbers; the limit is {LARGEST:,}"
        raise click.BadParameter(message)
    return {"shape": shape, "below": int(match["below"]) if match["below"] else None}
