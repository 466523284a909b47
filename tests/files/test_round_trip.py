"""Write any model into any format and read it: everything is equal, or it is refused in a sentence.

Layers of every dialect that a format has; names of every kind of character; every dtype, in both
orders of bytes; arrays without axes, without values, with 64 axes, in both orders of axes.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backnorm.convert import files
from backnorm.convert.files.registry import format_of
from backnorm.dialects import row_of
from backnorm.errors import FileError
from backnorm.errors.printable import printable
from files import models

if TYPE_CHECKING:
    from collections.abc import Mapping

BEYOND_NUMPY = ("bfloat16", "float8_e4m3fn", "float8_e5m2")
"""In a format that does not have them, float32 takes their place."""

DTYPES = (
    *("?", "|u1", "|i1", "<u2", ">u2", "<i4", ">i4", "<u8", ">i8", "<f2", ">f2", "<f4", ">f4"),
    *("<f8", ">f8", "<c8", ">c16", "<U3", "|S2", "<M8[s]", "<m8[ms]"),
    *(BEYOND_NUMPY if importlib.util.find_spec("ml_dtypes") else ()),
)

NAMES = st.one_of(
    st.sampled_from(["w", "a", "a.b", "a/b", "0", "__metadata__", "file", "..", "é/ü", "a\0b", ""]),
    st.text(max_size=12),
    st.text(st.characters(codec=None), max_size=4),  # surrogates too, which are not UTF-8
    st.just("n" * 70_000),
)

SHAPES = st.one_of(
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
    st.integers(5, 64).map(lambda axes: (1,) * axes),
)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """An array of any kind."""
    name, shape = draw(st.sampled_from(DTYPES)), draw(SHAPES)
    if name in BEYOND_NUMPY:
        import ml_dtypes  # noqa: PLC0415 - where it is installed

        array = draw(hnp.arrays(np.int8, shape)).astype(getattr(ml_dtypes, name))
    else:
        array = draw(hnp.arrays(np.dtype(name), shape))
    return np.asfortranarray(array) if draw(st.booleans()) else array


@st.composite
def layers(draw: st.DrawFn, dialects: tuple[str, ...]) -> tuple[str, Mapping[str, np.ndarray]]:
    """A dialect, and a layer's arrays; a variance is not negative."""
    dialect, c = draw(st.sampled_from(dialects)), draw(st.integers(1, 3))
    dtype = draw(st.sampled_from(["<f2", "<f4", ">f4", "<f8"]))
    values = hnp.arrays(np.dtype(dtype), c, elements={"min_value": 0, "max_value": 1000})
    state = {}
    for array in row_of(dialect).arrays.known:
        whole = np.ones((1,) if array.role == "divisor" else (), array.dtype or np.float32)
        state[array.name] = draw(values) if array.shape == "C" else whole
    return dialect, state


@st.composite
def contents(draw: st.DrawFn, format_: str) -> tuple[Any, Any]:
    """The layers and the other arrays of a model, by their names."""
    dialects = format_of(Path(), format_).dialects
    named = NAMES.filter(bool)  # a layer without a name gets a name
    found = draw(st.dictionaries(named, layers(dialects), max_size=3))
    others = draw(st.dictionaries(NAMES, arrays(), min_size=0 if found else 1, max_size=3))
    return found, others


def same(old: np.ndarray, new: np.ndarray, format_: str) -> bool:
    """Whether an array is what was written: bitwise, or the same values where a dtype is not there.

    Caffe has real numbers only, and refuses what float32 cannot hold.
    """
    native = np.asarray(old, old.dtype.newbyteorder("="), order="C")
    if new.dtype == np.float32 and (format_ == "caffemodel" or native.dtype.name in BEYOND_NUMPY):
        native = native.astype(np.float32)
    kinds = native.dtype == new.dtype and native.shape == new.shape
    return kinds and native.tobytes() == new.tobytes()


def refused(model: files.ModelFile) -> str:
    """Write a model, and return the sentence by which it is refused, if it is."""
    try:
        files.write(model.path, model)
    except FileError as error:
        return str(error)
    return ""


@pytest.mark.sampled(2)
@pytest.mark.parametrize("format_", models.NEW)
def test_what_is_written_is_read(format_: str, tmp_path: Path) -> None:
    """Or refused; and the file that was read is written back bitwise identical."""
    models.need_new(format_)
    path = models.new_file(tmp_path, format_)
    read = 0

    @settings(max_examples=100)
    @given(contents(format_))
    def run(content: tuple[Any, Any]) -> None:
        nonlocal read
        named, others = content
        new = tuple(files.NormLayer(name, *layer) for name, layer in named.items())
        words = refused(files.ModelFile(path, format_, new, others))
        assert not words or path.name in words
        assert words == printable(words)
        if words:
            return
        read += 1
        model = files.read(path)
        assert {layer.name: layer.dialect for layer in model.layers} == {
            name: layer[0] for name, layer in named.items()
        }
        for layer in model.layers:
            state = named[layer.name][1]
            assert set(layer.state) == set(state)
            assert all(same(state[field], array, format_) for field, array in layer.state.items())
        assert set(model.others) == set(others)
        assert all(same(others[name], array, format_) for name, array in model.others.items())
        before = path.read_bytes()
        files.write(path, model)
        assert path.read_bytes() == before

    run()
    assert read > 10
