"""Codes C01 to C03: a part of the audit is missing. The other probes ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry
from backnorm.errors.causes import REMEDIES

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CUT_SHORT"]

CUT_SHORT: Final[Mapping[str, Entry]] = {
    "C01": Entry(
        "A probe ended the process of the subject.",
        "a result or an error",
        (
            "a crash in compiled code on inputs that it does not check",
            "a call of exit or abort",
            "the system ended the process to save memory",
        ),
        "Run the layer on the inputs of this probe under python -X faulthandler.",
    ),
    "C02": Entry(
        "The subject did not finish a probe in time.",
        "an answer within the time of --limit",
        (
            "an endless loop on inputs that are unusual",
            "a lock that an earlier call holds",
            "a very slow layer",
        ),
        REMEDIES["G21"],
    ),
    "C03": Entry(
        "The audit itself raised an error; the subject is not at fault.",
        "an audit without an error",
        ("a mistake in the audit", "a subject of a shape or type that the audit does not know"),
        REMEDIES["C03"],
    ),
}
