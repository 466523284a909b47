"""The families of findings: what they have in common, and their entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.faulty import FAULTY
from backnorm.audit.findings.gradient import GRADIENT
from backnorm.audit.findings.inputs import INPUTS
from backnorm.audit.findings.orders import ORDERS
from backnorm.audit.findings.place import PLACE
from backnorm.audit.findings.precision import PRECISION
from backnorm.audit.findings.repeated import REPEATED
from backnorm.audit.findings.state import STATE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.audit.findings.entry import Entry

__all__ = ["FAMILIES", "Family"]


@dataclass(frozen=True, slots=True)
class Family:
    """Findings of one sort.

    Attributes
    ----------
    title
        What they are about.
    about
        What is measured, and what a finding of this family means for the rest.
    entries
        The findings, by their codes.
    """

    title: str
    about: str
    entries: Mapping[str, Entry]


FAMILIES: Final = (
    Family(
        "The gradient is wrong",
        "The subject's dx, dgamma and dbeta are compared with the derivative of its own forward "
        "pass, and dx with the three paths and with what known faults make. These findings, and "
        "no others, make a subject unsound.",
        GRADIENT,
    ),
    Family(
        "The subject could not be audited",
        "It failed before there was anything to judge. Expected, got and remedy in a report come "
        "from the error itself, and say more than here.",
        FAULTY,
    ),
    Family(
        "Further derivatives are wrong",
        "The derivatives of the subject's own gradient, by its framework's means, are compared "
        "with slopes of that gradient. A refusal is no fault.",
        ORDERS,
    ),
    Family(
        "State between calls is wrong",
        "A copy of the layer is called several times, in training and in evaluation, and what it "
        "keeps is looked at after each call.",
        STATE,
    ),
    Family(
        "The gradient is wrong on some inputs",
        "Inputs that are usual and yet special: other shapes, other orders in memory, constant "
        "channels, large values.",
        INPUTS,
    ),
    Family(
        "Digits are lost",
        "The subject is compared with the exact result of its own law, in the format it is given. "
        "Remarks: they make no subject unsound, and leave the exit status alone.",
        PRECISION,
    ),
    Family(
        "Bits differ",
        "The same call is made again. Remarks: they make no subject unsound, and leave the exit "
        "status alone.",
        REPEATED,
    ),
    Family(
        "A layer's place in a model is wrong",
        "What each layer receives in a forward and a backward pass of a whole model; see "
        "[a whole model](model-audit.md).",
        PLACE,
    ),
)
"""All families, in the order in which a page shows them."""
