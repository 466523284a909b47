"""Give the batch normalizations of a Keras model the class of the engine, and give it back."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import keras

from backnorm.errors import ConversionError, DtypeError, NothingConvertedWarning
from backnorm.keras.layer import BatchNormalization

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["convert", "left_alone", "revert"]

Stock = keras.layers.BatchNormalization


def convert(model: Any) -> Any:
    """Convert the batch normalizations of a Keras model to the engine's layer.

    Layers, variables, names and graphs stay the same objects: only the class of a layer changes. So
    optimizers, weight files and what `compile` set stay valid; functions that JAX has compiled are
    made anew in the next step.

    Parameters
    ----------
    model
        A functional, sequential or subclassed model, or a layer with layers in it, built or not; it
        is changed in place. Pass the outermost model: another one that contains it keeps what JAX
        has compiled.

    Returns
    -------
    keras.Model
        The model; `left_alone` says which layers keep their class.

    Raises
    ------
    DtypeError
        If model is not a layer of Keras.

    Warns
    -----
    NothingConvertedWarning
        If the model has no batch normalization.

    Examples
    --------
    >>> import keras
    >>> from backnorm.keras import convert
    >>> model = convert(keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()]))
    >>> type(model.layers[0]).__module__
    'backnorm.keras.layer'
    """
    norms = list(_norms(model))
    if not norms:
        warnings.warn(NothingConvertedWarning.of(type(model).__name__), stacklevel=2)
    for norm in norms:
        if not _why_left_alone(norm):
            norm.__class__ = BatchNormalization
    _forget_compiled(model)
    return model


def left_alone(model: Any) -> dict[str, str]:
    """Return the batch normalizations that `convert` does not change, and why.

    Parameters
    ----------
    model
        As in `convert`; it need not be converted.

    Returns
    -------
    dict of str
        Reasons by the paths of the layers.

    Raises
    ------
    DtypeError
        If model is not a layer of Keras.

    Examples
    --------
    >>> import keras
    >>> from backnorm.keras import left_alone
    >>> left_alone(keras.Sequential([keras.layers.BatchNormalization()]))
    {}
    """
    reasons = {norm.path or norm.name: _why_left_alone(norm) for norm in _norms(model)}
    return {path: why for path, why in reasons.items() if why}


def revert(model: Any) -> int:
    """Give the engine's layers in a Keras model the class of Keras, also those built from it.

    Parameters
    ----------
    model
        As in `convert`; it is changed in place.

    Returns
    -------
    int
        How many layers were reverted.

    Raises
    ------
    DtypeError
        If model is not a layer of Keras.
    ConversionError
        If a layer synchronizes, which that of Keras does not; then no layer has changed.

    Examples
    --------
    >>> import keras
    >>> from backnorm.keras import convert, revert
    >>> revert(convert(keras.Sequential([keras.layers.BatchNormalization()])))
    1
    """
    norms = [norm for norm in _norms(model) if type(norm) is BatchNormalization]
    for norm in norms:
        if norm.synchronized or norm.axis_name is not None:
            raise ConversionError.synchronized_in_keras(norm.name)
    for norm in norms:
        norm.__dict__.pop("axis_name", None)
        norm.__class__ = Stock
    _forget_compiled(model)
    return len(norms)


def _norms(model: Any) -> Iterator[Any]:
    if not isinstance(model, keras.layers.Layer):
        raise DtypeError.not_of_keras(model)
    return (layer for layer in model._flatten_layers() if isinstance(layer, Stock))  # noqa: SLF001 - the one list of Keras that has layers in lists and wrappers


def _why_left_alone(norm: Any) -> str:
    """Return why a layer keeps its class; nothing if it does not, or has ours."""
    if type(norm) not in {Stock, BatchNormalization}:
        return f"its class {type(norm).__name__} may compute something else"
    if getattr(norm, "renorm", False):
        return "Keras computes batch renormalization"
    return ""


def _forget_compiled(model: Any) -> None:
    """Have each model in a model trace its layers again."""
    for layer in model._flatten_layers():  # noqa: SLF001 - as above
        if isinstance(layer, keras.Model):
            layer.train_function = layer.test_function = layer.predict_function = None
