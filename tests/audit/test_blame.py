"""An error of the audit is told as its own, and costs the probe in which it is raised."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from audit.pairs import Law
from backnorm.audit import audit
from backnorm.audit.specimens.plain import Plain
from backnorm.audit.subjects.registry import as_subject
from backnorm.audit.subjects.runner import Runner
from backnorm.cli._policy import Policy


def raises(*_: object, **__: object) -> Any:
    """Raise as NumPy does."""
    return np.broadcast_to(np.zeros(2), 3)


@pytest.mark.parametrize("place", ["axes", "special_values", "layouts"])
def test_an_error_of_the_audit_costs_one_probe(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is skipped and says so; the verdict stands, other probes run, and it is not clean."""
    right = audit(Law())
    monkeypatch.setattr(sys.modules[f"backnorm.audit.probes.{place}"], "draw_inputs", raises)
    record = audit(Law())
    assert (record.sound, record.through) == (right.sound, right.through)
    own = [found for found in record.findings if found.code == "C03"]
    assert [found for found in record.findings if found not in own] == list(right.findings)
    results = {probe.code: probe for probe in record.probes}
    spoilt = [code for code, one in results.items() if one.what.startswith("audit error: ")]
    assert 1 <= len(spoilt) == len(own)
    for code in spoilt:
        assert results[code].result == "skipped"
        assert "ValueError: " in results[code].what
        assert "test_blame" not in results[code].what
    kept = [one for one in record.probes if one.code not in spoilt]
    assert kept == [one for one in right.probes if one.code not in spoilt]
    assert not record.clean
    assert Policy((), (), None, "finding").status([record], ()) == 2


def test_an_error_of_the_audit_before_the_verdict_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no verdict then, and the subject is not blamed."""
    monkeypatch.setattr(sys.modules["backnorm.audit.conduct"], "judge", raises)
    record = audit(Plain)
    assert [found.code for found in record.findings] == ["C03"]
    assert not record.audited
    assert "test_blame.py" not in record.findings[0].what
    assert "The subject is not at fault." in record.findings[0].what


class NoState:
    """A runner that cannot tell its state."""

    def __init__(self) -> None:
        self.right = as_subject(Plain).runner.inner

    def forward(self, *given: Any) -> Any:
        """Return y."""
        return self.right.forward(*given)

    def run(self, *given: Any) -> Any:
        """Return y and the gradients."""
        return self.right.run(*given)

    def state(self) -> Any:
        """Fail."""
        return raises()

    def after(self, _: Any) -> Any:
        """Return the same."""
        return self


def test_an_error_of_the_subject_is_its_own() -> None:
    """Also where the audit asks for something else than y and gradients."""
    subject = replace(as_subject(Plain), runner=Runner(NoState(), frozenset({"state"})))
    record = audit(subject)
    assert record.sound
    assert "C03" not in {found.code for found in record.findings}
    told = [probe.what for probe in record.probes if "ValueError" in probe.what]
    assert told
    assert not any("audit error" in what for what in told)


class Follows(Plain):
    """An attribute that is a number at first, and then has the size of each batch."""

    def __init__(self) -> None:
        self.std: Any = 1.0

    def forward(self, x: Any, gamma: Any, beta: Any) -> Any:  # type: ignore[override]
        """Normalize, and keep the deviation of each sample."""
        self.std = x.std(axis=(1, 2, 3))
        return Plain.forward(x, gamma, beta)


class Loses(Follows):
    """An attribute that comes and goes."""

    def forward(self, x: Any, gamma: Any, beta: Any) -> Any:
        """Normalize, and drop it in every other batch."""
        y = super().forward(x, gamma, beta)
        if len(x) % 2:
            del self.std
        return y


@pytest.mark.parametrize("pair", [Follows(), Loses()], ids=["its size changes", "it is lost"])
def test_an_attribute_that_is_not_a_statistic_is_left_alone(pair: Any) -> None:
    """It follows the batch, and is not what a layer keeps."""
    record = audit(pair)
    assert record.audited
    assert record.clean, record.findings
    assert not any("audit error" in probe.what for probe in record.probes)
