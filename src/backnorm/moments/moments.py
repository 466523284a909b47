"""The class `Moments`."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsIndex

import numpy as np

from backnorm import _check
from backnorm._layout import arrange, layout_of
from backnorm.errors import ShapeError
from backnorm.kernels.exact_moments import NO_VALUES, ExactMoments, exact_moments
from backnorm.moments import encoding
from backnorm.moments.values import floats

if TYPE_CHECKING:
    import numpy.typing as npt

    from backnorm._types import AnyArray, Float64Array

__all__ = ["Moments"]


class Moments:
    """Mean and variance of each channel, of values that come in parts.

    The sums are kept exactly, as integers. So the results are rounded once, and no bit of them
    depends on how the values were cut into parts, in which order they came, or on how many machines
    they were. The size is that of a few hundred bytes a channel.

    Attributes
    ----------
    n
        How many values each channel has.
    channels
        How many channels; None before the first values.
    mean
        Shape (C,), float64; NaN of no values, infinite or NaN if a value is so. [x]
    var
        Biased variance, the mean of (x - mean)^2; NaN if a value is not finite. [x]^2
    unbiased_var
        The same over n - 1; NaN of fewer than 2 values. [x]^2

    Notes
    -----
    Source: docs/numerics.md. An object is no bigger for more values, can be pickled, and may be
    updated by one thread at a time.

    Examples
    --------
    >>> import numpy as np
    >>> import backnorm as bn
    >>> x = np.random.default_rng(0).normal(1e5, 1, size=(100, 3)).astype(np.float32)
    >>> whole, first, rest = bn.Moments(), bn.Moments(), bn.Moments()
    >>> whole.update(x)
    >>> first.update(x[:7])
    >>> rest.update(x[7:][::-1])
    >>> rest + first == whole, whole.n
    (True, 100)
    """

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[ExactMoments] | None = None

    def update(
        self,
        x: AnyArray,
        mask: npt.ArrayLike | None = None,
        channel_axis: SupportsIndex = 1,
    ) -> None:
        """Add the values of x.

        Parameters
        ----------
        x
            Any shape with channels along channel_axis; float16, bfloat16, float32, float64, bool,
            or integers of at most 53 bits. Of no values, too.
        mask
            Which positions count, in every channel: bool, the shape of x without channel_axis.
            The values of others may be anything.
        channel_axis
            The axis that holds the channels: 1 for (N, C, ...), -1 for (N, ..., C).

        Raises
        ------
        ShapeError
            Another number of channels than before; a mask of another shape.
        DtypeError
            A dtype that is not supported.
        RangeError
            An axis that x does not have; integers of more than 53 bits.
        """
        x = floats("x", x)
        axis = _check.axis(x, channel_axis, allow_empty=True)
        if mask is not None:
            x, axis = _selected(x, mask, axis), 1
        parts = exact_moments(arrange(x, layout_of(x, axis)))
        self._parts = self._added(parts)

    def merge(self, other: Moments) -> None:
        """Add the values of other, which stays as it is.

        Raises
        ------
        ShapeError
            Another number of channels.
        """
        if other._parts is not None:
            self._parts = self._added(other._parts)

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of the values of both; `sum(parts, Moments())` adds many."""
        if not isinstance(other, Moments):
            return NotImplemented
        total = Moments()
        total.merge(self)
        total.merge(other)
        return total

    def __eq__(self, other: object) -> bool:
        """Whether the exact sums and the counts are the same."""
        return isinstance(other, Moments) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment] # it changes

    def __repr__(self) -> str:
        """Return how many values of how many channels."""
        return f"<Moments: n={self.n}, channels={self.channels}>"

    def __getstate__(self) -> bytes:
        """Return what pickle keeps."""
        return self.to_bytes()

    def __setstate__(self, state: bytes) -> None:
        """Take what pickle kept."""
        self._parts = encoding.decoded(state)

    @property
    def n(self) -> int:
        """How many values each channel has."""
        return self._parts[0].n if self._parts else 0

    @property
    def channels(self) -> int | None:
        """How many channels; None before the first values."""
        return None if self._parts is None else len(self._parts)

    @property
    def mean(self) -> Float64Array:
        """The mean of each channel."""
        return np.array([part.mean() for part in self._parts or ()])

    @property
    def var(self) -> Float64Array:
        """The biased variance of each channel."""
        return np.array([part.var(0) for part in self._parts or ()])

    @property
    def unbiased_var(self) -> Float64Array:
        """The unbiased variance of each channel."""
        return np.array([part.var(1) for part in self._parts or ()])

    def to_bytes(self) -> bytes:
        """Return all of it as bytes; equal moments have equal bytes, on every machine."""
        return encoding.encoded(self._parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> Moments:
        """Return what `to_bytes` has written.

        Raises
        ------
        RangeError
            Bytes that `to_bytes` has not written, or not all of them.
        """
        made = cls()
        made._parts = encoding.decoded(data)
        return made

    def _added(self, parts: list[ExactMoments]) -> list[ExactMoments]:
        before = [NO_VALUES] * len(parts) if self._parts is None else self._parts
        if len(before) != len(parts):
            raise ShapeError.channels(len(parts), len(before))
        return [a + b for a, b in zip(before, parts, strict=True)]


def _selected(x: AnyArray, mask: npt.ArrayLike, axis: int) -> AnyArray:
    """Return the values that count, shape (n, C)."""
    chosen = _check.mask(mask, x, axis)
    return np.moveaxis(x, axis, -1)[chosen]
