"""Codes G20 to G29: the subject could not be audited. The error that was raised has the words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FAULTY"]

FAULTY: Final[Mapping[str, Entry]] = {
    "G20": Entry(
        "It raised an error.",
        "a run without an error",
        ("see the message",),
        "Run it on an input of its own first; if it needs other arguments, pass --args.",
    ),
    "G21": Entry(
        "It did not come back in time, and was given up.",
        "an answer within the time of --limit",
        ("an endless loop", "waiting for input, a lock or the network", "a very slow layer"),
        "Look for a loop without an end, or a lock that is never given back; else raise --limit.",
    ),
    "G22": Entry(
        "It gave None for y or dx.",
        "y and dx",
        ("a return statement is missing", "y does not depend on x: all of it is detached"),
        "Return both; if y is detached from x, let the graph reach x.",
    ),
    "G23": Entry(
        "It gave an array of a wrong shape, or no array.",
        "arrays, each of the shape of what it belongs to",
        ("an axis is summed or kept by mistake", "the kind is another one (see --kind)"),
        "Check the axes of its sums; if it is of another kind, pass --kind.",
    ),
    "G24": Entry(
        "It gave NaN or infinity, though its input was finite and its variance not 0.",
        "finite values",
        ("a division by a variance of 0", "uninitialized memory", "E[x^2] - E[x]^2 below 0"),
        "Look for uninitialized memory, and for a root of something negative.",
    ),
    "G25": Entry(
        "Its process ended.",
        "a process that goes on",
        ("a fault in compiled code", "a call of exit", "the system ended it to save memory"),
        "Run it alone under python -X faulthandler.",
    ),
    "G26": Entry(
        "It could not be constructed or called.",
        "a layer, a function, or a pair of forward and backward",
        ("it needs other arguments", "it is no normalization layer"),
        "Pass its arguments with --args, or wrap it (see the audit's page).",
    ),
    "G27": Entry(
        "It could not be imported.",
        "a name that can be imported, or a file",
        ("a typing mistake", "the package is not installed", "its own imports fail"),
        "Check its spelling, and import it by hand to see the error.",
    ),
}
