"""From every dialect to every dialect: the output in eval stays, and what is lost is said."""

from __future__ import annotations

import itertools

import pytest

import backnorm as bn
from backnorm.convert import KINDS, Loss, losses_between
from backnorm.dialects import DIALECTS, row_of
from backnorm.errors import ConversionError
from backnorm.testing.budget import SAME_OUTPUT, parts
from dialects.layers import C, batch, trained

PAIRS = list(itertools.product(DIALECTS, DIALECTS))


def differ(source: str, target: str) -> bool:
    """Whether the two keep different estimates of the variance."""
    return row_of(source).running_var.known != row_of(target).running_var.known


def carry(source: bn.BatchNorm, target: str, **more: object) -> bn.convert.Conversion:
    """Convert a layer's state, with its own options."""
    return bn.convert_state(
        source.state(),
        source.dialect,
        target,
        source_options=source.options,
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize(
    "permission", [{}, {"n": 8}, {"allow_loss": True}], ids=["plain", "n", "allow_loss"]
)
def test_the_output_in_eval_stays(source: str, target: str, permission: dict[str, object]) -> None:
    """Within the rounding of what is stored, for a layer with options that follow from it."""
    layer = trained(source).eval()
    done = carry(layer, target, **permission)
    other = bn.BatchNorm(C, dialect=target, **done.options).load_state(done.state).eval()
    assert parts(other.forward(batch(9)), layer.forward(batch(9))) <= SAME_OUTPUT
    assert [loss.name for loss in done.losses if loss.name == "estimator"] == (
        ["estimator"] if differ(source, target) else []
    )


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_another_estimate_is_refused_if_strict(source: str, target: str) -> None:
    """Biased to unbiased and back: a loss, and with strict n or allow_loss has to be given."""
    layer = trained(source)
    assert all(not loss.refused for loss in carry(layer, target).losses)
    if not differ(source, target):
        assert all(not loss.refused for loss in carry(layer, target, strict=True).losses)
        return
    with pytest.raises(
        ConversionError,
        match=rf"^{source}'s state cannot be converted to {target} without loss: the running "
        r"variance is (un)?biased, and .* Pass n, the number of values",
    ):
        carry(layer, target, strict=True)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_there_and_back_is_the_same_where_nothing_is_lost(source: str, target: str) -> None:
    """Every array that no loss names comes back, within the rounding of what is stored."""
    layer = trained(source)
    there = carry(layer, target, n=8)
    back = bn.convert_state(
        there.state,
        target,
        source,
        n=8,
        source_options=there.options,
        target_options=layer.options,
    )
    lost = {loss.name for loss in there.losses} | {loss.name for loss in back.losses}
    assert lost <= {*losses_between(row_of(source), row_of(target))} | {
        *losses_between(row_of(target), row_of(source))
    }
    excused = set()
    for loss, roles in TOUCHED.items():
        excused |= roles if loss in lost else set()
    for array in row_of(source).arrays.known:
        if array.role not in excused:
            got, want = back.state[array.name], layer.state()[array.name]
            assert got.shape == want.shape
            assert parts(got, want) <= SAME_OUTPUT, array.name


TOUCHED = {
    "divisor": {"divisor", "mean", "var"},  # which are kept multiplied by it
    "updates": {"count", "mean", "var"},  # which are kept multiplied by what follows from it
    "unused gamma": {"gamma"},
    "sign of gamma": {"gamma"},
}
"""Which arrays each loss excuses; the others leave the arrays alone."""


@pytest.mark.parametrize("source", DIALECTS)
def test_to_itself_a_state_comes_back_whole(source: str) -> None:
    """No loss, and every array as it was."""
    layer = trained(source)
    done = carry(layer, source, target_options=layer.options)
    assert done.losses == ()
    for name, array in layer.state().items():
        assert done.state[name].dtype == array.dtype
        assert parts(done.state[name], array) <= SAME_OUTPUT, name


def test_nothing_is_lost_between_some() -> None:
    """Between these the table knows of no loss, either way, but what options may ask for."""
    by_options = {"eps floor", "running statistics", "batch in eval", "gamma", "beta"}
    pairs = [("keras", "flax"), ("onnx-9", "onnx-15"), ("torch", "tinygrad"), ("paddle", "onnx-14")]
    for a, b in pairs:
        for names in (losses_between(row_of(a), row_of(b)), losses_between(row_of(b), row_of(a))):
            assert not {name for name in names if KINDS[name].refused != "never"} - by_options


def test_the_estimate_can_be_restated() -> None:
    """preserve="estimator" with n: what the target would have stored itself."""
    layer = bn.BatchNorm(C, dialect="keras", momentum=0.0)
    layer.forward(batch())
    done = bn.convert_state(layer.state(), "keras", "torch", n=8, preserve="estimator")
    assert parts(done.state["running_var"], batch().var(0, ddof=1)) <= SAME_OUTPUT
    (loss,) = [loss for loss in done.losses if loss.name == "estimator"]
    assert loss == Loss("estimator", loss.what, refused=False, factor=8 / 7)
    back = bn.convert_state(done.state, "torch", "keras", n=8, preserve="estimator")
    assert parts(back.state["moving_variance"], batch().var(0)) <= SAME_OUTPUT
    nvidia = bn.convert_state(layer.state(), "keras", "caffe-nvidia", preserve="estimator")
    assert parts(nvidia.state["variance"], batch().var(0) + 1e-3) <= SAME_OUTPUT


def test_momentum_changes_sides() -> None:
    """What was the weight of the old becomes that of the new."""
    state = {"moving_mean": [0.0], "moving_variance": [1.0], "gamma": [1.0], "beta": [0.0]}
    options = {
        target: bn.convert_state(state, "keras", target, allow_loss=True).options
        for target in ("torch", "flax", "caffe", "haiku")
    }
    assert options["torch"]["momentum"] == 0.01
    assert options["flax"]["momentum"] == 0.99
    assert options["caffe"]["moving_average_fraction"] == 0.99
    assert options["haiku"]["decay_rate"] == 0.99
