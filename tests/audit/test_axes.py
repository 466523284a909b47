"""Orders of axes, named or found: channels last, time in the middle, channels second."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from audit.axes import Over
from backnorm.audit import audit
from backnorm.audit.kinds import geometry
from backnorm.audit.subjects.axes import read_axes
from backnorm.errors import RangeError, SubjectError


def last(_: int) -> int:
    """Return the last axis."""
    return -1


def second(_: int) -> int:
    """Return axis 1."""
    return 1


def all_but_last(ndim: int) -> tuple[int, ...]:
    """Return the axes of a batch normalization with the channels last."""
    return tuple(range(ndim - 1))


def between(ndim: int) -> tuple[int, ...]:
    """Return the axes between the samples and the last."""
    return tuple(range(1, ndim - 1)) or (1,)


# name: pair, kind, axes that are found
FOUND: dict[str, tuple[Over, str, str]] = {
    "a LayerNorm whose name does not say so": (Over(last, last), "layer", "NTC"),
    "an rms norm": (Over(last, last, rms=True), "rms", "NTC"),
    "a batch norm of NHWC": (Over(all_but_last, last), "batch", "NHWC"),
    "a norm over time": (Over(between, last), "instance", "NTC"),
    "a LayerNorm over axis 1": (Over(second, second), "layer", "NCHW"),
    "an rms norm over axis 1": (Over(second, second, rms=True), "rms", "NCHW"),
}

PATHS = {"both": (True, True), "mean": (True, False), "variance": (False, True)}
PATHS["none"] = (False, False)


@pytest.mark.parametrize("name", FOUND)
def test_the_kind_and_the_axes_are_found(name: str) -> None:
    """Where neither is given and the usual does not fit; a note says as what it was judged."""
    pair, kind, axes = FOUND[name]
    record = audit(pair, quick=True)
    assert (record.kind, record.mode, record.through) == (kind, "batch", "both")
    assert record.sound is True
    note = f"It was judged with --kind {kind} --axes {axes}, which fits its forward pass."
    assert record.notes[0] == note


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["a batch norm of NHWC", "a LayerNorm over axis 1"])
def test_what_is_cut_is_found_there_too(name: str, path: str) -> None:
    """Every path, in an order of axes that was found."""
    pair, kind, _ = FOUND[name]
    mean, variance = PATHS[path]
    record = audit(replace(pair, mean=mean, variance=variance), quick=True)
    assert (record.kind, record.through, record.sound) == (kind, path, path == "both")


def test_what_is_given_is_not_searched() -> None:
    """By argument or by attribute; a kind that is given is kept, and its orders are tried."""
    pair = FOUND["a norm over time"][0]
    for kind, axes in (("instance", "NTC"), ("instance", "BLC"), ("instance", "N...C")):
        record = audit(pair, kind, axes=axes, quick=True)  # type: ignore[arg-type]
        assert (record.kind, record.through, record.notes) == ("instance", "both", ())
    found = audit(pair, "instance", quick=True)
    assert (found.through, found.notes[0][:36]) == ("both", "It was judged with --kind instance -")
    wrong = audit(pair, "batch", axes="NTC", quick=True)
    assert (wrong.kind, wrong.through) == ("batch", "unexplained")


def test_an_attribute_names_the_axes() -> None:
    """As --axes does."""

    @dataclass(frozen=True)
    class Named(Over):
        kind = "instance"
        axes = "NTC"

    record = audit(Named(between, last), quick=True)
    assert (record.through, record.notes) == ("both", ())


@dataclass(frozen=True)
class Numbered(Over):
    """A layer that keeps the numbers of the axes that it reduces, as many do."""

    axes: tuple[int, ...] = (0, 2, 3)


def test_numbers_of_axes_are_the_layers_own() -> None:
    """They are not an order of letters, and change nothing."""
    record = audit(Numbered(all_but_last, last), quick=True)
    assert (record.kind, record.through) == ("batch", "both")


@dataclass(frozen=True)
class Misspelt(Over):
    """An order of axes without channels."""

    axes: str = "channel"


def test_an_attribute_that_cannot_be_read_is_the_subjects() -> None:
    """The error names the attribute; an argument's error names the argument."""
    with pytest.raises(SubjectError, match=r"Misspelt\.axes must have a letter for each axis"):
        audit(Misspelt(all_but_last, last), quick=True)
    with pytest.raises(RangeError, match=r"^axes must have a letter for each axis"):
        audit(Misspelt(all_but_last, last), axes="HWC", quick=True)


def test_full_audits_use_the_order_too() -> None:
    """State, further axes and precision see x as the subject wants it."""
    record = audit(FOUND["a batch norm of NHWC"][0])
    assert record.clean, record.findings
    results = {probe.code: probe.result for probe in record.probes}
    assert (results["P43"], results["P60"]) == ("pass", "pass")


class Bent(Over):
    """A norm with a wave behind it: neither an order of axes nor an activation explains y."""

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        y, cache = super().forward(x, gamma, beta)
        return np.sin(3 * y), (np.cos(3 * y), cache)

    def backward(self, dy: Any, cache: Any) -> Any:
        """Return dx, dgamma, dbeta."""
        slope, inner = cache
        return super().backward(3 * dy * slope, inner)


def test_what_fits_nothing_says_so() -> None:
    """The derivative still judges it; the note says that the paths are not known."""
    record = audit(Bent(last, last), quick=True)
    assert (record.through, record.sound) == ("unexplained", True)
    assert record.notes[0].startswith(
        "Its paths were not measured: with each kind and order of axes"
    )
    assert "--kind and --axes" in record.notes[0]


MISFITS = {
    "a batch norm of NHWC": ("layer", "", "--kind batch --axes NHWC"),
    "a norm over time": ("batch", "", "--kind instance --axes NTC"),
    "a LayerNorm over axis 1": ("batch", "", "--kind layer --axes NCHW"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_kind_that_is_given_and_does_not_fit_is_not_judged(name: str) -> None:
    """The reason says what it is instead; as that it is sound."""
    kind, axes, fits = MISFITS[name]
    record = audit(FOUND[name][0], kind, axes=axes, quick=True)  # type: ignore[arg-type]
    assert (record.sound, record.findings) == (None, ())
    over = f"the axes {axes}" if axes else "the axes that were tried"
    assert record.not_judged == (
        f"it is not a normalization of kind {kind} over {over}; it fits {fits}"
    )
    _, kind, _, axes = fits.split()
    assert audit(FOUND[name][0], kind, axes=axes, quick=True).sound  # type: ignore[arg-type]


def test_a_wrong_gradient_is_wrong_whatever_kind_was_given() -> None:
    """The derivative needs no kind; the note says that the kind does not fit."""
    record = audit(replace(FOUND["a batch norm of NHWC"][0], mean=False), "layer", quick=True)
    assert record.sound is False
    assert record.notes[0] == (
        "It is not a normalization of kind layer over the axes that were tried; it fits --kind "
        "batch --axes NHWC."
    )


def test_a_kind_that_nothing_fits_is_judged_only_where_it_was_not_given() -> None:
    """A yes to a given kind would say more than the derivative shows."""
    record = audit(Bent(last, last), "batch", quick=True)
    assert record.not_judged == (
        "it is not a normalization of kind batch over the axes that were tried; no other fits"
    )
    assert audit(Bent(last, last), axes="NHWC", quick=True).not_judged == (
        "it is not a normalization of any kind over the axes NHWC; no other fits"
    )
    assert audit(Bent(last, last), quick=True).sound


READ = {"NHWC": (-1, 2), "NTC": (-1, 1), "BTC": (-1, 1), "N,C,H,W": (1, 2), "NC": (1, 0)}
READ |= {"nc...": (1, None), "N...C": (-1, None), "NTCHW": (2, 3)}


@pytest.mark.parametrize("text", READ)
def test_orders_are_read(text: str) -> None:
    """Commas, spaces and case do not count."""
    axes = read_axes(text)
    assert (axes.channels, axes.others) == READ[text]


@pytest.mark.parametrize("text", ["", "HWC", "CN", "NHW", "NCC", "NCHH", "N..C", "NC1", "N...C..."])
def test_what_is_no_order_is_refused(text: str) -> None:
    """With what to pass."""
    with pytest.raises(RangeError, match=r"Pass for example NHWC, NTC or N\.\.\.C"):
        read_axes(text)


def test_groups_may_have_one_gamma_each() -> None:
    """It broadcasts over the channels of its group."""
    where = geometry("group", (2, 6, 2), (3,), groups=3)
    spread = where.from_rows(where.spread(np.array([1.0, 2.0, 3.0]), 1.0))
    assert spread[0, :, 0].tolist() == [1, 1, 2, 2, 3, 3]
