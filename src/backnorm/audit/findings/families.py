"""The families of findings: their titles, what they are about, and their entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.cut_short import CUT_SHORT
from backnorm.audit.findings.faulty import FAULTY
from backnorm.audit.findings.gradient import GRADIENT
from backnorm.audit.findings.inputs import INPUTS
from backnorm.audit.findings.law import LAW
from backnorm.audit.findings.orders import ORDERS
from backnorm.audit.findings.place import PLACE
from backnorm.audit.findings.precision import PRECISION
from backnorm.audit.findings.ranks import RANKS
from backnorm.audit.findings.repeated import REPEATED
from backnorm.audit.findings.state import STATE
from backnorm.audit.findings.zeros import ZEROS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.audit.findings.entry import Entry

__all__ = ["FAMILIES", "Family"]


@dataclass(frozen=True, slots=True)
class Family:
    """Findings of one kind.

    Attributes
    ----------
    title
        A heading.
    about
        What is measured, and what a finding of this family means for the verdict.
    entries
        The findings, by their codes.
    """

    title: str
    about: str
    entries: Mapping[str, Entry]


FAMILIES: Final = (
    Family(
        "The gradient is wrong",
        "The subject's dx, dgamma and dbeta are compared with the derivative of its forward pass; "
        "dx is also compared with the three paths and with the dx of known faults. These findings "
        "make a subject unsound; in a model, M04 and M05 make a layer unsound.",
        GRADIENT,
    ),
    Family(
        "The subject could not be audited",
        "It failed before its gradient could be judged. In a report, expected, got and remedy come "
        "from the error, and say more than this page.",
        FAULTY,
    ),
    Family(
        "The audit was cut short",
        "A probe lost the process of the subject, which was then started anew for the next probe, "
        "or the audit itself raised an error. The verdict on the gradient stands, and the other "
        "probes ran.",
        CUT_SHORT,
    ),
    Family(
        "Further derivatives are wrong",
        "The framework differentiates the subject's gradient again; the result is compared with "
        "slopes of the gradient. An error in place of a derivative is not a finding.",
        ORDERS,
    ),
    Family(
        "State between calls is wrong",
        "A copy of the layer is called several times, in training and in evaluation, and its state "
        "is read after each call. What a call overwrites and what it changes elsewhere belongs "
        "here too.",
        STATE,
    ),
    Family(
        "The gradient is wrong on some inputs",
        "The gradient is compared with the derivative on special inputs: other shapes, other "
        "memory orders, constant channels, large values.",
        INPUTS,
    ),
    Family(
        "The forward pass in a model file is wrong",
        "A normalization of an ONNX file is run as it stands there, and its law is compared with "
        "what the file says of it; see [ONNX files](onnx.md). The verdict on the gradient does not "
        "change: most files have none.",
        LAW,
    ),
    Family(
        "Precision is lost",
        "The subject is compared with the exact result of its forward law, in the dtype of the "
        "input. These are notes: a subject with such a finding stays sound, and the exit status "
        "does not change.",
        PRECISION,
    ),
    Family(
        "Repeated calls differ",
        "The same call is made again. These are notes: a subject with such a finding stays sound, "
        "and the exit status does not change.",
        REPEATED,
    ),
    Family(
        "A layer's place in a model is wrong",
        "Each layer is judged by what it receives in a forward and a backward pass of a whole "
        "model; see [a whole model](model-audit.md).",
        PLACE,
    ),
    Family(
        "Zeros stop the gradient",
        "In a whole model: gamma is 0, or the gradient that arrives is 0 until parameters behind "
        "the layer are no longer 0. These are notes: the layer is judged in a second call with "
        "other values, and the exit status does not change.",
        ZEROS,
    ),
    Family(
        "Several ranks differ from one process",
        "With `--ranks` each process has a part of a batch, and y, dx and running statistics are "
        "compared with those of one process that has all values; see "
        "[several ranks](audit.md#several-ranks). W07 makes a subject unsound; a subject that does "
        "not synchronize is not judged.",
        RANKS,
    ),
)
"""All families, in the order in which a page shows them."""
