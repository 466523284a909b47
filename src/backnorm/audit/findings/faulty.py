"""Codes G20 to G29: the subject could not be audited. A report has the words of the error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry
from backnorm.errors.causes import REMEDIES

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FAULTY"]

FAULTY: Final[Mapping[str, Entry]] = {
    "G20": Entry(
        "The subject raised an error.",
        "a run without an error",
        (
            "the shape that it was given is not one that it takes",
            "it is a block of layers (see --model)",
            "a mistake at the line that is named",
        ),
        REMEDIES["G20"],
    ),
    "G21": Entry(
        "The subject did not finish in time.",
        "an answer within the time of --limit",
        ("an endless loop", "waiting for input, a lock or the network", "a very slow layer"),
        REMEDIES["G21"],
    ),
    "G22": Entry(
        "The subject returned None in place of y or of a gradient.",
        "y and all gradients",
        ("a return statement is missing", "y does not depend on x: all of it is detached"),
        REMEDIES["G22"],
    ),
    "G23": Entry(
        "The subject returned an array of a wrong shape, or an object that is not an array.",
        "y and dx of the shape of x, and each gradient of the shape of its parameter",
        ("an axis is summed or kept by mistake", "its kind is not the kind assumed (see --kind)"),
        REMEDIES["G23"],
    ),
    "G24": Entry(
        "The subject returned NaN or infinity for a finite input whose variance is not 0.",
        "finite values",
        ("a division by a variance of 0", "uninitialized memory", "E[x^2] - E[x]^2 below 0"),
        REMEDIES["G24"],
    ),
    "G25": Entry(
        "The process of the subject ended.",
        "a process that goes on",
        ("a crash in compiled code", "a call of exit", "the system ended it to save memory"),
        REMEDIES["G25"],
    ),
    "G26": Entry(
        "The subject could not be constructed or called.",
        "a layer, a function, or a pair of forward and backward",
        (
            "it needs other arguments",
            "it is not a normalization layer",
            "the target is a whole file, or a pair without one of its two functions",
        ),
        "Pass its arguments with --args, name a layer, a function or a pair, or wrap it as one.",
    ),
    "G27": Entry(
        "The target could not be imported.",
        "a name that can be imported, or a file",
        ("a typing mistake", "the package is not installed", "an import in the package fails"),
        "Check the spelling, install the package, or import it by hand to see the error.",
    ),
}
