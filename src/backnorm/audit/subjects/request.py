"""What is asked for where an object becomes subjects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from backnorm.audit.kinds import Kind

__all__ = ["Arguments", "AuditRequest", "Modes"]

Arguments: TypeAlias = "dict[str, Any] | list[Any] | None"
Modes: TypeAlias = Literal["train", "eval", "both", "as it is"]


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """What is asked for.

    Attributes
    ----------
    kind
        The kind of normalization; None for what the object says itself.
    axes
        The order of the axes of x, such as NHWC; empty for what the object says itself.
    arguments
        What to construct a class with, or to call a function with.
    modes
        Whether to audit training, evaluation, both, or whichever the object is set to.
    name
        What the report calls it; empty for the object's own name.
    place
        Which layer of a framework's list is meant; None for all of them.
    device
        Where its arrays are made, such as cuda; empty for where its framework makes them.
    """

    kind: Kind | None = None
    axes: str = ""
    arguments: Arguments = None
    modes: Modes = "as it is"
    name: str = ""
    place: int | None = None
    device: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what `backnorm.host.specs` calls ``asked``."""
        return {
            "kind": self.kind,
            "axes": self.axes,
            "arguments": self.arguments,
            "modes": self.modes,
            "name": self.name,
            "place": self.place,
            "device": self.device,
        }
