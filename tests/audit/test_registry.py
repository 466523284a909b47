"""How objects become subjects, and that the audit knows no framework."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from audit.pairs import Law
from backnorm.audit import audit
from backnorm.audit.subjects.adapter import Adapter, Request
from backnorm.audit.subjects.pair import pair_subject
from backnorm.audit.subjects.registry import _REGISTRY, register, subjects_of


class Doubled:
    """An object of a framework that nobody has heard of."""


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> Adapter:
    """Register an adapter for the framework that this test file stands for."""

    def subjects(_: Any, request: Request) -> Any:
        name = request.name or "doubled"
        return (pair_subject(Law(), name=name), pair_subject(Law(), name=f"{name} (eval)"))

    root = Doubled.__module__.partition(".")[0]
    monkeypatch.setitem(_REGISTRY.adapters, root, None)
    made = Adapter(root, lambda one: isinstance(one, Doubled), subjects, lambda _: ())
    register(made)
    return made


def test_an_adapter_is_found_by_the_package_of_the_object(adapter: Adapter) -> None:
    """The top package of the object's class names the framework."""
    names = [s.name for s in subjects_of(Doubled(), Request(name="d"))]
    assert names == ["d", "d (eval)"]
    assert audit(Doubled()).target == "doubled"
    assert not adapter.recognises(3)


def test_a_subject_is_a_subject() -> None:
    """A subject made by hand is taken as it is."""
    subject = pair_subject(Law())
    assert subjects_of(subject, Request()) == (subject,)


@pytest.mark.parametrize("module", ["backnorm.audit.conduct", "backnorm.audit.specimens"])
def test_the_audit_loads_no_framework(module: str) -> None:
    """Neither a framework nor what draws tables is needed to audit a NumPy pair."""
    code = f"import sys, {module}; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    heavy = {"torch", "jax", "tensorflow", "rich", "click", "backnorm.torch", "backnorm.report"}
    assert heavy.isdisjoint(out.stdout.split())
