"""What is asked of an adapter, and what an adapter supplies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.audit.kinds import Kind
    from backnorm.audit.subject import Subject

__all__ = ["Adapter", "Arguments", "Calls", "Request"]

Arguments: TypeAlias = "dict[str, Any] | list[Any] | None"
Calls: TypeAlias = Literal["train", "eval", "both", "as it is"]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of an adapter.

    Attributes
    ----------
    kind
        The kind of normalization; None for what the object says itself.
    arguments
        What to construct a class with, or to call a function with.
    calls
        Whether to audit training, evaluation, both, or whichever the object is set to.
    name
        What the report calls it; empty for the object's own name.
    """

    kind: Kind | None = None
    arguments: Arguments = None
    calls: Calls = "as it is"
    name: str = ""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What a framework's adapter supplies.

    Attributes
    ----------
    framework
        Its import name.
    recognises
        Whether an object belongs to it.
    subjects
        Subjects made of such an object.
    layers
        Subjects for all normalization layers of the framework.
    """

    framework: str
    recognises: Callable[[object], bool]
    subjects: Callable[[Any, Request], tuple[Subject, ...]]
    layers: Callable[[Calls], tuple[Subject, ...]]
