"""The layers in the wild are what their table says: by the slopes of y, without backnorm."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from audit.wild.calls import call_of, layer, leaves_of, slope
from audit.wild.table import AREAS, WILD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from audit.wild.entry import Verdict, Wild

SCALES = (1.0, 2.0**-5)
"""Deviations of x: eps matters at the smaller."""

MODES = [
    pytest.param(name, verdict, train, id=f"{name}-{'train' if train else 'eval'}")
    for name, wild in WILD.items()
    for verdict, train in ((wild.train, True), (wild.evaluation, False))
    if verdict is not None
]
JUDGED = [mode for mode in MODES if mode.values[1].sound is not None]
WITH_PATHS = [name for name, wild in WILD.items() if wild.over]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Run PyTorch on one thread: on inputs this small a second one only waits."""
    if importlib.util.find_spec("torch") is None:
        yield
        return
    torch = importlib.import_module("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


DIRECTIONS = 4
"""Random directions for each of x, gamma and beta."""


def error(name: str, *, train: bool, scale: float) -> float:
    """Return how far the gradients of a layer are from the slopes of its y, as a share of them."""
    wild, rng = WILD[name], np.random.default_rng(3)
    call = call_of(name, wild, train=train)
    leaves = leaves_of(call, wild, scale)
    dy = rng.standard_normal(wild.shape) + 0.5
    gradients = call.gradients(leaves, dy)
    assert gradients.keys() == leaves.keys()
    errors = []
    for leaf, gradient in gradients.items():
        size = scale if leaf == "x" else 1.0
        ways = [size * rng.standard_normal(gradient.shape) for _ in range(DIRECTIONS)]
        exact = np.array([slope(call, leaves, {leaf: way}, dy) for way in ways])
        found = np.array([(gradient * way).sum() for way in ways])
        errors.append(np.abs(found - exact).max() / (1e-3 + np.abs(exact).max()))
    return float(max(errors))


@pytest.mark.parametrize(("name", "verdict", "train"), JUDGED)
def test_the_fault_is_there_or_there_is_none(name: str, verdict: Verdict, *, train: bool) -> None:
    """A sound layer gives the derivative of its forward pass, and a faulty layer does not."""
    largest = max(error(name, train=train, scale=scale) for scale in SCALES)
    if verdict.sound:
        assert largest < 1e-7
    else:
        assert largest > 1e-3


@pytest.mark.parametrize("name", WITH_PATHS)
def test_the_paths_are_those_that_are_named(name: str) -> None:
    """With the path through the mean dx sums to 0, with that through the variance dx*x_hat does.

    y does not change if all values that share statistics are shifted or, but for eps, scaled: with
    both paths dx is orthogonal to both changes, whatever stands behind the normalization.
    """
    wild = WILD[name]
    call = call_of(name, wild, train=True)
    leaves = leaves_of(call, wild, 1.0)
    dy = np.random.default_rng(3).standard_normal(wild.shape) + 0.5
    dx = rows_of(wild, call.gradients(leaves, dy)["x"])
    x = rows_of(wild, leaves["x"])
    paths = {"variance": centred(wild, x)}
    if wild.centred:
        paths["mean"] = np.ones_like(x)
    there = {path for path, change in paths.items() if share(dx, change) < 1e-2}
    named = {"both": set(paths), "none": set()}.get(str(wild.train.through), {wild.train.through})
    assert there == named


def rows_of(wild: Wild, array: Any) -> Any:
    """Return an array with values that share statistics in a row."""
    if wild.groups > 1:
        array = array.reshape(wild.shape[0], wild.groups, -1)
    moved = np.moveaxis(array, wild.over, range(-len(wild.over), 0))
    return moved.reshape(*moved.shape[: array.ndim - len(wild.over)], -1)


def centred(wild: Wild, x: Any) -> Any:
    """Return the deviations that the layer scales."""
    return x - x.mean(-1, keepdims=True) if wild.centred else x


def share(dx: Any, change: Any) -> float:
    """Return how far dx is from being orthogonal to a change, relative to both."""
    sizes = np.linalg.norm(dx, axis=-1) * np.linalg.norm(change, axis=-1)
    return float(np.max(np.abs((dx * change).sum(-1)) / sizes.max()))


def test_every_layer_that_has_paths_names_their_axes() -> None:
    """So that no path is named that was not looked at."""
    named = ("both", "mean", "variance", "none")
    assert set(WITH_PATHS) == {n for n, wild in WILD.items() if wild.train.through in named}


def test_there_are_as_many_faulty_layers_as_sound_ones() -> None:
    """And enough of each in every area."""
    for table in AREAS.values():
        found = [verdict_of(wild) for wild in table.values()]
        assert found.count(True) >= 4
        assert found.count(False) >= 4
    found = [verdict_of(wild) for wild in WILD.values()]
    assert len(found) >= 44
    assert 0.8 < found.count(True) / found.count(False) < 1.25


def verdict_of(wild: Wild) -> bool | None:
    """Return whether a layer is sound in every mode."""
    verdicts = [wild.train.sound] + ([wild.evaluation.sound] if wild.evaluation else [])
    return next((sound for sound in verdicts if sound is not True), True)


def y_of(name: str) -> Any:
    """Return what a layer gives for one input, twice, from torch's same random numbers."""
    wild = WILD[name]
    call = call_of(name, wild, train=True)
    leaves = leaves_of(call, wild, 1.0)
    return call.forward(leaves), call.forward(leaves)


def test_what_cannot_be_judged_cannot_be_differentiated() -> None:
    """y is another y in each call, has few values, another shape than x, or no graph."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    one, two = y_of("gan:OwnNoiseNorm")
    assert np.abs(one - two).max() > 1e-2
    one, _ = y_of("vision:QuantNorm")
    np.testing.assert_array_equal(one * 16, np.round(one * 16))
    one, _ = y_of("gan:MinibatchStd")
    assert one.shape != WILD["gan:MinibatchStd"].shape
    x = torch.ones(2, 3, 4, requires_grad=True)
    assert not layer("time_series:cmvn_features")(x).requires_grad
    unjudged = {name for name, wild in WILD.items() if wild.train.sound is None}
    assert unjudged == {
        "gan:OwnNoiseNorm",
        "vision:QuantNorm",
        "gan:MinibatchStd",
        "time_series:cmvn_features",
    }
