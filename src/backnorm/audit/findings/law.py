"""Codes L01 and on: the forward pass of a normalization in a model file is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LAW"]

LAW: Final[Mapping[str, Entry]] = {
    "L01": Entry(
        "The forward pass follows no law of a normalization.",
        "the mean and the variance of x, or constants",
        (
            "the statistics are rounded to float16 or bfloat16 before they are used",
            "a node between mean and root was changed, left out or put twice",
            "the statistics are those of other axes than the nodes seem to take",
        ),
        "Export the layer alone, and compare its nodes with these.",
    ),
    "L02": Entry(
        "The variance is divided by n - 1.",
        "a variance that is divided by n, as ONNX's operators and the frameworks' layers have it",
        (
            "std() or var() of a framework divides by n - 1 unless told not to",
            "the nodes were written by hand, or by a converter for another divisor",
            "it is meant, and training does the same",
        ),
        "Divide by n (correction=0, unbiased=False, ddof=0), if training does.",
    ),
    "L03": Entry(
        "The forward pass does not compute what the attributes and constants of the node say.",
        "y = gamma*(x - mean)/sqrt(var + eps) + beta, with the node's own eps and constants",
        (
            "the runtime takes another eps, or adds it at another place",
            "eps is rounded to the dtype of x",
            "the runtime has a fault: compare with another one",
        ),
        "Run the node by another runtime, or another version, and report the difference.",
    ),
    "L04": Entry(
        "Where all values that share statistics are the same, y is NaN or infinite.",
        "y = beta, since eps keeps the root from 0",
        (
            "eps is 0, or is missing",
            "eps is rounded to 0: 1e-8 is below the smallest number of float16",
            "an optimizer folded eps away",
        ),
        "Write an eps that the dtype holds: 1e-5, or 1e-3 in float16.",
    ),
    "L05": Entry(
        "eps is not one that such layers have.",
        "the eps that the model was trained with: 1e-3 to 1e-12, alike in all layers of a kind",
        (
            "the exporter or a converter wrote a default in place of the layer's eps",
            "eps was raised for half precision",
            "the layer was replaced after training",
        ),
        "Compare it with eps of the layer that was exported.",
    ),
    "L06": Entry(
        "The running statistics move by another weight than the momentum of the node.",
        "new = momentum*old + (1 - momentum)*statistic",
        (
            "momentum of another framework is the weight of the new value: 0.1 for 0.9",
            "the runtime ignores the attribute",
        ),
        "Write the weight of the old value, and update by the runtime that trains.",
    ),
}
