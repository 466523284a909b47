"""Modules of PyTorch in another interpreter: followed and differentiated as they are here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from backnorm.cli._jobs import AuditJob, audit_jobs

if TYPE_CHECKING:
    from backnorm.audit.record import Record

pytest.importorskip("torch", reason="PyTorch is not installed")

LAYERS = ("BatchNorm1d", "InstanceNorm1d", "LayerNorm", "GroupNorm")
ARGUMENTS = {
    "BatchNorm1d": {"num_features": 4, "momentum": 0.3},
    "InstanceNorm1d": {"num_features": 4, "affine": True, "track_running_stats": True},
    "LayerNorm": {"normalized_shape": 6},
    "GroupNorm": {"num_groups": 2, "num_channels": 4},
}
PROBES = ("P10", "P11", "P12", "P30", "P31")


def audited(name: str, python: str) -> list[Record]:
    """Audit a layer in both of its modes, without backnorm if there is an interpreter."""
    job = AuditJob(f"torch.nn:{name}", python=python, arguments=ARGUMENTS[name], modes="both")
    return list(audit_jobs([job], seconds=120))


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", LAYERS)
def test_what_is_found_is_the_same(name: str) -> None:
    """The running law, its dialects, the findings, and what came of each probe of them."""
    there, here = audited(name, sys.executable), audited(name, "")
    assert len(there) == len(here)
    for one, other in zip(there, here, strict=True):
        assert one.state == other.state
        codes = {finding.code for finding in other.findings if finding.code[0] in "DSG"}
        assert {finding.code for finding in one.findings if finding.code[0] in "DSG"} == codes
        told = [{p.code: p.result for p in record.probes} for record in (one, other)]
        assert [told[0][code] for code in PROBES if told[1][code] != "skipped"] == [
            told[1][code] for code in PROBES if told[1][code] != "skipped"
        ]
