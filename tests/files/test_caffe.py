"""Which Scale layer belongs to which BatchNorm layer, and how Caffe's files differ."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files.caffe._prototxt import parse_prototxt
from backnorm.convert.files.caffe._wire import encode
from backnorm.errors import FileError
from files import models

if TYPE_CHECKING:
    from pathlib import Path

C = 3


def blob(*values: float, legacy: bool = False, loose: bool = False, double: bool = False) -> bytes:
    """A BlobProto: shape as a message or as four numbers, values packed or one by one."""
    code, field = ("d", 8) if double else ("f", 5)
    packed = [struct.pack(f"<{code}", value) for value in values]
    head = b"\x08\x01\x10\x01\x18\x01" + bytes([0x20, len(values)])
    shape = head if legacy else encode(7, encode(1, bytes([len(values)])))
    key = bytes([field << 3 | (1 if double else 5)])
    data = b"".join(key + value for value in packed) if loose else encode(field, b"".join(packed))
    return data + shape


def layer(name: str, kind: str, bottom: str, top: str, *blobs: bytes, extra: bytes = b"") -> bytes:
    """A LayerParameter of a NetParameter."""
    parts = [encode(1, name), encode(2, kind), encode(3, bottom), encode(4, top)]
    return encode(100, b"".join([*parts, *(encode(7, b) for b in blobs), extra]))


def norm(name: str, bottom: str, top: str) -> bytes:
    """A BatchNorm layer with a scale factor of 2."""
    ones = [1.0] * C
    return layer(name, "BatchNorm", bottom, top, blob(*ones), blob(*ones), blob(2.0))


def scale(name: str, bottom: str, top: str, *blobs: bytes, extra: bytes = b"") -> bytes:
    """A Scale layer."""
    given = blobs or (blob(*[3.0] * C), blob(*[4.0] * C))
    return layer(name, "Scale", bottom, top, *given, extra=extra)


def read(folder: Path, *layers: bytes) -> files.ModelFile:
    """Read a file of these layers."""
    (folder / "m.caffemodel").write_bytes(b"".join(layers))
    return files.read(folder / "m.caffemodel")


RELU = layer("relu", "ReLU", "b", "b")
OTHER = layer("pool", "Pooling", "b", "p")

PAIRED = {
    "next": (norm("bn", "a", "b"), scale("s", "b", "y")),
    "in place": (norm("bn", "a", "b"), scale("s", "b", "b"), OTHER),
    "norm in place": (norm("bn", "b", "b"), scale("s", "b", "b")),
    "written anew after": (
        norm("bn", "a", "b"),
        scale("s", "b", "y"),
        layer("x", "Pooling", "a", "b"),
        OTHER,
    ),
    "another in between": (
        norm("bn", "a", "b"),
        layer("x", "Pooling", "a", "p"),
        scale("s", "b", "y"),
    ),
}

ALONE = {
    "relu before": (norm("bn", "a", "b"), RELU, scale("s", "b", "y")),
    "read by another too": (norm("bn", "a", "b"), scale("s", "b", "y"), OTHER),
    "no scale layer": (
        norm("bn", "a", "b"),
        layer("s", "InnerProduct", "b", "y", blob(*[3.0] * C), blob(*[4.0] * C)),
    ),
    "another blob": (norm("bn", "a", "b"), scale("s", "a", "y")),
    "other axis": (
        norm("bn", "a", "b"),
        scale("s", "b", "y", extra=encode(142, encode(1, 2))),
    ),
    "two bottoms": (norm("bn", "a", "b"), scale("s", "b", "y", extra=encode(3, "c"))),
    "last": (norm("bn", "a", "b"),),
}


@pytest.mark.parametrize("name", PAIRED)
def test_a_scale_layer_that_reads_the_norm_alone_is_its_own(name: str, tmp_path: Path) -> None:
    """Its blobs are gamma and beta."""
    state = read(tmp_path, *PAIRED[name]).layers[0].state
    assert state["gamma"].tolist() == [3.0] * C
    assert state["beta"].tolist() == [4.0] * C


@pytest.mark.parametrize("name", ALONE)
def test_any_other_scale_layer_is_left_alone(name: str, tmp_path: Path) -> None:
    """Something else sees the norm's output without gamma, or gamma is not a row of channels."""
    model = read(tmp_path, *ALONE[name])
    assert set(model.layers[0].state) == {"mean", "variance", "scale_factor"}
    assert model.layers[0].options["scale"] is False
    assert all(key.startswith("s.") for key in model.others)


def test_a_scale_layer_without_bias_has_no_beta(tmp_path: Path) -> None:
    """bias_term is false by default."""
    model = read(tmp_path, norm("bn", "a", "b"), scale("s", "b", "y", blob(*[3.0] * C)))
    assert set(model.layers[0].state) == {"mean", "variance", "scale_factor", "gamma"}
    assert model.layers[0].options["bias_term"] is False


@pytest.mark.parametrize("how", ["legacy", "loose", "double"])
def test_older_and_wider_blobs_are_read_and_written(how: str, tmp_path: Path) -> None:
    """Four numbers for a shape, values that are not packed, and float64."""
    blobs = [blob(*values, **{how: True}) for values in ([1.0, 2.0, 3.0], [1.0] * C, [2.0])]
    model = read(tmp_path, layer("bn", "BatchNorm", "a", "b", *blobs))
    state = model.layers[0].state
    assert state["mean"].tolist() == [1.0, 2.0, 3.0]
    assert state["mean"].dtype == (np.float64 if how == "double" else np.float32)
    new = files.NormLayer("bn", "caffe", {**state, "mean": state["mean"] * 2})
    files.write(tmp_path / "n.caffemodel", files.ModelFile(**{**fields(model), "layers": (new,)}))
    back = files.read(tmp_path / "n.caffemodel").layers[0].state
    assert back["mean"].tolist() == [2.0, 4.0, 6.0]


def fields(model: files.ModelFile) -> dict[str, object]:
    """All fields of a model."""
    return {name: getattr(model, name) for name in model.__dataclass_fields__}


def test_v1_layers_are_carried_through(tmp_path: Path) -> None:
    """They can hold no batch norm, and their blobs go by the layer's name."""
    v1 = encode(2, encode(4, "conv1") + b"\x28\x04" + encode(6, blob(1.0, 2.0)))
    model = read(tmp_path, v1, norm("bn", "a", "b"))
    assert model.others["conv1.0"].tolist() == [1.0, 2.0]
    files.write(tmp_path / "n.caffemodel", model)
    assert (tmp_path / "n.caffemodel").read_bytes() == v1 + norm("bn", "a", "b")


def test_the_prototxt_comes_before_the_file_itself(tmp_path: Path) -> None:
    """Its eps, and its wiring: here it says that a ReLU stands in between."""
    (tmp_path / "m.prototxt").write_text(
        'layer { name: "bn" type: "BatchNorm" bottom: "a" top: "b"\n'
        "  batch_norm_param { eps: 1e-2 use_global_stats: true } } # deployed\n"
        'layer { name: "r" type: "ReLU" bottom: "b" top: "b" }\n'
        'layer { name: "s" type: "Scale" bottom: "b" top: "y" }\n'
    )
    model = read(tmp_path, norm("bn", "a", "b"), scale("s", "b", "y"))
    assert model.notes == ()
    assert model.layers[0].options["eps"] == np.float32(1e-2)
    assert model.layers[0].options["use_global_stats"] is True
    assert "gamma" not in model.layers[0].state


def test_without_a_prototxt_it_is_said(tmp_path: Path) -> None:
    """What is in the file itself counts then."""
    option = encode(139, b"\x1d" + struct.pack("<f", 0.5))
    model = read(
        tmp_path,
        layer("bn", "BatchNorm", "a", "b", blob(1.0), blob(1.0), blob(1.0), extra=option),
    )
    assert model.layers[0].options["eps"] == 0.5
    (note,) = model.notes
    assert note == (
        "no m.prototxt beside, and no deploy.prototxt of this model: eps and wiring are those in "
        "m.caffemodel itself"
    )


def test_five_blobs_are_refused(tmp_path: Path) -> None:
    """They are of NVIDIA's Caffe, which means something else by the first three."""
    blobs = [blob(1.0) for _ in range(5)]
    with pytest.raises(FileError, match=r"^m\.caffemodel, layer bn, blobs must be 3: .*, got 5"):
        read(tmp_path, layer("bn", "BatchNorm", "a", "b", *blobs))


TEXTS = {
    r"""name: '\8\101\x42'""": {"name": ["8AB"]},
    "a: 1 b: 'x' \"y\"": {"a": ["1"], "b": ["xy"]},
    "a { b: 1; b: 2 } a < b: 3 >": {"a": [{"b": ["1", "2"]}, {"b": ["3"]}]},
    "a: [1, 2] # no\nb: -1e-3": {"a": ["1", "2"], "b": ["-1e-3"]},
    r"a: '\x41\102\n\''": {"a": ["AB\n'"]},
}


@pytest.mark.parametrize("text", TEXTS)
def test_text_format_is_parsed(text: str) -> None:
    """Both kinds of braces, lists, comments, and strings in pieces with escapes."""
    assert parse_prototxt("m.prototxt", text) == TEXTS[text]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb {", r"^m\.prototxt, line 2 must hold a word here, got the end of the file"),
        ("a: 1 }", r"line 1 must hold a word here, got }"),
        ("a: @", r"line 1 must be text format, got '@'"),
        ("a {" * 70, r"line 1 must be nested at most 64 deep"),
        ("\n\na: }", r"line 3 must hold a string here"),
    ],
)
def test_what_is_no_text_format_is_refused(text: str, message: str) -> None:
    """With the line."""
    with pytest.raises(FileError, match=message):
        parse_prototxt("m.prototxt", text)


def test_the_golden_file_goes_by_its_prototxt() -> None:
    """As Caffe itself saved both."""
    model = models.read("c047m.caffemodel")
    assert model.layers[0].options["moving_average_fraction"] == np.float32(0.9)
    assert model.notes == ()


def test_a_deploy_prototxt_beside_is_found_if_it_is_of_this_model(tmp_path: Path) -> None:
    """One of another model in the folder describes layers that the file lacks."""
    text = (
        'layer {{ name: "{}" type: "BatchNorm" bottom: "a" top: "b" '
        "batch_norm_param {{ eps: 1e-2 }} }}"
    )
    (tmp_path / "deploy.prototxt").write_text(text.format("other"))
    layers = (norm("bn", "a", "b"), norm("aux", "b", "c"))
    model = read(tmp_path, *layers)
    assert [layer.name for layer in model.layers] == ["bn", "aux"]
    assert "no deploy.prototxt of this model" in model.notes[0]
    (tmp_path / "deploy.prototxt.txt").write_text(text.format("bn"))
    model = read(tmp_path, *layers)
    assert [layer.options["eps"] for layer in model.layers] == [np.float32(1e-2)]
    assert model.notes == ("aux is not in deploy.prototxt.txt; it is left as it is",)
