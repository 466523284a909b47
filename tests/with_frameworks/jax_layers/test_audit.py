"""A full audit of each layer of `backnorm.jax` finds nothing but what its law has."""

from __future__ import annotations

import pytest

pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")

from backnorm.audit import audit
from backnorm.audit.subjects.registry import layers_of

FRAMEWORKS = {"flax": 4, "haiku": 2, "equinox": 4}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_audit_finds_nothing(framework: str) -> None:
    """In training; in evaluation, where test_one_command_audits_a_framework looks, too."""
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    ours = [s for s in layers_of(framework, "both") if s.name.startswith("backnorm.jax.layers.")]
    assert len(ours) == FRAMEWORKS[framework]
    record = audit(next(s for s in ours if "eval" not in s.name))
    assert record.sound
    assert [finding.code for finding in record.findings] == []
