"""A full audit of a function that uses backnorm.jax has no finding."""

from __future__ import annotations

from typing import Any

import pytest

jax = pytest.importorskip("jax")

import backnorm as bn  # noqa: E402
from backnorm.jax import batch_norm  # noqa: E402

pytestmark = pytest.mark.usefixtures("way")


def norm(x: Any, gamma: Any, beta: Any) -> Any:
    """Batch normalization of channels at axis 1."""
    return batch_norm(x, gamma, beta, axis=1).y


def test_an_audit_finds_nothing(way: str) -> None:
    """Probe after probe, with the kernels; the formulas overflow in float32 where docs say."""
    record = bn.audit(norm, kind="batch")
    assert record.sound
    codes = [finding.code for finding in record.findings]
    assert codes == [] if way == "kernels" else set(codes) <= {"I01"}
