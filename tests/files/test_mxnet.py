"""MXNet's parameter files of all versions, and what their symbol file says."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.errors import FileError
from files import models

if TYPE_CHECKING:
    from pathlib import Path

V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
VALUES = np.arange(1, 4, dtype="<f4")


def array(version: int) -> bytes:
    """Three float32 values, as each version of MXNet wrote them."""
    heads = {
        0: struct.pack("<II", 1, 3),
        V1: struct.pack("<Iiq", V1, 1, 3),
        V2: struct.pack("<Iiiq", V2, 0, 1, 3),
        V3: struct.pack("<Iiiq", V3, 0, 1, 3),
    }
    return heads[version] + struct.pack("<iii", 1, 0, 0) + VALUES.tobytes()


def parameters(arrays: list[bytes], names: list[str]) -> bytes:
    """A whole file."""
    named = b"".join(struct.pack("<Q", len(name)) + name.encode() for name in names)
    head = struct.pack("<QQQ", 0x112, 0, len(arrays))
    return head + b"".join(arrays) + struct.pack("<Q", len(names)) + named


@pytest.mark.parametrize("version", [0, V1, V2, V3])
def test_every_version_is_read_and_written(version: int, tmp_path: Path) -> None:
    """The layer's arrays and one other."""
    names = ["bn_gamma", "bn_beta", "bn_moving_mean", "bn_moving_var", "fc_weight"]
    path = tmp_path / "m.params"
    path.write_bytes(parameters([array(version)] * 5, names))
    model = files.read(path)
    assert [layer.name for layer in model.layers] == ["bn"]
    assert model.layers[0].state["moving_var"].tolist() == [1.0, 2.0, 3.0]
    assert list(model.others) == ["fc_weight"]
    files.write(tmp_path / "n.params", model)
    assert (tmp_path / "n.params").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ("arg:{}_gamma arg:{}_beta aux:{}_moving_mean aux:{}_moving_var", {}),
        ("{}.gamma {}.beta {}.running_mean {}.running_var", {"eps": 1e-5, "fix_gamma": False}),
        ("{}_gamma {}_beta {}_running_mean {}_running_var", {"eps": 1e-5, "fix_gamma": False}),
    ],
)
def test_every_spelling_is_known(names: str, options: dict[str, object], tmp_path: Path) -> None:
    """Those of Gluon come with Gluon's defaults, and a note that says so."""
    keys = [name.format("net0.bn1") for name in names.split()]
    (tmp_path / "m.params").write_bytes(parameters([array(V2)] * 4, keys))
    model = files.read(tmp_path / "m.params")
    assert model.layers[0].name == "net0.bn1"
    assert model.layers[0].options == options
    assert "no m-symbol.json beside" in model.notes[0]


def test_the_symbol_file_tells_the_options() -> None:
    """Those that are given; the operator's own defaults hold for the rest."""
    first, second = models.read("symbol-0000.params").layers
    assert first.options == {"eps": 2e-5, "momentum": 0.9, "fix_gamma": False}
    assert second.options == {}


def test_a_symbol_file_that_is_named_goes_before_names(tmp_path: Path) -> None:
    """Here the network calls the parameters as it likes."""
    text = (models.GOLDENS / "mxnet_params/symbol-symbol.json").read_text()
    (tmp_path / "net.json").write_text(text.replace("bn1_beta", "offset"))
    data = models.FILES["symbol-0000.params"].path.read_bytes()
    new = data.replace(b"\x0c\0\0\0\0\0\0\0arg:bn1_beta", b"\x0a\0\0\0\0\0\0\0arg:offset")
    (tmp_path / "m.params").write_bytes(new)
    model = files.read(tmp_path / "m.params", net=tmp_path / "net.json")
    want = models.read("symbol-0000.params").layers[1].state["beta"]
    np.testing.assert_array_equal(model.layers[1].state["beta"], want, strict=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"2e-05"', '"much"', r"node bn0, eps must be a number, got much"),
        ('"fix_gamma": "False"', '"fix_gamma": "no"', r"fix_gamma must be True or False, got no"),
        ("[[0, 0, 0], [1, 0, 0]", "[[0, 0, 0], [99, 0, 0]", r"node bn0, inputs must be data and 4"),
        ('"nodes"', '"knots"', r"nodes must be a list of objects"),
        ("{", "", r"cannot be read by json"),
    ],
)
def test_a_wrong_symbol_file_is_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    """With the node and the attribute."""
    text = (models.GOLDENS / "mxnet_params/symbol-symbol.json").read_text()
    assert old in text
    (tmp_path / "net.json").write_text(text.replace(old, new))
    with pytest.raises(FileError, match=r"^net\.json.*" + message):
        files.read(models.FILES["symbol-0000.params"].path, net=tmp_path / "net.json")


def test_a_sparse_array_is_refused(tmp_path: Path) -> None:
    """No parameter of a batch norm is sparse; a model with one is not read at all."""
    head = struct.pack("<Iii", V2, 1, 1)
    (tmp_path / "m.params").write_bytes(parameters([head + bytes(40)], ["a"]))
    with pytest.raises(FileError, match=r"array 0 must be dense, got storage type 1"):
        files.read(tmp_path / "m.params")
