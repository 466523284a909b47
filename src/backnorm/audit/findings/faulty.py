"""Codes G20 to G29: the subject could not be audited. The error that was raised has the words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FAULTY"]

FAULTY: Final[Mapping[str, Entry]] = {
    "G20": Entry("", "", ("see the message",), ""),
    "G21": Entry(
        "",
        "",
        ("an endless loop", "waiting for input, a lock or the network", "a very slow layer"),
        "",
    ),
    "G22": Entry(
        "",
        "",
        ("a return statement is missing", "y does not depend on x: all of it is detached"),
        "",
    ),
    "G23": Entry(
        "",
        "",
        ("an axis is summed or kept by mistake", "the kind is another one (see --kind)"),
        "",
    ),
    "G24": Entry(
        "",
        "",
        ("a division by a variance of 0", "uninitialized memory", "E[x^2] - E[x]^2 below 0"),
        "",
    ),
    "G25": Entry(
        "",
        "",
        ("a fault in compiled code", "a call of exit", "the system ended it to save memory"),
        "",
    ),
    "G26": Entry(
        "",
        "",
        ("it needs other arguments", "it is no normalization layer"),
        "",
    ),
    "G27": Entry(
        "",
        "",
        ("a typing mistake", "the package is not installed", "its own imports fail"),
        "",
    ),
}
