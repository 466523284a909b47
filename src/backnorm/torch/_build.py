"""From a class to a module: which arguments to construct it with."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from backnorm.errors import SubjectError
from backnorm.torch._roles import role_of

if TYPE_CHECKING:
    from torch import nn

    from backnorm.audit.kinds import Kind
    from backnorm.audit.subjects.adapter import Arguments

__all__ = ["GROUPS", "build", "channels_for"]

GROUPS: Final = 2
"""Groups of channels where their number is not given."""


def channels_for(kind: Kind | None) -> int:
    """Return the number of channels where it is not given: few, so that the audit is quick."""
    return 6 if kind in ("layer", "rms") else 4


def build(cls: type[nn.Module], arguments: Arguments, name: str, channels: int) -> nn.Module:
    """Construct a module.

    Parameters
    ----------
    cls
        The class.
    arguments
        A dictionary or a list of arguments; None to guess those that have no default.
    name
        What messages call it.
    channels
        What to guess for the number of channels.

    Returns
    -------
    torch.nn.Module
        The module.

    Raises
    ------
    SubjectError
        If its constructor raises.
    """
    given = _guess(cls, channels) if arguments is None else arguments
    try:
        return cls(**given) if isinstance(given, dict) else cls(*given)
    except Exception as error:
        raise SubjectError.cannot_build(name, repr(given), error) from error


def _guess(cls: type[nn.Module], channels: int) -> list[Any]:
    """Guess what a constructor wants: groups by their name, and channels for anything else."""
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):
        return [channels]
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    wanted = [p for p in parameters if p.kind in named and p.default is p.empty]
    return [GROUPS if role_of(p.name) == "groups" else channels for p in wanted]
