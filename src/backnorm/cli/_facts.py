"""The answer of a program to hello: from its words to the facts that a subject is made of."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from backnorm.audit.kinds import KINDS
from backnorm.audit.subjects.axes import read_axes
from backnorm.errors import ProgramError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm._types import AnyArray, Shape
    from backnorm.audit.subjects.request import AuditRequest

__all__ = ["Facts", "read_facts", "refuse_other_words"]

FULL: Final = ("float32", "float64")
HALF: Final = ("float16", "bfloat16")

KNOWN: Final = re.compile(
    "protocol|kind|sample|params|dtypes|gamma|beta|groups|name|version|can", re.ASCII
)
"""Words of the answer to hello that mean something."""

SHAPE: Final = re.compile(r"[1-9]\d{0,5}(,[1-9]\d{0,5})*")
LARGEST: Final = 4096
"""Values of a sample: every one of them is moved by itself, several times."""

LONGEST_NAME: Final = 200
"""Characters of a name: it stands in every table."""

LAST: Final = "N...C"
"""The order of axes of a program whose channels are the last axis."""

STATE: Final = "state."
"""How the name of an array of the state begins."""


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What a program says of itself.

    Attributes
    ----------
    spec
        What it says, as `backnorm.host.specs` does, without a mode and without a runner.
    state
        The arrays of the state that every audit starts from, by their names.
    half
        The half precisions that it takes.
    higher
        Whether it offers further derivatives.
    unknown
        Words that mean nothing here.
    last
        Whether the channels are taken to be the last axis of x, since params is that of sample.
    """

    spec: Mapping[str, Any]
    state: Mapping[str, AnyArray]
    half: tuple[str, ...]
    higher: bool
    unknown: tuple[str, ...]
    last: bool

    @property
    def can(self) -> list[str]:
        """What it offers beyond the two passes."""
        return [*["higher"] * self.higher, *["state"] * bool(self.state), *self.half]


def read_facts(target: str, answer: Mapping[str, Any], asked: AuditRequest) -> Facts:
    """Read the answer of a program to hello.

    Parameters
    ----------
    target
        The program, as the user wrote it.
    answer
        Its words and arrays.
    asked
        The kind and the axes that the user named, which go before what the program says.

    Returns
    -------
    Facts
        What it says.

    Raises
    ------
    ProgramError
        If a fact is missing or impossible.
    """
    words: Mapping[str, str | None] = answer["words"]
    if words.get("protocol", "1") != "1":
        raise ProgramError.fact(target, "protocol=1", f"protocol={words['protocol']}")
    kind = asked.kind or words.get("kind") or "none"
    if kind not in KINDS:
        raise ProgramError.fact(target, f"kind={'|'.join(KINDS)}", f"kind={kind}")
    sample = _shape(target, words, "sample")
    stated = _shape(target, words, "params") if "params" in words else ()
    rows = kind in ("layer", "rms")
    last = not (rows or asked.axes) and stated == sample[-1:] != sample[:1]
    axes = LAST if last else asked.axes
    own = sample if rows else sample[_channels(sample, axes) :][:1]
    params = stated or own
    dtypes = tuple(filter(None, (words.get("dtypes") or "").split(",")))
    state = {
        name[len(STATE) :]: array
        for name, array in answer["arrays"].items()
        if name.startswith(STATE)
    }
    spec = {
        "name": _text(words.get("name") or "")[:LONGEST_NAME] or target,
        "kind": kind,
        "sample_shape": sample if rows else _with_channels_first(sample, axes),
        "parameter_shape": params,
        "stored": params,
        "has_gamma": _flag(target, words, "gamma", default=True),
        "has_beta": _flag(target, words, "beta", default=kind != "rms"),
        "groups": _groups(target, words, kind, params),
        "optional": False,
        "version": words.get("version") or "",
        "dtypes": _full(target, dtypes),
        "axes": axes,
        "given": True,
        "stated_in": "its answer to hello",
        "asked": bool(asked.kind or asked.axes),
    }
    _refuse_other_params(target, kind, own, params)
    unknown = [word if value is None else f"{word}={value}" for word, value in words.items()]
    unknown = [word for word in unknown if not KNOWN.fullmatch(word.partition("=")[0])]
    unknown += [name for name in answer["arrays"] if not name.startswith(STATE)]
    half = tuple(dtype for dtype in HALF if dtype in dtypes)
    higher = "higher" in (words.get("can") or "").split(",")
    return Facts(spec, state, half, higher, tuple(unknown), last)


def refuse_other_words(
    target: str, words: Mapping[str, str | None], before: Mapping[str, str | None]
) -> None:
    """Raise ProgramError if a program says something else of itself than in the start before."""
    changed = [word for word in {**before, **words} if before.get(word) != words.get(word)]
    if changed:
        got, want = (_fact(changed[0], said) for said in (words, before))
        raise ProgramError.other_facts(target, got, want)


def _fact(word: str, words: Mapping[str, str | None]) -> str:
    if word not in words:
        return f"no {word}"
    return word if words[word] is None else f"{word}={words[word]}"


def _text(word: str) -> str:
    """Return a word as UTF-8; each byte of a line is a character here."""
    return word.encode("latin-1").decode(errors="replace")


def _shape(target: str, words: Mapping[str, str | None], name: str) -> Shape:
    text = words.get(name) or ""
    got = f"{name}={text}" if text else f"no {name}"
    if SHAPE.fullmatch(text) is None:
        raise ProgramError.fact(target, f"{name}=, a shape such as 3,2,2", got)
    shape = tuple(map(int, text.split(",")))
    if math.prod(shape) > LARGEST:
        raise ProgramError.fact(target, f"{name}= of at most {LARGEST} values", got)
    return shape


def _flag(target: str, words: Mapping[str, str | None], name: str, *, default: bool) -> bool:
    value = words.get(name, "1" if default else "0")
    if value not in ("0", "1"):
        raise ProgramError.fact(target, f"{name}=0 or {name}=1", f"{name}={value}")
    return value == "1"


def _full(target: str, dtypes: tuple[str, ...]) -> list[str]:
    """Return the dtypes that the gradient is judged in, in the order of the audit."""
    strange = [dtype for dtype in dtypes if dtype not in (*FULL, *HALF)]
    full: list[str] = [dtype for dtype in FULL if dtype in dtypes]
    if strange or not full:
        got = f"dtypes={','.join(dtypes)}" if dtypes else "no dtypes"
        raise ProgramError.fact(target, "dtypes= with float32 or float64", got)
    return full


def _groups(target: str, words: Mapping[str, str | None], kind: str, params: Shape) -> int:
    text = words.get("groups", "0") or ""
    groups = int(text) if text.isdigit() else -1
    if groups < 0 or (groups and params[0] % groups):
        need = f"groups= with a number that divides {params[0]}"
        raise ProgramError.fact(target, need, f"groups={text}")
    return groups if kind == "group" else 0


def _refuse_other_params(target: str, kind: str, own: Shape, params: Shape) -> None:
    """Raise ProgramError if gamma and beta do not fit the sample."""
    fits = own[-len(params) :] == params if kind in ("layer", "rms") else own == params
    if not fits:
        listed = ",".join(map(str, own))
        where = "the last axes of sample"
        if kind not in ("layer", "rms"):
            where = "the channels of sample: its first or last axis, or as --axes says"
        got = f"params={','.join(map(str, params))}"
        raise ProgramError.fact(target, f"params={listed}, {where}", got)


def _channels(sample: Shape, axes: str) -> int:
    """Return the place of the channels in the sample of a program that normalizes each channel."""
    if not axes:
        return 0
    place = read_axes(axes).channels
    return len(sample) - 1 if place < 0 else place - 1


def _with_channels_first(sample: Shape, axes: str) -> Shape:
    """Return the sample as the audit has it."""
    place = _channels(sample, axes)
    return (*sample[place : place + 1], *sample[:place], *sample[place + 1 :])
