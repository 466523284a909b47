"""The gradient on unusual inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from audit.pairs import Law, Relu
from backnorm.audit import audit
from backnorm.audit.probes.layouts import LAYOUTS
from backnorm.audit.record import NOTE_FAMILIES
from backnorm.audit.specimens.cut import SquareCutOnly, VarianceCut
from backnorm.audit.specimens.inputs import AnyAxes, CaffeWithZero
from backnorm.audit.specimens.plain import Plain
from backnorm.audit.specimens.running import RunningStatistics
from backnorm.audit.specimens.wrong import GammaForgotten
from backnorm.audit.subjects.engine import ENGINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.audit.record import ProbeResult, Record


def probe(record: Record, code: str) -> ProbeResult:
    """Return one of the probes of a record."""
    return next(p for p in record.probes if p.code == code)


class Spoilt(AnyAxes):
    """A right pair, whose dx is doubled on some inputs, or its dgamma."""

    def __init__(self, where: Callable[[Any, Any], bool], what: int = 0) -> None:
        self.where, self.what = where, what

    def forward(self, x: Any, gamma: Any, beta: Any) -> Any:  # type: ignore[override]
        """Return y and the cache."""
        y, cache = AnyAxes.forward(x, gamma, beta)
        return y, (cache, x, gamma)

    def backward(self, dy: Any, cache: Any) -> Any:  # type: ignore[override]
        """Return dx, dgamma, dbeta."""
        inner, x, gamma = cache
        found = list(AnyAxes.backward(dy, inner))
        if self.where(x, gamma):
            found[self.what] = 2 * found[self.what]
        return tuple(found)


def has_constant(x: Any, gamma: Any) -> bool:  # noqa: ARG001
    """Whether a channel is constant."""
    return x.shape[0] > 1 and bool((np.ptp(np.moveaxis(x, 1, 0).reshape(3, -1), axis=1) == 0).any())


WHERE: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "x channels last": (lambda x, _: x.ndim == 4 and not x.flags.c_contiguous, "I01"),
    "a constant channel": (has_constant, "I02"),
    "a gamma of 0": (lambda _, gamma: bool((gamma == 0).any()), "I03"),
    "rows": (lambda x, _: x.ndim == 2, "I04"),
    "volumes": (lambda x, _: x.ndim == 5, "I04"),
    "values": (lambda x, _: bool(np.abs(x).max() > 1e4), "I05"),
}


@pytest.mark.parametrize("what", [0, 1], ids=["dx", "dgamma"])
@pytest.mark.parametrize("name", WHERE)
def test_a_gradient_that_is_wrong_on_some_inputs_only_is_found(name: str, what: int) -> None:
    """Doubled dx and doubled dgamma there, and nothing else is said."""
    where, code = WHERE[name]
    record = audit(Spoilt(where, what))
    assert record.sound
    assert [f.code for f in record.findings if f.code[0] not in NOTE_FAMILIES] == [code]


def test_the_right_pair_passes_on_all_of_them() -> None:
    """Each probe is tried, and what it says has numbers."""
    record = audit(Spoilt(lambda _x, _gamma: False))
    assert record.findings == ()
    codes = ("P40", "P41", "P42", "P43", "P44", "P46")
    assert {probe(record, code).result for code in codes} == {"pass"}
    assert all(name in probe(record, "P40").what for name in LAYOUTS)
    assert probe(record, "P41").what.count("error of d") == 3
    assert "2 axes: error of d" in probe(record, "P43").what


def test_the_place_of_a_fault_is_said() -> None:
    """The finding names what is wrong, and not what is right."""
    where, _ = WHERE["rows"]
    (found,) = audit(Spoilt(where)).findings
    assert found.got.startswith("2 axes: error of dx")
    assert "5 axes" not in found.got


class NanForOne(AnyAxes):
    """Without a value to spare there is no variance: NaN."""

    @staticmethod
    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        """Return y and the cache."""
        y, cache = AnyAxes.forward(x, gamma, beta)
        return (y * np.nan if x.size == x.shape[1] else y), cache


def test_one_value_may_give_nan() -> None:
    """The unbiased variance of one value is 0/0: said, and no fault."""
    record = audit(NanForOne())
    assert record.findings == ()
    assert (
        "one value in a channel: returned NaN or infinity in 3 values of y"
        in probe(record, "P41").what
    )


def test_a_kink_is_no_fault() -> None:
    """A relu behind a right pair, and |gamma| where gamma is 0."""
    assert audit(Relu()).findings == ()
    assert audit(Law(gamma_law=np.abs)).clean
    assert audit(CaffeWithZero()).findings == ()


def test_what_cannot_be_given_is_skipped() -> None:
    """A pair takes one number of axes, and always wants dx; a refusal is quoted in short."""
    record = audit(Plain())
    assert probe(record, "P43").result == "skipped"
    assert "2 axes: AxisError" in probe(record, "P43").what
    assert probe(record, "P45").result == "skipped"


BLIND_SPOTS = {
    "mean 0": (SquareCutOnly, ["mean 0", "dy = 1"]),
    "gamma = 1": (GammaForgotten, ["gamma = 1", "dy = 1"]),
    "dy = 1": (VarianceCut, ["dy = 1"]),
}


@pytest.mark.parametrize("name", BLIND_SPOTS)
def test_the_blind_spots_of_a_fault_are_named(name: str) -> None:
    """The note says with which special inputs a test does not see the fault."""
    pair, hiding = BLIND_SPOTS[name]
    record = audit(pair())
    (note,) = [n for n in record.notes if n.startswith("The fault does not show with ")]
    assert [special for special in BLIND_SPOTS if special in note] == hiding


class TrainsOnSamples(RunningStatistics):
    """Divides by the number of samples where it trains."""

    def forward(self, x: Any, gamma: Any, beta: Any) -> Any:
        """Normalize."""
        if self.training:
            1 / len(x)
        return super().forward(x, gamma, beta)


def test_an_empty_batch_may_be_refused_in_training_alone() -> None:
    """A layer that evaluates one is asked what training with one leaves, and may raise."""
    record = audit(TrainsOnSamples(training=False))
    assert probe(record, "P46").result == "pass"
    assert probe(record, "P46").what == "an empty batch gives empty y and dx"


def test_the_engine_is_right_on_all_inputs() -> None:
    """In training and with frozen statistics; an empty batch is refused in training."""
    for subject in ENGINE.values():
        record = audit(subject)
        assert [f for f in record.findings if f.code[0] not in "NR"] == []
        assert probe(record, "P43").what.count("axes: error of d") == 3
