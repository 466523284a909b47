"""Why a subject of the audit failed, and what to do about it, by what is known of the failure."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from backnorm.errors.base import as_tuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "NO_DEVICE",
    "REMEDIES",
    "UNKNOWN_CALL",
    "FailedCall",
    "causes_of_call",
    "causes_of_shape",
    "causes_of_tuple",
    "lacks_device",
    "last_line",
]

REMEDIES: Final[Mapping[str, str]] = {
    "G20": "Run it by hand on the same input.",
    "G21": "Look for a loop that does not end or a lock that is not released, or raise --limit.",
    "G22": "Return it, and check that y is not detached from x.",
    "G23": "Check the axes of its sums; if it normalizes over other axes, pass --kind or --axes.",
    "G24": "Look for uninitialized memory, a division by 0, and the root of a negative number.",
    "G25": "Run it alone under python -X faulthandler.",
    "C03": "Report it with the target and the output of backnorm env.",
}
"""What to do about each finding that has one remedy, whatever the error says."""


class FailedCall(NamedTuple):
    """The call in which a subject raised.

    Attributes
    ----------
    stage
        The pass that raised, "forward" or "backward"; empty if that is not known.
    place
        File and line of the subject's code; empty if they are not known.
    mode
        "training" or "evaluation"; empty for a subject without modes.
    shapes
        Shapes of what it was given, by name.
    refused
        Whether the error is about the shape of x.
    parts
        How many layers with parameters it is made of; 0 if that is not known.
    in_model
        Whether a model called it.
    answered
        Whether it is a program, which answered with an error.
    """

    stage: str = ""
    place: str = ""
    mode: str = ""
    shapes: Mapping[str, Sequence[int]] = {}
    refused: bool = False
    parts: int = 0
    in_model: bool = False
    answered: bool = False

    def raised(self, name: str, got: str) -> str:
        """Return the sentence that says what a subject raised, in which pass, and where."""
        stage = f" in its {self.stage} pass" if self.stage else ""
        where = stage + (f" ({self.place})" if self.place else "")
        return f"{name} raised{where}{':' * bool(where)} {got}."

    @property
    def given(self) -> str:
        """What the subject was called with, as a sentence."""
        if not self.shapes:
            return ""
        listed = [f"{name} of shape {as_tuple(shape)}" for name, shape in self.shapes.items()]
        mode = f" in {self.mode}" if self.mode else ""
        *first, last = listed
        return f"It was called{mode} with {', '.join(first)}{' and ' * bool(first)}{last}."


NOT_COPIED: Final = re.compile("(cannot|can't|can not) pickle|deepcopy protocol")
"""What Python and PyTorch say of an object that cannot be copied."""

BY_IDENTITY: Final = re.compile("KeyError: '?Parameter containing")
"""What Python says of a table that has no such parameter."""

UNFILLED: Final = re.compile(r"missing \d+ required (positional|keyword-only) argument")
"""What Python says of a call that lacks arguments."""

DEVICE: Final = re.compile(r"\b(CUDA|cuda|HIP|MPS|NVIDIA driver)\b|on the same device")
"""What PyTorch says where a GPU is missing, and of a layer on a GPU whose input is not there."""

NO_DEVICE: Final[tuple[tuple[str, ...], str]] = (
    ("it asks for a GPU, and the audit calls it on the CPU",),
    'Leave out .cuda(), .to("cuda") and device="cuda" in the layer: the audit calls it on the CPU.',
)
"""Cause and remedy of a layer that asks for a GPU."""

TOLD: Final = re.compile("panicked at|^Exception in thread |terminate called |^Fatal error")
"""How the message begins that a runtime writes before a backtrace: Rust, Java, C++, OCaml, PHP."""

REFUSED: Final[tuple[tuple[str, ...], str]] = (
    ("it does not take this shape or this mode", "a mistake in it"),
    "If it takes other shapes, correct its answer to hello; if it has one mode, pass --mode.",
)
"""Cause and remedy of a program that answers with an error."""

OTHER_SIZE: Final = re.compile(r"\S+ has \d+ values, (and \S+ has \d+|not shape )")
"""What the helpers for programs say of an array in an answer that has another number of values."""

WRONG_ARRAY: Final[tuple[tuple[str, ...], str]] = (
    ("it puts another array than the one that it names", "its answer to hello has other shapes"),
    "Correct the array, or the shapes in its answer to hello.",
)
"""Cause and remedy of a program whose helper says so."""

UNKNOWN_CALL: Final = FailedCall()
"""A call that nothing is known of."""


def causes_of_call(call: FailedCall, got: str) -> tuple[tuple[str, ...], str]:
    """Return the likely causes of an error in a call, and the remedy; `got` is what it says."""
    if NOT_COPIED.search(got):
        cause = "the audit copies it before each call, and something that it holds cannot be copied"
        return (cause,), (
            "Create what cannot be copied, such as a lock or an open file, in forward or outside "
            "of the layer, or give the layer a __deepcopy__."
        )
    if BY_IDENTITY.search(got):
        cause = "a hook or the layer looks up a parameter in a table, and the audit calls a copy"
        return (cause,), (
            "Look the parameter up by its name, keep the table as an attribute of the layer, which "
            "is copied with it, or audit the layer within its model with --model."
        )
    if call.answered or lacks_device(got):
        of_program = WRONG_ARRAY if OTHER_SIZE.search(got) else REFUSED
        return of_program if call.answered else NO_DEVICE
    if call.stage == "forward":
        return _causes_in_forward(call, got)
    if call.stage == "backward":
        causes = ("a mistake in its backward pass", "a part of it cannot be differentiated")
        return causes, REMEDIES["G20"]
    return (), REMEDIES["G20"]


def lacks_device(got: str) -> bool:
    """Whether an error is about a GPU that is not there, or that the input is not on."""
    return DEVICE.search(got) is not None


def _causes_in_forward(call: FailedCall, got: str) -> tuple[tuple[str, ...], str]:
    """Return the same of an error in the forward pass."""
    if call.in_model:
        causes = ("x is not what the layer takes: see its shape", "a mistake in its forward pass")
        return causes, (
            "Correct what the model does before this layer, or pass an input with more samples or "
            "of another shape, for example --input 8,3,64,64."
        )
    if UNFILLED.search(got):
        return ("its forward pass needs more arguments than x, gamma and beta",), (
            "Wrap it in a layer or a function that fills these arguments: --args reaches the "
            "constructor of a layer only. Within a model that calls it, pass --model."
        )
    if call.refused and call.parts > 1:
        cause = f"it is a block of {call.parts} layers, whose input is not that of a normalization"
        return (cause, "it needs other arguments"), (
            "Pass --model to audit each of its layers in its place, with --input for the shape of "
            "x, such as --input 8,3,64,64; for other arguments pass --args."
        )
    if call.refused:
        return (
            "the order of its axes is not the one assumed",
            "its kind is not the one assumed",
            "it was constructed for another size",
        ), (
            "Pass the order of its axes, such as --axes NHWC, its kind, such as --kind layer, or "
            "other arguments with --args; for a whole block or model pass --model."
        )
    causes = ("a mistake in its forward pass", "it needs other arguments")
    return causes, f"{REMEDIES['G20']} If it needs other arguments, pass --args."


def causes_of_shape(what: str, got: Sequence[int], want: Sequence[int]) -> tuple[str, ...]:
    """Return the likely causes of an array that has a wrong shape."""
    if math.prod(got) == math.prod(want):
        order = "its axes are in another order" if len(got) == len(want) else ""
        return (order or "it has axes of length 1 too many or too few (keepdims)",)
    if what in ("y", "dx") and len(got) == len(want) and got[1:] == want[1:]:
        return ("its number of samples is fixed, or that of another call", "it is sliced")
    if what in ("y", "dx"):
        few = "an axis is summed or indexed away"
        cause = few if len(got) < len(want) else "it is sliced, or broadcast against another array"
        return cause, "its kind or its axes are not those assumed (see --kind and --axes)"
    if len(got) < len(want):
        return ("it is summed over all axes, the axis of the parameter among them",)
    if len(got) > len(want):
        return ("it is not summed over all axes along which the parameter is shared",)
    return (
        "it is summed over other axes than those along which the parameter is shared",
        "its kind or its axes are not those assumed (see --kind and --axes)",
    )


def causes_of_tuple(what: str, sort: str) -> tuple[tuple[str, ...], str]:
    """Return the likely causes of a return value of a pair that is not what it must be."""
    function = "forward" if "cache" in what else "backward"
    causes = {
        "array": f"{function} returns one array alone",
        "tuple": f"the return statement of {function} has too few or too many values",
    }
    advice = {
        "forward": "Return y and the cache, which backward gets; without a cache return (y, None).",
        "backward": "Return dx, dgamma and dbeta; for a parameter that it lacks return None.",
    }
    return (causes.get(sort, f"{function} returns something else"),), advice[function]


def last_line(words: str) -> str:
    """Return the lines of an output that say what was raised; other words as they are."""
    lines = words.strip().splitlines()
    if "Traceback (most recent call last)" in words:
        return lines[-1]
    told = [place for place, line in enumerate(lines) if TOLD.search(line)]
    return " ".join(lines[told[-1] :][:2]) if told else words
