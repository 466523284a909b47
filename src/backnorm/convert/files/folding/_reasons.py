"""Why a norm is not folded: sentences about one norm, for notes and for the error."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

__all__ = [
    "another_axis",
    "computed",
    "name_in_use",
    "normalizes_by_batch",
    "not_finite",
    "not_linear",
    "not_stored",
    "output_of_network",
    "read_by_others",
    "reads_input",
    "shared",
    "unread",
    "wrong_channels",
    "wrong_dtype",
]


def reads_input() -> str:
    """Nothing stands before it."""
    return "no convolution or dense layer stands before it: it reads an input of the network"


def not_linear(kind: str) -> str:
    """Something else stands before it."""
    return (
        f"{kind} stands before it, not a convolution or dense layer (batch norm is not "
        "folded into a convolution after it: at padded borders the result would differ)"
    )


def output_of_network(name: str) -> str:
    """The network's user sees what it reads."""
    return f"the output of {name} is an output of the network too"


def read_by_others(name: str, others: Sequence[str]) -> str:
    """Others see what it reads."""
    return f"the output of {name} is read by {' and '.join(others) or 'others'} too"


def computed(what: str, name: str) -> str:
    """Weights or bias are not in the file."""
    return f"the network computes the {what} of {name}: the file does not store it"


def shared(name: str, others: Sequence[str]) -> str:
    """The weights are those of other layers too."""
    return f"the weights of {name} are shared with {' and '.join(others) or 'others'}"


def wrong_dtype(name: str, dtype: np.dtype) -> str:
    """The weights are no real numbers."""
    return f"the weights of {name} are {dtype.name}, not real numbers"


def wrong_channels(name: str, shape: Sequence[int], channels: int) -> str:
    """The weights are not for as many channels."""
    return f"the weights of {name} have shape {tuple(shape)}, which is not for {channels} channels"


def another_axis(name: str) -> str:
    """The channels of both are on different axes, or that cannot be told."""
    return f"the outputs of {name} are not known to lie on axis 1, which the norm normalizes"


def not_finite(name: str, dtype: np.dtype) -> str:
    """The folded values are too large."""
    return f"the folded weights of {name} would not be finite in {dtype.name}"


def normalizes_by_batch(option: str) -> str:
    """The norm uses the batch."""
    return f"{option}: it normalizes by the batch when the model runs"


def not_stored(name: str) -> str:
    """The file lacks the weights."""
    return f"the weights of {name} are not in the file"


def name_in_use(blob: str, others: Sequence[str]) -> str:
    """The layer before cannot have the norm's output under its name."""
    return f"its output {blob} would be written before {' and '.join(others)}, which uses that name"


def unread() -> str:
    """The norm has no output."""
    return "it has no output that anything could read"
