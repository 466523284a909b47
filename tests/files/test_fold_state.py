"""Norms of state_dicts are folded for a network without them: which layer each norm follows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.errors import ConversionError, FileError

if TYPE_CHECKING:
    from pathlib import Path

C = 3


Arrays = dict[str, np.ndarray]


def conv(name: str, shape: tuple[int, ...] = (C, 2, 1, 1), *, bias: bool = False) -> Arrays:
    """A convolution whose kernel is 1."""
    arrays = {f"{name}.weight": np.ones(shape, np.float32)}
    return arrays | ({f"{name}.bias": np.ones(shape[0], np.float32)} if bias else {})


def norm(name: str, gamma: float, c: int = C) -> Arrays:
    """A norm that multiplies by gamma and adds 1 to that."""
    ones = np.ones(c, np.float32)
    values = {"weight": gamma, "bias": 1.0, "running_mean": 0.0, "running_var": 1.0}
    return {f"{name}.{field}": value * ones for field, value in values.items()}


def state(path: Path, *parts: Arrays, ordered: bool = True) -> files.ModelFile:
    """A state_dict, read with eps 0; ordered as .pt files are."""
    arrays = {name: array for part in parts for name, array in part.items()}
    np.savez(path, **arrays)
    model = files.read(path)
    model = files.with_options(model, [("*", "eps", 0.0)]) if model.layers else model
    return replace(model, order=tuple(arrays)) if ordered else model


def folded(model: files.ModelFile, like: files.ModelFile) -> files.ModelFile:
    """Fold for a target."""
    return files.fold_model(model, model.path.with_name("b.npz"), like=like)[0]


NAMES = {
    "conv1 and bn1": [("conv1", "bn1"), ("conv2", "bn2")],
    "conv and bn": [("a.conv", "a.bn"), ("b.conv", "b.bn")],
    "words": [("a.conv_dw", "a.norm_dw"), ("a.Linear2", "a.BatchNorm2")],
    "a Sequential": [("f.0", "f.1"), ("f.3", "f.4")],
}


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_names_tell_which_layer_a_norm_follows(name: str, ordered: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """Also where the file does not keep the order, and where all layers come before all norms."""
    (c1, n1), (c2, n2) = NAMES[name]
    parts = [conv(c1), conv(c2), norm(n1, 5.0), norm(n2, 7.0)]
    model = state(tmp_path / "a.npz", *parts, ordered=ordered)
    twin = state(tmp_path / "t.npz", conv(c1, bias=True), conv(c2, bias=True))
    result = folded(model, twin)
    assert {key: float(array.flat[0]) for key, array in result.others.items()} == {
        f"{c1}.weight": 5.0,
        f"{c1}.bias": 1.0,
        f"{c2}.weight": 7.0,
        f"{c2}.bias": 1.0,
    }
    assert list(result.others) == list(twin.others)


def test_the_order_tells_it_where_names_do_not(tmp_path: Path) -> None:
    """A norm right after a layer of its size; in a file that is sorted, this is not clear."""
    parts = [conv("stem"), norm("bn1", 5.0), conv("head", bias=True), norm("bn2", 7.0)]
    twin = state(tmp_path / "t.npz", conv("stem", bias=True), conv("head", bias=True))
    others = folded(state(tmp_path / "a.npz", *parts), twin).others
    values = {key: float(array.flat[0]) for key, array in others.items()}
    assert values == {"stem.weight": 5.0, "stem.bias": 1.0, "head.weight": 7.0, "head.bias": 8.0}
    model = state(tmp_path / "a.npz", *parts, ordered=False)
    with pytest.raises(FileError, match=r"layer bn1 .* \(of its size: stem, head\)"):
        folded(model, twin)


AMBIGUOUS = {
    "names against the order": [norm("bn1", 5.0), conv("conv1")],
    "something between in a Sequential": [conv("f.0"), norm("f.2", 5.0)],
    "another size": [conv("conv1", (4, 2, 1, 1)), norm("bn1", 5.0)],
    "two norms after one": [
        conv("conv1"),
        norm("bn1", 5.0),
        conv("f", (9, 9)),
        norm("batchnorm1", 5.0),
    ],
    "a square kernel of a transposed convolution": [
        conv("deconv1", (C, C, 2, 2)),
        norm("debn1", 5.0),
    ],
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_is_not_clear_is_refused_with_the_names(name: str, tmp_path: Path) -> None:
    """No norm is folded by a guess."""
    model = state(tmp_path / "a.npz", *AMBIGUOUS[name])
    twin = state(tmp_path / "t.npz", {"x": np.ones(1)})
    with pytest.raises(FileError, match=r"a\.npz, layer .* cannot be folded: "):
        folded(model, twin)


def test_a_layer_without_bias_in_the_target_takes_no_norm(tmp_path: Path) -> None:
    """And a norm that the target has too stays."""
    parts = [conv("conv1"), norm("bn1", 5.0), conv("conv2"), norm("bn2", 7.0)]
    model = state(tmp_path / "a.npz", *parts)
    with pytest.raises(FileError, match="layer bn1 cannot be folded"):
        folded(model, state(tmp_path / "t.npz", conv("conv1"), conv("conv2", bias=True)))
    twin = state(tmp_path / "t.npz", conv("conv1"), norm("bn1", 1.0), conv("conv2", bias=True))
    result, folds = files.fold_model(model, tmp_path / "b.npz", like=twin)
    assert [(fold.name, fold.into) for fold in folds] == [("bn1", ""), ("bn2", "conv2")]
    assert folds[0].why_left == "t.npz has it too"
    assert [layer.name for layer in result.layers] == ["bn1"]
    assert sorted(folds[1].assumed) == []


def test_a_transposed_convolution_has_its_channels_on_axis_1(tmp_path: Path) -> None:
    """As its shape tells."""
    kernel = np.ones((2, C, 1, 1), np.float32)
    gamma = np.arange(C, dtype=np.float32)
    arrays = {**norm("bn1", 1.0), "bn1.weight": gamma}
    model = state(tmp_path / "a.npz", {"conv1.weight": kernel}, arrays)
    others = folded(
        model, state(tmp_path / "t.npz", {"conv1.weight": kernel, "conv1.bias": gamma})
    ).others
    assert others["conv1.weight"][:, :, 0, 0].tolist() == [[0, 1, 2], [0, 1, 2]]


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    """A variance of 0 without eps, and a NaN."""
    twin = state(tmp_path / "t.npz", conv("conv1", bias=True))
    zero = {**norm("bn1", 1.0), "bn1.running_var": np.zeros(C, np.float32)}
    with pytest.raises(FileError, match="weights of conv1 would not be finite in float32"):
        folded(state(tmp_path / "a.npz", conv("conv1"), zero), twin)
    missing = {**norm("bn1", 1.0), "bn1.bias": np.full(C, np.nan, np.float32)}
    with pytest.raises(ConversionError, match=r"^a\.npz, layer bn1, bias of torch must be finite"):
        folded(state(tmp_path / "a.npz", conv("conv1"), missing), twin)


def test_weights_that_are_no_real_numbers_are_refused(tmp_path: Path) -> None:
    """Such as those of a quantized network."""
    whole = {"conv1.weight": np.ones((C, 2, 1, 1), np.int8)}
    model = state(tmp_path / "a.npz", whole, norm("bn1", 1.0))
    with pytest.raises(FileError, match="weights of conv1 are int8"):
        folded(model, state(tmp_path / "t.npz", conv("conv1", bias=True)))


def test_a_target_is_needed_and_names_of_pytorch(tmp_path: Path) -> None:
    """Other names would be understood by a guess."""
    model = state(tmp_path / "a.npz", conv("conv1"), norm("bn1", 1.0))
    with pytest.raises(FileError, match=r"^a\.npz is a state_dict: its norms can be folded only"):
        files.fold_model(model, tmp_path / "b.npz")
    fields = ("gamma", "beta", "moving_mean", "moving_variance")
    np.savez(tmp_path / "k.npz", **{f"bn/{field}": np.ones(C) for field in fields})
    with pytest.raises(FileError, match="the format npz of keras is not supported"):
        files.fold_model(files.read(tmp_path / "k.npz"), tmp_path / "b.npz", like=model)
    np.savez(tmp_path / "n.npz", x=np.ones(C))
    with pytest.raises(FileError, match=r"^n\.npz has no normalization layer"):
        files.fold_model(files.read(tmp_path / "n.npz"), tmp_path / "b.npz", like=model)


def test_the_format_may_be_another(tmp_path: Path) -> None:
    """What is left must fit into it, as in a conversion."""
    pytest.importorskip("safetensors", reason="safetensors is not installed; make test has it")
    model = state(tmp_path / "a.npz", conv("conv1"), norm("bn1", 5.0))
    twin = state(tmp_path / "t.npz", conv("conv1", bias=True))
    result, _ = files.fold_model(model, tmp_path / "b.safetensors", like=twin)
    files.write(tmp_path / "b.safetensors", result)
    back = files.read(tmp_path / "b.safetensors")
    assert float(back.others["conv1.weight"].flat[0]) == 5.0
