"""Fuses neighbouring layers in a Sequential.

An Identity takes the place of a fused activation, so that the other layers keep their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from torch import nn

from backnorm.torch.conversion import activations, layers, overwriting

if TYPE_CHECKING:
    from collections.abc import Container

    from backnorm.torch.conversion.activations import Act
    from backnorm.torch.conversion.layers import FusionResult

__all__ = ["fuse", "restore"]

WAS: Final = "_backnorm_was"
"""Attribute of an Identity: the activation that it replaces, hidden from torch in a tuple."""


def fuse(
    sequence: nn.Sequential, shared: Container[nn.Module], *, acts: bool, inplace: bool
) -> dict[nn.Module, FusionResult]:
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
        Whether y takes the memory of x where that is safe.

    Returns
    -------
    dict
        The result for each converted normalization among the children.
    """
    names, children = list(vars(sequence)["_modules"]), list(sequence)
    results: dict[nn.Module, FusionResult] = {}
    for position, norm in enumerate(children):
        if not layers.is_converted(norm):
            continue
        # The layer itself will compute the activation, wherever it is called. So it must stand in
        # one place only, unlike in a traced forward, where the call says what is fused.
        if norm in shared:
            results[norm] = layers.FusionResult(why="it is used in several places")
            continue
        if layers.has_hooks(norm):
            results[norm] = layers.FusionResult(why="it has hooks")
            continue
        before = children[position - 1] if position else None
        after, then = [*children[position + 1 : position + 3], None, None][:2]
        act = _fusible(after, then) if acts else None
        if act is not None:
            vars(sequence)["_modules"][names[position + 1]] = _placeholder(children[position + 1])
            after = then
        why = overwriting.why_not(before, act, [after]) if inplace else ""
        in_place = inplace and not why
        if act is not None or in_place:
            layers.to_act(norm, act or activations.IDENTITY, inplace=in_place)
        if acts and act is None and not inplace:
            why = "no activation follows"
        results[norm] = layers.FusionResult(act.name if act else "", in_place, why)
    return results


def _fusible(module: nn.Module | None, then: nn.Module | None) -> Act | None:
    """Return an activation if it may be fused.

    A fused activation keeps its output for backward, so the layer after it must not write there.
    Stock relu and activations in place keep their output as well: fusing them changes nothing.
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
