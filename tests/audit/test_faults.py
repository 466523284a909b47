"""What cannot be audited is reported as such."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from audit.pairs import Faulty, Law
from backnorm.audit import audit
from backnorm.errors import SubjectError, UnknownNameError


def raising(_: Any) -> Any:
    """Raise as foreign code does."""
    message = "no such thing"
    raise KeyError(message)


FAULTS: dict[str, tuple[Faulty, str, str]] = {
    # name: pair, code, what was got
    "raises": (Faulty(after_forward=raising), "G20", "KeyError: 'no such thing'"),
    "raises backward": (Faulty(after_backward=raising), "G20", "KeyError: 'no such thing'"),
    "nothing": (Faulty(after_forward=lambda _: None), "G22", "None"),
    "y is None": (Faulty(after_forward=lambda r: (None, r[1])), "G22", "None"),
    "no gradients": (Faulty(after_backward=lambda _: None), "G22", "None"),
    "dx is None": (Faulty(after_backward=lambda r: (None, *r[1:])), "G22", "None"),
    "y only": (Faulty(after_forward=lambda r: r[0]), "G23", "an array of shape (2, 3, 2, 2)"),
    "two gradients": (Faulty(after_backward=lambda r: r[:2]), "G23", "a tuple of 2"),
    "y of no array": (Faulty(after_forward=lambda r: ("y", r[1])), "G23", "str"),
    "shape of y": (Faulty(after_forward=lambda r: (r[0][:, :1], r[1])), "G23", "(2, 1, 2, 2)"),
    "shape of dx": (Faulty(after_backward=lambda r: (r[0].sum(0), *r[1:])), "G23", "(3, 2, 2)"),
    "shape of dgamma": (Faulty(after_backward=lambda r: (r[0], r[1][:2], r[2])), "G23", "(2,)"),
    "NaN in y": (
        Faulty(after_forward=lambda r: (r[0] * np.nan, r[1])),
        "G24",
        "24 values that are NaN or infinite",
    ),
    "infinity in dx": (
        Faulty(after_backward=lambda r: (r[0] * np.inf, *r[1:])),
        "G24",
        "60 values that are NaN or infinite",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_a_finding_of_its_own(name: str) -> None:
    """The record says that the pair could not be audited, with the code of the fault."""
    pair, code, got = FAULTS[name]
    record = audit(pair)
    assert (record.audited, record.sound) == (False, None)
    assert [(finding.code, finding.got) for finding in record.findings] == [(code, got)]
    assert record.findings[0].what.startswith(("Faulty raised ", "Faulty returned "))


def test_an_object_that_is_no_subject_is_refused() -> None:
    """The message says what can be audited."""
    with pytest.raises(SubjectError, match=r"^3 cannot be audited: its type is int\. A pair of f"):
        audit(3)


def test_half_a_pair_is_told_what_it_lacks() -> None:
    """A class with one of the two functions, whichever."""
    for has, lacks in (("forward", "backward"), ("backward", "forward")):
        half = SimpleNamespace(**{has: lambda *_: None})
        with pytest.raises(SubjectError, match=f"it has {has}, but not {lacks}") as caught:
            audit(half)
        assert caught.value.code == "G26"


def test_what_is_not_a_layer_is_told_apart() -> None:
    """A whole module, and a class that cannot be run."""
    with pytest.raises(SubjectError, match="it is a whole file or module"):
        audit(sys.modules[__name__])
    with pytest.raises(SubjectError, match="it is a class without forward and backward"):
        audit(SimpleNamespace)


STAGES = {
    "forward": Faulty(after_forward=raising),
    "backward": Faulty(after_backward=raising),
}


@pytest.mark.parametrize("stage", STAGES)
def test_an_error_is_told_with_its_pass_its_line_and_the_shapes(stage: str) -> None:
    """Where it was raised, and on what: enough to run it by hand."""
    line = inspect.getsourcelines(raising)[1] + 3
    (found,) = audit(STAGES[stage]).findings
    assert found.what.startswith(
        f"Faulty raised in its {stage} pass ({Path(__file__).relative_to(Path.cwd())}:{line}: "
        "`raise KeyError(message)`): KeyError: 'no such thing'. It was called with x of shape "
    )
    assert ("dy of shape" in found.what) == (stage == "backward")
    assert found.causes[0] == f"a mistake in its {stage} pass"


def test_an_unknown_kind_is_refused() -> None:
    """The message lists the kinds and guesses the one that was meant."""
    with pytest.raises(UnknownNameError, match=r"^kind must be one of 'batch', .*got 'bach'"):
        audit(Law(), "bach")  # type: ignore[arg-type]


def test_a_pair_can_be_an_object_of_two_functions() -> None:
    """Anything with forward and backward will do."""
    law = Law()
    record = audit(SimpleNamespace(forward=law.forward, backward=law.backward))
    assert (record.target, record.sound) == ("SimpleNamespace", True)


def test_a_pair_describes_itself() -> None:
    """kind, sample_shape, has_beta and dtypes are read from the pair."""

    class Rms:
        """RMS normalization over eight values, in float64 only."""

        kind = "rms"
        sample_shape = (8,)
        dtypes = ("float64",)

        @staticmethod
        def forward(x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
            """Return y and the cache."""
            assert beta is None
            assert (x.dtype, x.shape[1:], gamma.shape) == (np.float64, (8,), (8,))
            inv_std = 1 / np.sqrt((x**2).mean(1, keepdims=True))
            return gamma * x * inv_std, (x * inv_std, inv_std, gamma)

        @staticmethod
        def backward(dy: Any, cache: Any) -> tuple[Any, Any, None]:
            """Return dx, dgamma and no dbeta."""
            x_hat, inv_std, gamma = cache
            d = gamma * dy * inv_std
            dx = d - x_hat * (d * x_hat).mean(1, keepdims=True)
            return dx, (dy * x_hat).sum(0), None

    record = audit(Rms)
    assert (record.kind, record.through, record.sound) == ("rms", "both", True)
    assert record.coefficients.mean is None
    assert record.errors.dbeta is None
