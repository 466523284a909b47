"""Norms of Caffe networks are folded: the file, the prototxt, and what a network computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files.caffe._blob import blob_message
from backnorm.convert.files.caffe._wire import encode, fixed32
from backnorm.errors import FileError
from files.caffe_net import computed

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(16)
C = 4


def values(*shape: int) -> np.ndarray:
    """Random weights."""
    return RNG.normal(size=shape).astype(np.float32)


def layer(
    kind: str, name: str, bottom: str, top: str, *blobs: np.ndarray, extra: str = ""
) -> tuple[str, bytes]:
    """A layer in both descriptions; extra is `part.option=value` of the prototxt."""
    options = "".join(TEXTS[word] for word in extra.split())
    head = f'layer {{\n  name: "{name}"  # {kind}\n  type: "{kind}"\n'
    text = f'{head}  bottom: "{bottom}"\n  top: "{top}"\n{options}}}\n'
    parts = [encode(1, name), encode(2, kind), encode(3, bottom), encode(4, top)]
    parts += [encode(7, blob_message("", "", blob)) for blob in blobs]
    parts += [WIRES[word] for word in extra.split()]
    return text, encode(100, b"".join(parts))


EPS = fixed32(3, np.float32(0.25).tobytes())

TEXTS = {
    "group2": "  convolution_param { num_output: 4 group: 2 }\n",
    "group6": "  convolution_param { group: 6 }\n",
    "nobias": "  convolution_param { bias_term: false num_output: 4 }\n",
    "densenobias": "  inner_product_param { bias_term: false }\n",
    "transpose": "  inner_product_param { transpose: true }\n",
    "axis2": "  inner_product_param { axis: 2 }\n",
    "eps": "  batch_norm_param { eps: 0.25 }\n",
    "batch": "  batch_norm_param { use_global_stats: false }\n",
    "share": '  param { name: "w" }\n',
}
WIRES = {
    "group2": encode(106, encode(1, 4) + encode(5, 2)),
    "group6": encode(106, encode(5, 6)),
    "nobias": encode(106, encode(2, 0) + encode(1, 4)),
    "densenobias": encode(117, encode(2, 0)),
    "transpose": encode(117, encode(6, 1)),
    "axis2": encode(117, encode(5, 2)),
    "eps": encode(139, EPS),
    "batch": encode(139, encode(1, 0)),
    "share": encode(6, encode(1, "w")),
}


def conv(
    name: str, bottom: str, top: str, *blobs: np.ndarray, extra: str = ""
) -> tuple[str, bytes]:
    """A convolution from 6 to 4 channels."""
    return layer("Convolution", name, bottom, top, *(blobs or (values(C, 6, 3, 3),)), extra=extra)


def norm(name: str, bottom: str, top: str, c: int = C, extra: str = "eps") -> tuple[str, bytes]:
    """A BatchNorm layer."""
    var = RNG.uniform(1.0, 4.0, c).astype(np.float32)
    factor = np.float32([2.0])
    return layer("BatchNorm", name, bottom, top, values(c), var, factor, extra=extra)


def scale(name: str, bottom: str, top: str, c: int = C) -> tuple[str, bytes]:
    """A Scale layer with a bias."""
    return layer("Scale", name, bottom, top, values(c), values(c))


def relu(bottom: str, top: str) -> tuple[str, bytes]:
    """An activation."""
    return layer("ReLU", f"relu_{bottom}", bottom, top)


def saved(folder: Path, layers: list[tuple[str, bytes]], *, text: bool) -> Path:
    """Save a network, with its prototxt or without."""
    path = folder / "a.caffemodel"
    path.write_bytes(encode(1, "net") + b"".join(wire for _, wire in layers))
    if text:
        path.with_suffix(".prototxt").write_text(
            "# a network\n" + "".join(text for text, _ in layers)
        )
    return path


def folded(path: Path) -> tuple[Path, tuple[files.LayerFold, ...]]:
    """Fold a file, and write the result beside it."""
    target = path.with_name("b.caffemodel")
    model, folds = files.fold_model(files.read(path), target)
    files.write(target, model)
    return target, folds


IMAGE = (2, 6, 5, 5)

FOLDABLE = {
    "in place": (
        [conv("c", "x", "z"), norm("n", "z", "z"), scale("s", "z", "z"), relu("z", "y")],
        IMAGE,
    ),
    "new blobs": (
        [conv("c", "x", "z"), norm("n", "z", "a"), scale("s", "a", "b"), relu("b", "y")],
        IMAGE,
    ),
    "no scale": ([conv("c", "x", "z", extra="nobias"), norm("n", "z", "a"), relu("a", "y")], IMAGE),
    "bias": ([conv("c", "x", "z", values(C, 6, 3, 3), values(C)), norm("n", "z", "y")], IMAGE),
    "groups": (
        [conv("c", "x", "z", values(C, 3, 3, 3), extra="group2"), norm("n", "z", "y")],
        IMAGE,
    ),
    "depthwise": (
        [conv("c", "x", "z", values(6, 1, 3, 3), extra="group6"), norm("n", "z", "y", 6)],
        IMAGE,
    ),
    "deconvolution": (
        [
            layer("Deconvolution", "c", "x", "z", values(6, 2, 3, 3), values(C), extra="group2"),
            norm("n", "z", "y"),
        ],
        IMAGE,
    ),
    "dense": (
        [
            layer("InnerProduct", "c", "x", "z", values(C, 6), extra="densenobias"),
            norm("n", "z", "y"),
        ],
        (3, 6),
    ),
    "dense, old": (
        [
            layer("InnerProduct", "c", "x", "z", values(1, 1, C, 6), values(1, 1, 1, C)),
            norm("n", "z", "y"),
        ],
        (3, 6),
    ),
    "dense, transposed": (
        [
            layer("InnerProduct", "c", "x", "z", values(6, C), extra="transpose"),
            norm("n", "z", "y"),
        ],
        (3, 6),
    ),
    "two": (
        [
            conv("c", "x", "z"),
            norm("n", "z", "a"),
            scale("s", "a", "b"),
            norm("n2", "b", "e"),
            relu("e", "y"),
        ],
        IMAGE,
    ),
    "another in between": (
        [conv("c", "x", "z"), layer("ReLU", "r", "x", "q"), norm("n", "z", "y")],
        IMAGE,
    ),
}


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("name", FOLDABLE)
def test_a_folded_network_computes_the_same(name: str, text: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """The norm is gone from the file and from the prototxt, and the layer before has a bias."""
    layers, shape = FOLDABLE[name]
    path = saved(tmp_path, layers, text=text)
    after, folds = folded(path)
    assert {fold.into for fold in folds} == {"c"}
    x = np.random.default_rng(0).normal(size=shape)
    y, wanted = computed(after, x)["y"], computed(path, x)["y"]
    assert np.abs(y - wanted).max() < 2.0**-22 * np.abs(wanted).max()
    model = files.read(after)
    assert model.layers == ()
    assert model.others["c.1"].size == (6 if name == "depthwise" else C)
    assert after.with_suffix(".prototxt").exists() == text
    if text:
        left = after.with_suffix(".prototxt").read_text()
        assert left.startswith('# a network\nlayer {\n  name: "c"  # ')
        assert "BatchNorm" not in left
        assert "false" not in left


def test_a_layer_without_bias_gets_one(tmp_path: Path) -> None:
    """The file says no longer that it has none: Caffe would not take the blob."""
    target, _ = folded(saved(tmp_path, FOLDABLE["no scale"][0], text=False))
    assert WIRES["nobias"] not in target.read_bytes()
    assert encode(106, encode(1, 4)) in target.read_bytes()


def test_all_other_layers_stay_as_they_are(tmp_path: Path) -> None:
    """To the byte, in the file and in the prototxt, with fields that nobody knows."""
    other = (
        'layer { name: "o" top: "o" } # other\n',
        encode(100, encode(1, "o") + encode(4, "o") + encode(999, "?")),
    )
    before, after = conv("c", "x", "z"), relu("z", "y")
    path = saved(tmp_path, [other, before, norm("n", "z", "z"), after], text=True)
    target, _ = folded(path)
    assert target.read_bytes().startswith(encode(1, "net") + other[1])
    assert target.read_bytes().endswith(after[1])
    text = "# a network\n" + other[0] + before[0] + after[0]
    assert target.with_suffix(".prototxt").read_text() == text


LEFT = {
    "an activation": (
        [conv("c", "x", "z"), relu("z", "z"), norm("n", "z", "y")],
        "ReLU stands before it",
    ),
    "the input": (
        [norm("n", "x", "a", 6), conv("c", "a", "y")],
        "it reads an input of the network",
    ),
    "another reader": (
        [conv("c", "x", "z"), norm("n", "z", "y"), relu("z", "q")],
        "the output of c is read by relu_z too",
    ),
    "shared": (
        [
            conv("c", "x", "z", extra="share"),
            conv("c2", "x", "q", extra="share"),
            norm("n", "z", "y"),
        ],
        "the weights of c are shared with c2",
    ),
    "by the batch": (
        [conv("c", "x", "z"), norm("n", "z", "y", extra="batch")],
        "use_global_stats is false: it normalizes by the batch",
    ),
    "another axis": (
        [layer("InnerProduct", "c", "x", "z", values(C, 5), extra="axis2"), norm("n", "z", "y")],
        "c are not known to lie on axis 1",
    ),
    "a bias of another size": (
        [conv("c", "x", "z", values(C, 6, 3, 3), values(5)), norm("n", "z", "y")],
        "c have shape (5,), which is not for 4 channels",
    ),
    "no weights": (
        [layer("Convolution", "c", "x", "z"), norm("n", "z", "y")],
        "the weights of c are not in the file",
    ),
    "other channels": (
        [conv("c", "x", "z", values(5, 6, 3, 3)), norm("n", "z", "y")],
        r"c have shape (5, 6, 3, 3), which is not for 4 channels",
    ),
    "a name in use": (
        [
            layer("ReLU", "r", "x", "y"),
            conv("c", "x", "z"),
            layer("ReLU", "r2", "y", "q"),
            norm("n", "z", "y"),
        ],
        "its output y would be written before r2",
    ),
    "too large": (
        [
            conv("c", "x", "z"),
            norm("n", "z", "a"),
            layer("Scale", "s", "a", "y", np.full(C, 3e38, np.float32)),
        ],
        "the folded weights of c would not be finite in float32",
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_cannot_be_folded_is_left_and_named(name: str, tmp_path: Path) -> None:
    """Another norm is folded all the same."""
    layers, why = LEFT[name]
    more = [conv("c9", "x9", "z9"), norm("n9", "z9", "z9")]
    target, folds = folded(saved(tmp_path, [*layers, *more], text=True))
    assert [fold.into for fold in folds] == ["", "c9"]
    assert why in folds[0].why_left
    assert [layer.name for layer in files.read(target).layers] == ["n"]


def test_a_norm_without_an_output_is_left(tmp_path: Path) -> None:
    """In a damaged file, here one whose output is another field."""
    damaged = norm("n", "z", "y")[1].replace(encode(4, "y"), encode(9, "y"))
    path = saved(tmp_path, [conv("c", "x", "z"), ("", damaged)], text=False)
    with pytest.raises(FileError, match=r"n: it has no output that anything could read\."):
        files.fold_model(files.read(path), tmp_path / "b.caffemodel")


def test_none_that_can_be_folded_is_an_error(tmp_path: Path) -> None:
    """With the names and the reasons."""
    path = saved(tmp_path, LEFT["an activation"][0], text=True)
    with pytest.raises(FileError, match=r"^The norm of a\.caffemodel .* n: ReLU stands"):
        files.fold_model(files.read(path), tmp_path / "b.caffemodel")


def test_a_description_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """It could not be written as it was."""
    path = saved(tmp_path, FOLDABLE["bias"][0], text=True)
    with path.with_suffix(".prototxt").open("ab") as file:
        file.write(b"# \xff\n")
    with pytest.raises(FileError, match=r"^a\.prototxt must be UTF-8 text"):
        files.fold_model(files.read(path), tmp_path / "b.caffemodel")


def test_a_model_that_holds_layers_alone_is_refused(tmp_path: Path) -> None:
    """It was not read from a network."""
    one = np.ones(1, np.float32)
    state = {"mean": one, "variance": one, "scale_factor": one}
    model = files.ModelFile(
        tmp_path / "a.caffemodel", "caffemodel", (files.NormLayer("n", "caffe", state),)
    )
    with pytest.raises(FileError, match=r"^a\.caffemodel has no network"):
        files.fold_model(model, tmp_path / "b.caffemodel")
