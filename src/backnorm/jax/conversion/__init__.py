"""Convert the batch normalizations of a model of flax.nnx or Equinox, and revert them.

`nnx` and `equinox` find the layers of a model and give them other classes; `report` says what
becomes of each layer. Each of the two imports its framework, and is imported for a model of it
only.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import TYPE_CHECKING, Any, Final, TypeVar

from backnorm.errors import DtypeError, NothingConvertedWarning, NotSupportedError
from backnorm.jax.conversion.report import ConversionRow, JaxReport
from backnorm.report.conversions import NOT_CONVERTED

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["ConversionRow", "JaxReport", "conversion_report", "convert", "revert"]

JaxModel = TypeVar("JaxModel")

KNOWN: Final = ("flax.nnx", "equinox")
"""Frameworks whose models can be converted: the last part names the file here."""

IN_METHODS: Final = {
    "flax.linen": ("Module",),
    "haiku": ("Module", "Transformed", "TransformedWithState"),
}
"""Frameworks whose modules build layers in their methods, and the classes of these modules."""


def convert(model: JaxModel) -> JaxModel:
    """Convert the batch normalizations of a model to layers of `backnorm.jax.layers`.

    Parameters, states, names and fields stay as they are, so that checkpoints and optimizers stay
    valid, and no layer computes something else than before.

    Parameters
    ----------
    model
        An nnx.Module, which is changed in place; or an Equinox module or a tree with some, which is
        not changed.

    Returns
    -------
    nnx.Module or tree
        The same nnx.Module; or a new tree, which fits the state of the old one.
        `conversion_report` says what was done to each of its layers.

    Raises
    ------
    NotSupportedError
        A module of flax.linen or Haiku: they build their layers in their methods.
    DtypeError
        Any other object.

    Warns
    -----
    NothingConvertedWarning
        If the model has no batch normalization.

    Examples
    --------
    >>> from flax import nnx
    >>> from backnorm.jax import conversion_report, convert
    >>> model = convert(nnx.Sequential(nnx.BatchNorm(8, rngs=nnx.Rngs(0)), nnx.relu))
    >>> conversion_report(model)
    <JaxReport: 1 of 1 converted, 0 left alone>
    """
    framework = _framework_of(model)
    if not framework.found(model):
        warnings.warn(NothingConvertedWarning.of(type(model).__name__), stacklevel=2)
    converted: JaxModel = framework.with_classes(model, framework.STOCK, framework.OURS)
    return converted


def revert(model: JaxModel) -> JaxModel:
    """Give all layers of `backnorm.jax.layers` in a model the classes of their originals.

    Parameters
    ----------
    model
        As for `convert`.

    Returns
    -------
    nnx.Module or tree
        The same nnx.Module, or a new tree. Also layers that were built from backnorm's classes are
        the originals now.

    Raises
    ------
    NotSupportedError
        A module of flax.linen or Haiku.
    DtypeError
        Any other object.

    Examples
    --------
    >>> from flax import nnx
    >>> from backnorm.jax import conversion_report, convert, revert
    >>> model = convert(nnx.Sequential(nnx.BatchNorm(8, rngs=nnx.Rngs(0)), nnx.relu))
    >>> conversion_report(revert(model)).converted
    0
    """
    framework = _framework_of(model)
    reverted: JaxModel = framework.with_classes(model, framework.OURS, framework.STOCK)
    return reverted


def conversion_report(model: Any) -> JaxReport:
    """Return what a conversion did to each batch normalization of a model.

    Parameters
    ----------
    model
        As for `convert`; it need not be converted.

    Returns
    -------
    JaxReport
        Print it to see a table; a notebook shows one.

    Raises
    ------
    NotSupportedError
        A module of flax.linen or Haiku.
    DtypeError
        Any other object.

    Examples
    --------
    >>> from flax import nnx
    >>> from backnorm.jax import conversion_report
    >>> report = conversion_report(nnx.Sequential(nnx.BatchNorm(8, rngs=nnx.Rngs(0)), nnx.relu))
    >>> report.entries[0].was, report.converted
    ('flax.nnx.BatchNorm', 0)
    """
    framework = _framework_of(model)
    rows = []
    for name, layer in framework.found(model):
        ours, stock = (f"{home}.BatchNorm" for home in (framework.OURS.__module__, framework.HOME))
        cls = type(layer)
        was = stock if cls in {framework.OURS, framework.STOCK} else cls.__qualname__
        if cls is framework.OURS:
            rows.append(ConversionRow(name, was, ours))
        else:
            why = framework.why_left_alone(layer) or NOT_CONVERTED
            rows.append(ConversionRow(name, was, was, why))
    return JaxReport(model, tuple(rows))


def _framework_of(model: Any) -> ModuleType:
    """Return the file here that knows a model; its framework is loaded if there is such a model."""
    for name, classes in IN_METHODS.items():
        framework = sys.modules.get(name)
        if framework and isinstance(model, tuple(getattr(framework, cls) for cls in classes)):
            raise NotSupportedError.layers_in_methods(type(model).__name__, name)
    for name in KNOWN:
        if name in sys.modules:
            file = importlib.import_module(f"{__name__}.{name.rpartition('.')[2]}")
            if file.knows(model):
                return file
    raise DtypeError.not_a_jax_model(model)
