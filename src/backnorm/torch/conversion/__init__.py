"""Convert the batch normalizations of a model to the engine's, and revert them."""

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
    """Convert every torch.nn.BatchNorm1d, 2d and 3d of a model to the engine's layer.

    Layers, parameters, buffers and hooks stay the same objects: only the class of a layer changes.
    So optimizers, checkpoints and names stay valid. A model that was converted before is reverted
    first.

    Parameters
    ----------
    model
        The model; it is changed in place.
    fuse
        Whether to compute an activation in the same pass as the normalization before it: ReLU,
        ReLU6 and LeakyReLU. In a Sequential the activation becomes an Identity. In a module whose
        forward torch.fx can trace, a sum between the two is fused as well, as in a residual block.
    inplace
        Whether y takes the memory of x where that is safe, in a Sequential and in forwards that
        torch.fx can trace: directly after a convolution or a linear layer, with no activation or
        leaky_relu, and if every reader of y is known to leave it unchanged.

    Returns
    -------
    Report
        What was done to each normalization of the model; print it to see a table.

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
    results: dict[nn.Module, FusionResult] = {}
    for norm in norms.values():
        why = layers.why_left_alone(norm)
        results[norm] = layers.FusionResult(why=why)
        if not why:
            layers.to_ours(norm)
    if fuse or inplace:
        results |= _fuse(model, acts=fuse, inplace=inplace)
    return Report(model, _entries(norms, was, results))


def _fuse(model: nn.Module, *, acts: bool, inplace: bool) -> dict[nn.Module, FusionResult]:
    shared = _shared(model)
    results: dict[nn.Module, FusionResult] = {}
    for module in list(model.modules()):
        where = sequences if layers.is_plain(module) else blocks
        results |= where.fuse(module, shared, acts=acts, inplace=inplace)
    return results


def _shared(model: nn.Module) -> AbstractSet[nn.Module]:
    """Return the modules that several modules own, or one module under several names."""
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
    """Undo `convert`: restore the stock layers and activations, with their parameters and hooks.

    Parameters
    ----------
    model
        The model; it is changed in place.

    Returns
    -------
    int
        How many layers were reverted. Layers that were built from backnorm's classes do not change.

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
