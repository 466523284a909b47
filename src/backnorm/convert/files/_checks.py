"""Check the arrays of every layer that is read, whatever the format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.dialects import row_of
from backnorm.errors import FileError

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Float64Array
    from backnorm.convert.files.record import ModelFile

__all__ = ["below_zero", "check_arrays", "check_variances"]

DTYPES: Final = ("bfloat16", "float16", "float32", "float64")

MXNET_BELOW_ZERO: Final = 1e-3
"""How far below 0, in units of eps, MXNet leaves the variance of a constant channel: it computes
1/inv_std^2 - eps, and the eps inside inv_std is rounded to the dtype of the data, at worst to
float16, whose precision of 11 bits rounds by up to 2^-11 = 4.9e-4."""

MXNET_LARGEST_EPS: Final = 1e-3
"""MXNet's default; users pass smaller values."""


def check_arrays(model: ModelFile) -> None:
    """Check types and lengths of the arrays of all layers.

    Parameters
    ----------
    model
        What a reader made of a file.

    Raises
    ------
    FileError
        Naming the file, the layer and the field.
    """
    for layer in model.layers:
        columns = {column.name: column for column in row_of(layer.dialect).arrays.known}
        c = layer.channels
        for field, array in layer.state.items():
            place = f"layer {layer.name}, {field}"
            if columns[field].shape != "C":  # one value for the whole layer
                if array.size != 1:
                    raise FileError.wrong_length(model.path.name, place, array.shape, 1)
                continue
            if array.dtype.name not in DTYPES:
                raise FileError.unknown_dtype(model.path.name, place, array.dtype, DTYPES)
            if array.shape != (c,):
                raise FileError.wrong_length(model.path.name, place, array.shape, c)


def check_variances(model: ModelFile) -> None:
    """Refuse a stored variance that is negative or NaN.

    Parameters
    ----------
    model
        Whose arrays `check_arrays` has let pass.

    Raises
    ------
    FileError
        Naming the file, the layer, the field and the channel.
    """
    for layer in model.layers:
        for array in row_of(layer.dialect).arrays.known:
            if array.role == "var" and array.name in layer.state:
                place = f"layer {layer.name}, {array.name}"
                _check_variance(model.path.name, place, layer.state[array.name])


def below_zero(values: Float64Array) -> AnyArray:
    """Tell where a variance is below zero by more than MXNet's rounding, or NaN.

    The same limit holds for all files: an array may be in any format by now.
    """
    return ~(values >= -MXNET_BELOW_ZERO * MXNET_LARGEST_EPS)  # "<" would let NaN pass


def _check_variance(file: str, place: str, array: AnyArray) -> None:
    with np.errstate(invalid="ignore"):  # a NaN of the signalling kind
        values = array.astype(np.float64)
    bad = below_zero(values)
    if bad.any():
        channel = int(bad.argmax())
        raise FileError.negative_variance(file, place, float(values[channel]), channel)
