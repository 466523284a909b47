"""Fuses what lies next to each other in a Sequential.

An activation that is fused leaves an Identity behind, so the names and numbers of all else stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from torch import nn

from backnorm.torch.conversion import activations, layers, overwriting

if TYPE_CHECKING:
    from collections.abc import Container

    from backnorm.torch.conversion.activations import Act
    from backnorm.torch.conversion.layers import Outcome

__all__ = ["fuse", "restore"]

WAS: Final = "_backnorm_was"
"""Attribute of an Identity: the activation whose place it takes, in a tuple that hides it."""


def fuse(
    sequence: nn.Sequential, shared: Container[nn.Module], *, acts: bool, inplace: bool
) -> dict[nn.Module, Outcome]:
    """Fuse the activations of a Sequential into its normalizations.

    Parameters
    ----------
    sequence
        A Sequential that calls its children one after the other.
    shared
        Modules that are used in several places.
    acts
        Whether to fuse activations.
    inplace
        Whether to let y take the memory of x where that is safe.

    Returns
    -------
    dict
        What became of each of its normalizations of which more can be said than that it is ours.
    """
    names, children = list(vars(sequence)["_modules"]), list(sequence)
    outcomes: dict[nn.Module, Outcome] = {}
    for place, norm in enumerate(children):
        if not layers.is_converted(norm):
            continue
        if norm in shared:
            outcomes[norm] = layers.Outcome(why="it is used in several places")
            continue
        before = children[place - 1] if place else None
        after = children[place + 1] if place + 1 < len(children) else None
        then = children[place + 2] if place + 2 < len(children) else None
        act = _fusible(after, then) if acts else None
        if layers.has_hooks(norm):
            outcomes[norm] = layers.Outcome(why="it has hooks")
            continue
        if act is not None:
            vars(sequence)["_modules"][names[place + 1]] = _placeholder(children[place + 1])
            after = then
        why = overwriting.why_not(before, act, [after]) if inplace else ""
        in_place = inplace and not why
        if act is not None or in_place:
            layers.to_act(norm, act or activations.IDENTITY, inplace=in_place)
        if acts and act is None and not inplace:
            why = "no activation follows"
        outcomes[norm] = layers.Outcome(act.name if act else "", in_place, why)
    return outcomes


def _fusible(module: nn.Module | None, then: nn.Module | None) -> Act | None:
    """Return an activation that may be fused: fused it keeps its output, so none may write there.

    Stock relu keeps it too, and so do activations that overwrite their input.
    """
    act = layers.activation_of(module)
    if act is None or layers.writes(module) or not layers.writes(then):
        return act
    return act if activations.SPELLINGS[act.name].keeps_output else None


def _placeholder(act: nn.Module) -> nn.Identity:
    identity = nn.Identity()
    identity.training = act.training
    vars(identity)[WAS] = (act,)
    return identity


def restore(sequence: nn.Module) -> None:
    """Put the activations back."""
    for name, child in vars(sequence)["_modules"].items():
        if type(child) is nn.Identity and WAS in vars(child):
            (act,) = vars(child)[WAS]
            act.training = child.training
            vars(sequence)["_modules"][name] = act
