"""An entry of the table: a layer, how it is used, and the verdict it must get."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from backnorm.audit.record import Path
    from backnorm.audit.subjects.request import Arguments

__all__ = [
    "BOTH",
    "BOTH_CUT",
    "CONSTANT",
    "MEAN_CUT",
    "OTHER",
    "OTHER_CUT",
    "RMS_CUT",
    "SIDE_CUT",
    "VARIANCE_CUT",
    "Verdict",
    "Wild",
    "beside",
    "grouped",
    "images",
    "last",
    "plus",
    "rows",
    "series",
    "speech",
    "tokens",
    "unjudged",
    "wrong",
]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the audit must say.

    Attributes
    ----------
    sound
        Whether the gradient is the derivative of the layer's forward pass; None where this cannot
        be judged.
    through
        Statistics that the gradient goes through; None where the three paths do not describe the
        layer, since it has several sets of statistics, or others than mean and variance.
    codes
        Codes of all findings but notes, in any order; None where any finding about the gradient
        will do.
    """

    sound: bool | None
    through: Path | None = None
    codes: tuple[str, ...] | None = ()


@dataclass(frozen=True, slots=True)
class Wild:
    """One layer.

    Attributes
    ----------
    shape
        Shape of x as the layer is used; the audit finds shapes itself.
    train, evaluation
        The verdicts; None for `evaluation` if both modes have the same.
    over
        Axes of x that share statistics; empty where the three paths do not describe the layer.
    groups
        Groups of channels; if there are several, `over` is of x as (batch, group, value).
    centred
        Whether the layer subtracts a mean.
    channel_axis
        Axis of the channels, along which gamma varies.
    arguments
        What it is constructed with, where the audit is told; None where it has to find out. The
        kind and the axes are never told.
    """

    shape: tuple[int, ...]
    train: Verdict
    evaluation: Verdict | None = None
    over: tuple[int, ...] = ()
    groups: int = 1
    centred: bool = True
    channel_axis: int = 1
    arguments: Arguments = None

    @property
    def channels(self) -> int:
        """The number of channels."""
        return self.shape[self.channel_axis]


BOTH: Final = Verdict(sound=True, through="both")
CONSTANT: Final = Verdict(sound=True, through="none")
OTHER: Final = Verdict(sound=True)
MEAN_CUT: Final = Verdict(sound=False, through="variance", codes=("G01",))
VARIANCE_CUT: Final = Verdict(sound=False, through="mean", codes=("G02",))
BOTH_CUT: Final = Verdict(sound=False, through="none", codes=("G03",))
RMS_CUT: Final = Verdict(sound=False, through="none", codes=("G02",))
SIDE_CUT: Final = Verdict(sound=False, codes=("G19",))
OTHER_CUT: Final = Verdict(sound=False, codes=None)


def wrong(*codes: str) -> Verdict:
    """Return the verdict on a gradient that is wrong in another way than by a missing path."""
    return Verdict(sound=False, through="unexplained", codes=codes)


def beside(*codes: str) -> Verdict:
    """Return the verdict on a gradient with both paths beside which something is wrong."""
    return Verdict(sound=False, through="both", codes=codes)


def plus(verdict: Verdict, code: str) -> Verdict:
    """Return a verdict with a finding that is not about the gradient of a first call."""
    return replace(verdict, codes=(*(verdict.codes or ()), code))


def unjudged(code: str) -> Verdict:
    """Return the verdict on what cannot be judged."""
    return Verdict(sound=None, codes=(code,))


def series(train: Verdict, evaluation: Verdict | None = None, over: tuple[int, ...] = ()) -> Wild:
    """Return a layer on (batch, time, channel)."""
    return Wild((3, 5, 4), train, evaluation, over, channel_axis=2)


def images(train: Verdict, evaluation: Verdict | None = None, over: tuple[int, ...] = ()) -> Wild:
    """Return a layer on (batch, channel, height, width)."""
    return Wild((3, 4, 3, 2), train, evaluation, over)


def last(train: Verdict, over: tuple[int, ...] = ()) -> Wild:
    """Return a layer on (batch, height, width, channel)."""
    return Wild((3, 3, 2, 4), train, None, over, channel_axis=3)


def tokens(train: Verdict, *, over: tuple[int, ...] = (), centred: bool = True) -> Wild:
    """Return a layer on (batch, token, feature)."""
    return Wild((4, 3, 6), train, None, over, centred=centred, channel_axis=2)


def rows(train: Verdict, evaluation: Verdict | None = None, over: tuple[int, ...] = ()) -> Wild:
    """Return a layer on (batch, channel)."""
    return Wild((8, 4), train, evaluation, over)


def speech(train: Verdict, over: tuple[int, ...] = ()) -> Wild:
    """Return a layer on (batch, channel, time)."""
    return Wild((3, 4, 6), train, None, over)


def grouped(train: Verdict, arguments: Arguments = None) -> Wild:
    """Return a layer on images of 4 channels in 2 groups, whose values then are axis 2."""
    return Wild((3, 4, 3, 2), train, over=(2,), groups=2, arguments=arguments)
