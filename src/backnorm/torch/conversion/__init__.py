"""Convert the batch normalizations of a model to the engine's, and revert them.

`layers` and `known` change the class of a layer. Fusion belongs to the module that calls it:
`sequences` gives a Sequential another forward, `forwards` the methods of any other class. For that
`source` reads and compiles a method, `classes` and `plans` say what its class and its names stand
for, `patterns`, `chains` and `neighbours` find what follows a normalization, and `rewriting` writes
the new body. It calls the functions of `deferral`, which decide at each call what is computed in
one pass, by `activations`, `hooks` and `overwriting`. `outcomes` and `report` say what becomes of
each layer.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, TypeVar

from torch import jit, nn

from backnorm import _check
from backnorm.errors import DtypeError, NothingConvertedWarning
from backnorm.torch.conversion import forwards, generated, layers, sequences
from backnorm.torch.conversion.report import LayerReport, Report
from backnorm.torch.conversion.unfused import unfused

if TYPE_CHECKING:
    from backnorm._types import Through

__all__ = ["LayerReport", "Report", "conversion_report", "convert", "revert", "unfused"]

Model = TypeVar("Model", bound=nn.Module)


def convert(
    model: Model, *, fuse: bool = True, inplace: bool = False, through: Through = "both"
) -> Model:
    """Convert the batch normalizations of a model to the engine's layers.

    Layers, parameters, buffers and hooks stay the same objects: only the class of a layer changes,
    and no layer computes something else than before. So optimizers, checkpoints and names stay
    valid. A model that was converted before is reverted first.

    Parameters
    ----------
    model
        The model; it is changed in place.
    fuse
        Whether the methods of a module may compute a normalization, a sum after it and the
        activation after that in one pass. The layers themselves stay what they are.
    inplace
        Whether y takes the memory of x where that is safe: directly after a convolution or a linear
        layer, with no activation or leaky_relu, and if y is read by one layer that is known to
        leave it unchanged.
    through
        Which statistics the gradient goes through in training: "both"; or "mean", "variance" or
        "none", to see what an implementation that treats the others as constants would learn.

    Returns
    -------
    torch.nn.Module
        The model; `conversion_report` says what was done to each of its layers.

    Raises
    ------
    DtypeError
        If model is not a torch.nn.Module, or is one that TorchScript has compiled.
    UnknownNameError
        If through has another value.

    Warns
    -----
    NothingConvertedWarning
        If the model has no batch normalization.

    Notes
    -----
    Converted are torch.nn.BatchNorm1d, 2d and 3d; SyncBatchNorm in a process without a group; and
    known layers of other libraries, see docs/pytorch.md. Others are left alone and listed with the
    reason.

    Examples
    --------
    >>> from torch import nn
    >>> from backnorm.torch import conversion_report, convert
    >>> model = convert(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()))
    >>> conversion_report(model)
    <Report: 1 of 1 converted, 1 fused, 0 in place, 0 left alone>
    """
    _check_model(model)
    _check.name_of("through", through, _check.THROUGHS)
    revert(model)
    norms = [module for module in model.modules() if layers.is_norm(module)]
    if not norms:
        warnings.warn(NothingConvertedWarning.of(type(model).__name__), stacklevel=2)
    for norm in norms:
        if not layers.why_left_alone(norm):
            layers.to_ours(norm, through)
    if fuse or inplace:
        _fuse(model, acts=fuse, inplace=inplace)
    return model


def _fuse(model: nn.Module, *, acts: bool, inplace: bool) -> None:
    owners = [part for part in model.modules() if any(map(layers.is_fusible, part.children()))]
    by_class = defaultdict(list)
    for module in owners:
        if not layers.is_plain(module):
            by_class[type(module)].append(module)
    found: list[dict[nn.Module, layers.FusionResult]] = []
    for modules in by_class.values():
        found += forwards.fuse(modules, acts=acts, inplace=inplace)
    for module in filter(layers.is_plain, owners):
        found.append(sequences.fuse(module, acts=acts, inplace=inplace))
    results: dict[nn.Module, layers.FusionResult] = {}
    for norm, result in (item for part in found for item in part.items()):
        if norm not in results or result.fused or result.in_place:
            results[norm] = result
            layers.mark(norm, result)


def _check_model(model: Any) -> None:
    if not isinstance(model, nn.Module):
        raise DtypeError.not_a_model(model)
    if isinstance(model, jit.ScriptModule):
        raise DtypeError.script(model)


def conversion_report(model: nn.Module) -> Report:
    """Return what a conversion did to each batch normalization of a model.

    Parameters
    ----------
    model
        The model, or a part of it; it need not be converted.

    Returns
    -------
    Report
        Print it to see a table; a notebook shows one.

    Raises
    ------
    DtypeError
        If model is not a torch.nn.Module, or is one that TorchScript has compiled.

    Examples
    --------
    >>> from torch import nn
    >>> from backnorm.torch import conversion_report, convert
    >>> report = conversion_report(convert(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))))
    >>> report.converted, report.fused, report.entries[0].why
    (1, 0, 'no activation of the engine follows directly, or its output is used elsewhere')
    """
    _check_model(model)
    return Report(model, tuple(_entries(model)))


def _entries(model: nn.Module) -> list[LayerReport]:
    found = []
    for name, norm in model.named_modules():
        if layers.is_norm(norm):
            result = layers.result_of(norm)
            was, now = map(layers.class_name, (layers.stock_class(norm), type(norm)))
            through = str(getattr(norm, "through", "both")) if now.startswith("backnorm.") else ""
            found.append(LayerReport(name, was, now, through, *astuple(result)))
    return found


def revert(model: nn.Module) -> int:
    """Undo `convert`: the layers get the classes that they had, and keep parameters and hooks.

    Parameters
    ----------
    model
        The model; it is changed in place. Layers that were built from backnorm's classes do not
        change.

    Returns
    -------
    int
        How many layers were reverted.

    Raises
    ------
    DtypeError
        If model is not a torch.nn.Module, or is one that TorchScript has compiled.

    Examples
    --------
    >>> from torch import nn
    >>> from backnorm.torch import convert, revert
    >>> model = convert(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU()))
    >>> revert(model)
    1
    """
    _check_model(model)
    modules = list(model.modules())
    for module in modules:
        if generated.kind_of(type(module)) in ("sequence", "forward"):
            generated.become([module], generated.original(type(module)))
    return sum(layers.to_stock(module) for module in modules)
