"""Put the engine into a model made of stock layers, and take it out again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from backnorm.torch.conversion import blocks, layers, sequences
from backnorm.torch.conversion.report import LayerReport, Report

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from torch import nn

    from backnorm.torch.conversion.layers import FusionResult

__all__ = ["LayerReport", "Report", "convert", "revert"]


def convert(model: nn.Module, *, fuse: bool = True, inplace: bool = False) -> Report:
    """Have the engine normalize in a model, in place of torch.nn.BatchNorm1d, 2d and 3d.

    The layers stay the objects that they are, and so do their parameters, buffers and hooks: only
    their class changes. Optimizers, checkpoints and names stay valid. What was converted before is
    converted anew.

    Parameters
    ----------
    model
        The model; it is changed in place.
    fuse
        Whether to compute activations that follow a normalization in the same pass: ReLU, ReLU6
        and LeakyReLU. They become Identity where they lie next to it in a Sequential. Where
        torch.fx can trace the forward of a module, its normalizations are fused with activations,
        and with a sum before them, as in a residual block.
    inplace
        Whether to let y take the memory of x where that is safe, in a Sequential and in forwards
        that torch.fx can trace: directly after a convolution or a linear layer, with no activation
        or leaky_relu, and where all that reads y is known to leave it as it is.

    Returns
    -------
    Report
        What became of each normalization of the model; it can be printed.

    Notes
    -----
    Layers of other classes, SyncBatchNorm among them, are left alone and listed with the reason.

    Examples
    --------
    >>> from torch import nn
    >>> from backnorm.torch import convert
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    >>> report = convert(model)
    >>> report.converted, report.fused
    (1, 1)
    >>> [type(layer).__name__ for layer in model]
    ['Conv2d', 'BatchNormAct2d', 'Identity']
    """
    revert(model)
    norms = {name: module for name, module in model.named_modules() if layers.is_norm(module)}
    was = {name: layers.class_name(type(norm)) for name, norm in norms.items()}
    outcomes: dict[nn.Module, FusionResult] = {}
    for norm in norms.values():
        why = layers.why_left_alone(norm)
        outcomes[norm] = layers.FusionResult(why=why)
        if not why:
            layers.to_ours(norm)
    if fuse or inplace:
        outcomes |= _fuse(model, acts=fuse, inplace=inplace)
    return Report(model, _entries(norms, was, outcomes))


def _fuse(model: nn.Module, *, acts: bool, inplace: bool) -> dict[nn.Module, FusionResult]:
    shared = _shared(model)
    outcomes: dict[nn.Module, FusionResult] = {}
    for module in list(model.modules()):
        kind = sequences if layers.is_plain(module) else blocks
        outcomes |= kind.fuse(module, shared, acts=acts, inplace=inplace)
    return outcomes


def _shared(model: nn.Module) -> AbstractSet[nn.Module]:
    uses = Counter(
        child for module in model.modules() for child in vars(module)["_modules"].values()
    )
    return {module for module, count in uses.items() if count > 1 and module is not None}


def _entries(
    norms: Mapping[str, nn.Module],
    was: Mapping[str, str],
    outcomes: Mapping[nn.Module, FusionResult],
) -> tuple[LayerReport, ...]:
    entries = []
    for name, norm in norms.items():
        outcome, now = outcomes[norm], layers.class_name(type(norm))
        entries.append(
            LayerReport(name, was[name], now, outcome.fused, outcome.in_place, outcome.why)
        )
    return tuple(entries)


def revert(model: nn.Module) -> int:
    """Undo `convert`: stock layers and activations again, with the same parameters and hooks.

    Parameters
    ----------
    model
        The model; it is changed in place.

    Returns
    -------
    int
        How many layers are stock again. Layers that were built as ours stay what they are.

    Examples
    --------
    >>> from torch import nn
    >>> from backnorm.torch import convert, revert
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU())
    >>> print(repr(convert(model)))
    <Report: 1 of 1 converted, 1 fused, 0 in place, 0 left alone>
    >>> revert(model)
    1
    >>> [type(layer).__name__ for layer in model]
    ['Linear', 'BatchNorm1d', 'ReLU']
    """
    modules = list(model.modules())
    for module in modules:
        blocks.restore(module)
        sequences.restore(module)
    return sum(layers.to_stock(module) for module in modules)
