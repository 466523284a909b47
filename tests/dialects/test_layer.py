"""What each framework's layer does besides its formulas: modes, state, requests, odd inputs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backnorm as bn
from backnorm.dialects import DIALECTS, UNKNOWN, Fact, row_of
from backnorm.dialects import layer as layer_module
from backnorm.errors import BacknormError, DtypeError, RangeError, ShapeError, UnknownNameError
from backnorm.testing.budget import DIFFERENCE_STEP, DIFFERENCES, SAME_OUTPUT, assert_bits, parts
from dialects.layers import C, batch, dialects_with, make, names, trained, with_parameters

ONES = np.ones((8, C), "f4")


def message(error: BacknormError) -> str:
    """A pattern for the whole message."""
    return f"^{re.escape(str(error))}$"


def step(layer: bn.BatchNorm, seed: int = 0) -> dict[str, Any]:
    """One forward and one backward pass, and the state after them."""
    layer.forward(batch(seed))
    layer.backward(ONES)
    return layer.state()


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two states are the same to the bit."""
    return list(a) == list(b) and all(np.array_equal(a[key], b[key]) for key in a)


# --- all dialects -----------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_eval_changes_nothing_and_training_does(dialect: str) -> None:
    """The state moves with a training step, and not with one in eval."""
    layer = trained(dialect)
    before = layer.state()
    layer.eval().forward(batch(7))
    assert same(layer.state(), before)
    assert not same(step(layer.train(), 7), before)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_state_can_be_taken_out_and_put_back(dialect: str) -> None:
    """A new layer with it computes the same, and what is taken out is a copy."""
    layer = trained(dialect)
    state = layer.state()
    other = make(dialect).load_state(state)
    for array in state.values():
        array[...] = 0
    assert same(other.state(), layer.state())
    assert_bits(other.eval().forward(batch(5)), layer.eval().forward(batch(5)))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_gradient_in_training_is_the_derivative(dialect: str) -> None:
    """By central differences in x, gamma and beta, from the same state every time."""
    layer = trained(dialect, "f8")
    state, name = layer.state(), names(dialect)
    if "weight" in state:
        state["weight"][1] *= -1  # inplace-abn uses its size
    rng = np.random.default_rng(3)
    x, dy, v = (rng.normal(1, 1, (6, C)) for _ in range(3))
    directions = {"dx": v, "dgamma": v[0], "dbeta": v[1]}

    def loss(what: str, by: float) -> float:
        moved = {key: array.copy() for key, array in state.items()}
        if what != "dx":
            moved[name[what[1:]]] += by * directions[what]
        y = layer.load_state(moved).forward(x + by * v if what == "dx" else x)
        return float((dy * y).sum())

    layer.load_state(state).forward(x)
    g = layer.backward(dy)
    for what, direction in directions.items():
        h = DIFFERENCE_STEP
        wanted = (loss(what, h) - loss(what, -h)) / (2 * h)
        got = (getattr(g, what) * direction).sum()
        assert parts([got], [wanted]) <= DIFFERENCES, what


@pytest.mark.parametrize("dialect", DIALECTS)
def test_gradients_are_written_added_or_left_out(dialect: str) -> None:
    """As the engine's own."""
    layer = trained(dialect)
    layer.forward(batch())
    state = layer.state()
    g = layer.backward(ONES, dgamma="null")
    assert g.dgamma is None
    assert same(layer.state(), state) == (row_of(dialect).updates_in.known != "backward")
    into = bn.Gradients(np.full((8, C), 2, "f4"), np.full(C, 2, "f4"), np.full(C, 2, "f4"))
    added = layer.backward(ONES, dx="add", dgamma="add", dbeta="add", into=into)
    assert added.dx is into.dx
    assert added.dgamma is into.dgamma
    assert added.dbeta is into.dbeta
    assert np.array_equal(added.dbeta, 2 + g.dbeta)
    written = layer.backward(ONES, into=into)
    assert written.dx is into.dx
    assert_bits(into.dx, layer.backward(ONES).dx)
    assert_bits(into.dgamma, layer.backward(ONES).dgamma)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nothing_is_written_into_an_argument(dialect: str) -> None:
    """Neither x nor dy nor a loaded state."""
    layer, x, dy = trained(dialect), batch(4), ONES.copy()
    state = layer.state()
    loaded = {key: array.copy() for key, array in state.items()}
    layer.load_state(loaded).forward(x)
    layer.backward(dy)
    assert_bits(x, batch(4))
    assert_bits(dy, ONES)
    assert same(loaded, state)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_every_dtype_is_computed_in_itself(dialect: str, dtype: str) -> None:
    """y and dx have the dtype of x; statistics are float32, and float64 for a float64 x."""
    layer = make(dialect)
    y = layer.forward(batch(0, dtype))
    g = layer.backward(np.ones_like(y))
    assert (y.dtype, g.dx.dtype) == (np.dtype(dtype), np.dtype(dtype))
    want = np.dtype("f8" if dtype == "f8" else "f4")
    assert {layer.state()[name].dtype for name in names(dialect).values()} == {want}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_channels_are_where_the_framework_has_them(dialect: str) -> None:
    """First or last behind the batch, by default."""
    first, last = np.ones((2, C, 3, 5), "f4"), np.ones((2, 3, 5, C), "f4")
    right, wrong = (last, first) if make(dialect)._settings.channel_axis == -1 else (first, last)
    layer = make(dialect)
    assert layer.forward(right).shape == right.shape
    axis = 3 if right is last else 1
    with pytest.raises(ShapeError, match=message(ShapeError.features(wrong.shape[axis], C, axis))):
        layer.forward(wrong)


# --- one value per channel --------------------------------------------------------------------

ONE = np.full((1, C), 3, "f4")
BLENDING = dialects_with("normalizes_with", "blend")


def test_every_answer_to_one_value_has_a_test() -> None:
    """Those below."""
    answers = {row_of(name).one_value.value for name in DIALECTS}
    assert answers == {"refused", "zero variance", "identity", "nan"}


@pytest.mark.parametrize("dialect", dialects_with("one_value", "refused"))
def test_one_value_is_refused(dialect: str) -> None:
    """In training; eval takes it."""
    layer = trained(dialect)
    with pytest.raises(RangeError, match=message(RangeError.one_value(dialect, (1, C)))):
        layer.forward(ONE)
    assert layer.eval().forward(ONE).shape == ONE.shape


@pytest.mark.parametrize(
    "dialect", sorted(set(dialects_with("one_value", "zero variance")) - set(BLENDING))
)
def test_one_value_normalizes_to_beta(dialect: str) -> None:
    """Its variance is 0, and so is dx."""
    layer = trained(dialect)
    y = layer.forward(ONE)
    assert_bits(y[0], layer.state()[names(dialect)["beta"]])
    assert not layer.backward(ONE).dx.any()
    assert np.isfinite(layer.state()[names(dialect)["var"]]).all()


@pytest.mark.parametrize("dialect", dialects_with("one_value", "nan"))
def test_one_value_leaves_nan_in_the_running_variance(dialect: str) -> None:
    """As an unbiased variance of one value is 0/0."""
    layer = trained(dialect)
    layer.forward(ONE)
    assert np.isnan(layer.state()[names(dialect)["var"]]).all()


@pytest.mark.parametrize("dialect", dialects_with("one_value", "identity"))
def test_one_value_passes_through(dialect: str) -> None:
    """y is x, dx is dy, the parameters get 0, and the statistics stay."""
    layer = trained(dialect)
    before = layer.state()
    assert_bits(layer.forward(ONE), ONE)
    g = layer.backward(7 * ONE)
    assert_bits(g.dx, 7 * ONE)
    assert not g.dgamma.any()
    assert not g.dbeta.any()
    assert same(layer.state(), before)


def test_an_unknown_answer_to_one_value_is_not_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer refuses, and says what evidence is missing."""
    row = replace(row_of("keras"), one_value=Fact(UNKNOWN, "not read"))
    monkeypatch.setattr(layer_module, "row_of", lambda _: row)
    error = RangeError.unknown_fact("keras", "one_value", "not read")
    with pytest.raises(RangeError, match=message(error)):
        make("keras").forward(ONE)


# --- Caffe ------------------------------------------------------------------------------------


def test_caffe_with_a_zero_divisor_divides_by_the_root_of_eps() -> None:
    """A layer that was never trained: y = x/sqrt(eps)."""
    x = batch()
    y = bn.BatchNorm(C, dialect="caffe", eps=0.25).eval().forward(x)
    assert_bits(y, x * 2)


def test_caffe_goes_on_changing_its_blobs_where_it_is_told_to() -> None:
    """use_global_stats=False holds in the phase TEST too, and True in TRAIN."""
    layer = bn.BatchNorm(C, dialect="caffe", use_global_stats=False).eval()
    layer.forward(batch())
    assert layer.state()["scale_factor"].tolist() == [1.0]
    layer = bn.BatchNorm(C, dialect="caffe", use_global_stats=True)
    layer.forward(batch())
    assert layer.state()["scale_factor"].tolist() == [0.0]


def test_caffe_in_place_stores_y_in_x() -> None:
    """And its gradient is that of the layer that does not."""
    x = batch()
    layer = bn.BatchNorm(C, dialect="caffe", in_place=True)
    y = layer.forward(x)
    assert y is x
    other = bn.BatchNorm(C, dialect="caffe")
    assert_bits(y, other.forward(batch()))
    dy = batch(2)
    assert_bits(layer.backward(dy).dx, other.backward(dy).dx)


def test_caffe_has_gamma_and_beta_in_a_scale_layer_only() -> None:
    """Three blobs without; bias_term says whether there is a beta."""
    blobs = ["mean", "variance", "scale_factor"]
    assert list(bn.BatchNorm(C, dialect="caffe").state()) == blobs
    assert list(bn.BatchNorm(C, dialect="caffe", scale=True).state()) == [*blobs, "gamma", "beta"]
    layer = bn.BatchNorm(C, dialect="caffe", scale=True, bias_term=False)
    assert list(layer.state()) == [*blobs, "gamma"]
    layer.forward(batch())
    assert layer.backward(ONES).dbeta is None


def test_nvidias_caffe_has_no_gradient_in_eval() -> None:
    """Its backward pass reads what the last training pass left."""
    layer = trained("caffe-nvidia").eval()
    layer.forward(batch())
    error = RangeError.no_frozen_gradient("caffe-nvidia")
    with pytest.raises(RangeError, match=message(error)):
        layer.backward(ONES)


# --- MXNet ------------------------------------------------------------------------------------


def test_mxnet_changes_its_statistics_in_backward() -> None:
    """Never in forward, twice in two backward passes, and not if no gradient is wanted."""
    layer = make("mxnet")
    before = layer.state()
    layer.forward(batch())
    layer.forward(batch(1))
    layer.backward(ONES, dx="null", dgamma="null", dbeta="null")
    assert same(layer.state(), before)
    layer.backward(ONES, dx="null", dgamma="null")
    once = layer.state()
    assert not same(once, before)
    layer.backward(ONES)
    assert not same(layer.state(), once)


def test_mxnet_holds_gamma_at_one_by_default() -> None:
    """forward writes it, in eval too; its gradient is 0, and a buffer to add to is left alone."""
    layer = with_parameters(bn.BatchNorm(C, dialect="mxnet")).eval()
    layer.forward(batch())
    assert layer.state()["gamma"].tolist() == [1.0] * C
    assert layer.backward(ONES).dgamma.tolist() == [0.0] * C
    buffer = np.full(C, 7, "f4")
    layer.backward(ONES, dgamma="add", into=bn.Gradients(dgamma=buffer))
    assert buffer.tolist() == [7.0] * C
    layer.backward(ONES, into=bn.Gradients(dgamma=buffer))
    assert buffer.tolist() == [0.0] * C
    with pytest.raises(RangeError, match=message(RangeError.missing_buffer("dgamma"))):
        layer.backward(ONES, dgamma="add")


def test_mxnet_shows_inv_std_as_its_third_output() -> None:
    """Of the batch in training, of the running statistics in eval."""
    layer = bn.BatchNorm(C, dialect="mxnet", eps=0.0)
    layer.forward(batch())
    assert parts(layer.output_mean, batch().mean(0)) < SAME_OUTPUT
    assert parts(layer.output_var, 1 / batch().std(0)) < SAME_OUTPUT
    layer.eval().forward(batch())
    assert layer.output_var.tolist() == [1.0] * C
    assert make("torch").output_var is None


def test_mxnet_rounds_var_plus_eps_of_float16_in_eval_too() -> None:
    """1 + 1e-3 is 1.0009765625 in float16."""
    layer = bn.BatchNorm(C, dialect="mxnet").eval()
    layer.forward(batch(0, "f2"))
    assert parts(layer.output_var, np.full(C, 1.0009765625**-0.5)) <= SAME_OUTPUT
    layer.forward(batch())
    assert parts(layer.output_var, np.full(C, 1.001**-0.5)) <= SAME_OUTPUT


@pytest.mark.parametrize("name", ["dx", "dgamma", "dbeta"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_buffer_for_nothing_is_refused(dialect: str, name: str) -> None:
    """Also where the gradient is not the engine's: gamma is fixed, or a blend normalizes."""
    fixed = row_of(dialect).fixed_gamma.known.name
    layer = make(dialect, **({fixed: True} if fixed else {}))
    layer.forward(batch())
    buffer = np.zeros((8, C) if name == "dx" else C, "f4")
    error = RangeError.useless_buffer(f"{name}", f"{name}='null'")
    with pytest.raises(RangeError, match=message(error)):
        layer.backward(ONES, **{name: "null"}, into=bn.Gradients(**{name: buffer}))
    with pytest.raises(UnknownNameError, match=f"^{name} must be one of 'write', 'add', 'null'"):
        layer.backward(ONES, **{name: "read"})


def test_mxnet_with_eps_zero_and_a_constant_channel_gives_beta() -> None:
    """inv_std is 0, and the variance that is computed back from it infinite."""
    layer = bn.BatchNorm(C, dialect="mxnet", eps=0.0)
    x = batch()
    x[:, 1] = 3
    y = layer.forward(x)
    assert not y[:, 1].any()
    assert layer.output_var[1] == 0.0
    g = layer.backward(batch(1))
    assert not g.dx[:, 1].any()
    assert layer.state()["moving_var"][1] == np.inf
    assert np.isfinite(layer.state()["moving_var"][[0, 2, 3]]).all()
    other = bn.BatchNorm(C, dialect="mxnet-cudnn")
    assert_bits(other.forward(batch()), bn.BatchNorm(C, dialect="mxnet").forward(batch()))


def test_mxnet_on_cudnn_takes_the_gradient_of_training_in_eval() -> None:
    """It recomputes the statistics of the batch: sum(dx) = 0, which no frozen gradient has."""
    frozen, recomputed = trained("mxnet").eval(), trained("mxnet-cudnn").eval()
    dy = batch(6)
    for layer in (frozen, recomputed):
        layer.forward(batch())
    assert np.abs(recomputed.backward(dy).dx.sum(0)).max() < 1e-4
    assert np.abs(frozen.backward(dy).dx.sum(0)).min() > 0.1


# --- the others -------------------------------------------------------------------------------


def test_torch_counts_its_batches_and_can_average_them_plainly() -> None:
    """momentum=None: the mean of all batch means."""
    layer = bn.BatchNorm(C, dialect="torch", momentum=None)
    for seed in range(3):
        layer.forward(batch(seed, "f8"))
    state = layer.state()
    assert state["num_batches_tracked"].dtype == np.int64
    assert state["num_batches_tracked"].item() == 3
    means = np.mean([batch(seed, "f8").mean(0) for seed in range(3)], axis=0)
    assert parts(state["running_mean"], means) < DIFFERENCES
    del state["num_batches_tracked"]  # as in checkpoints from before there was one
    assert layer.load_state(state).state()["num_batches_tracked"].item() == 0


@pytest.mark.parametrize("dialect", dialects_with("statistics", "untracked"))
def test_without_running_statistics_eval_takes_those_of_the_batch(dialect: str) -> None:
    """The option that turns them off leaves gamma and beta alone in the state."""
    choice = row_of(dialect).statistics.known
    off = next(value for value, meaning in choice.meaning.items() if meaning == "untracked")
    layer = make(dialect, **{str(choice.name): off})
    name = names(dialect)
    assert list(layer.state()) == [name["gamma"], name["beta"]]
    y = layer.forward(batch())
    assert_bits(layer.eval().forward(batch()), y)


def test_keras_frozen_layer_takes_the_running_statistics() -> None:
    """trainable=False, in training too."""
    layer = bn.BatchNorm(C, dialect="keras", trainable=False)
    before = layer.state()
    layer.forward(batch())
    assert same(layer.state(), before)


def test_haiku_in_float16_keeps_the_variance_without_eps() -> None:
    """Also where var + eps is rounded before the root is taken of it."""
    layer = make("haiku", decay_rate=0.0, eps=0.5)
    x = batch(0, "f2")
    layer.forward(x)
    assert parts(layer.state()["var_ema/average"], x.astype(float).var(0)) <= SAME_OUTPUT


def test_equinox_ema_normalizes_by_the_blend() -> None:
    """After the first call, which takes the batch whole, y is not that of the batch."""
    layer = make("equinox-ema")
    assert layer.state()["first_time"].item() is True
    y = layer.forward(batch())
    assert parts(y, make("equinox-batch").forward(batch())) < SAME_OUTPUT
    assert layer.state()["first_time"].item() is False
    y = layer.forward(batch(1))
    assert parts(y, make("equinox-batch").forward(batch(1))) > 0.01
    again = make("equinox-ema").load_state(make("equinox-ema").state())
    assert_bits(again.forward(batch(1)), make("equinox-ema").forward(batch(1)))
    state = layer.state()
    wanted = (batch(1) - state["running_mean"]) / np.sqrt(state["running_var"] + 1e-5)
    assert parts(y, wanted) < SAME_OUTPUT


# --- refusals ---------------------------------------------------------------------------------

GOOD = bn.BatchNorm(C, dialect="flax").state()
STATES: dict[str, tuple[Any, BacknormError]] = {
    "an array too many": (
        {**GOOD, "gamma": GOOD["scale"]},
        UnknownNameError.stored("gamma", "flax", ("scale", "bias", "mean", "var")),
    ),
    "an array too few": (
        {key: array for key, array in GOOD.items() if key != "var"},
        RangeError.stored_missing("var", "flax"),
    ),
    "a wrong shape": (
        {**GOOD, "mean": np.zeros(3, "f4")},
        ShapeError.stored("flax", "mean", (3,), (C,)),
    ),
    "a ragged list": (
        {**GOOD, "mean": [[1.0], [2.0, 3.0]]},
        DtypeError.not_numbers("state['mean']", []),
    ),
    "no state": (None, DtypeError.not_a_mapping("state", None)),
    "a state without names": ([1, 2], DtypeError.not_a_mapping("state", [1, 2])),
    "integers": (
        {**GOOD, "mean": np.zeros(C, int)},
        DtypeError.unsupported(
            "state['mean']", "int64", ("float16", "bfloat16", "float32", "float64")
        ),
    ),
}


@pytest.mark.parametrize(("state", "error"), STATES.values(), ids=STATES)
def test_a_state_that_does_not_fit_is_refused_whole(state: Any, error: BacknormError) -> None:
    """Nothing of it is loaded."""
    layer = bn.BatchNorm(C, dialect="flax")
    step(layer)
    before = layer.state()
    with pytest.raises(type(error), match=message(error)):
        layer.load_state(state)
    assert same(layer.state(), before)


@pytest.mark.parametrize("count", [None, "3", [10**400]])
def test_a_count_that_is_not_a_number_is_refused(count: Any) -> None:
    """As any array that does not hold numbers."""
    layer = make("torch")
    error = DtypeError.not_numbers("state['num_batches_tracked']", count)
    with pytest.raises(DtypeError, match=message(error)):
        layer.load_state({**layer.state(), "num_batches_tracked": count})


def test_axes_of_length_one_are_free() -> None:
    """Haiku keeps (1, C), and Caffe's old files (1, C, 1, 1)."""
    state = {key: array.reshape(1, -1) for key, array in GOOD.items()}
    assert same(bn.BatchNorm(C, dialect="flax").load_state(state).state(), GOOD)


def test_backward_needs_a_forward_pass() -> None:
    """Also a dy that fits, and buffers by name."""
    layer = make("torch")
    with pytest.raises(RangeError, match=message(RangeError.no_forward())):
        layer.backward(ONES)
    layer.forward(batch())
    error = ShapeError.same_as("dy", (2, C), "y", (8, C))
    with pytest.raises(ShapeError, match=message(error)):
        layer.backward(ONES[:2])
    with pytest.raises(RangeError, match=message(RangeError.no_gradients({}))):
        layer.backward(ONES, into={})  # type: ignore[arg-type]
    layer.load_state(layer.state())
    with pytest.raises(RangeError, match=message(RangeError.no_forward())):
        layer.backward(ONES)


@pytest.mark.parametrize(
    ("name", "other"), [("dx", "x"), ("dx", "dy"), ("dx", "y"), ("dbeta", "into.dgamma")]
)
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_buffer_that_is_another_array_is_refused(
    dialect: str, mode: str, name: str, other: str
) -> None:
    """Also where the layer computes the gradient itself; nothing is written."""
    layer, x, dy = trained(dialect), batch(4), batch(6)
    y = getattr(layer, mode)().forward(x)
    arrays = {"x": x, "dy": dy, "y": y, "into.dgamma": np.full(C, 7, "f4")}
    before, buffer = y.copy(), arrays[other]
    into = bn.Gradients(**{name: buffer, "dgamma": arrays["into.dgamma"]})
    error = RangeError.overlap(f"into.{name}", other)
    with pytest.raises(RangeError, match=message(error)):
        layer.backward(dy, into=into)
    assert_bits(x, batch(4))
    assert_bits(dy, batch(6))
    assert_bits(y, before)
    assert (arrays["into.dgamma"] == 7).all()


@pytest.mark.parametrize("request_", ["write", "add"])
def test_one_buffer_for_two_gradients_is_refused_with_a_fixed_gamma(request_: Any) -> None:
    """The gradient of a gamma held at 1 is 0, and would end up in that of beta."""
    layer, buffer = bn.BatchNorm(C, dialect="mxnet", fix_gamma=True), np.full(C, 7, "f4")
    layer.forward(batch())
    into = bn.Gradients(dgamma=buffer, dbeta=buffer)
    error = RangeError.overlap("into.dbeta", "into.dgamma")
    with pytest.raises(RangeError, match=message(error)):
        layer.backward(ONES, dgamma=request_, dbeta=request_, into=into)
    assert (buffer == 7).all()


@pytest.mark.parametrize("dialect", dialects_with("one_value", "identity"))
def test_a_buffer_over_an_input_is_refused_where_y_is_x(dialect: str) -> None:
    """One value per channel, which passes through."""
    layer, dy = trained(dialect), 7 * ONE
    layer.forward(ONE)
    with pytest.raises(RangeError, match=message(RangeError.overlap("into.dx", "dy"))):
        layer.backward(dy, into=bn.Gradients(dx=dy))


def test_an_x_that_does_not_fit_is_refused() -> None:
    """Wrong channels, no array, nothing in it."""
    layer = make("torch")
    with pytest.raises(ShapeError, match=message(ShapeError.features(3, C, 1))):
        layer.forward(np.zeros((2, 3), "f4"))
    with pytest.raises(DtypeError, match=message(DtypeError.not_an_array("x", [1.0]))):
        layer.forward([1.0])  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=message(ShapeError.empty((0, C), 1))):
        layer.forward(np.zeros((0, C), "f4"))
