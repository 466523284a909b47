"""The layer beside that of Keras; test_backends.py runs this on each backend."""

from __future__ import annotations

import doctest
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from sybil import Sybil  # noqa: E402
from sybil.parsers.markdown import PythonCodeBlockParser  # noqa: E402

import backnorm as bn  # noqa: E402
from backnorm import reference  # noqa: E402
from backnorm.errors import BacknormError, ShapeError  # noqa: E402
from backnorm.keras import BatchNormalization, convert, left_alone, revert  # noqa: E402
from backnorm.testing.budget import FRAMEWORK_PARTS, NETWORK_OUTPUT, parts  # noqa: E402
from with_frameworks.keras.layer_steps import BACKEND, built, step  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword",  # of Keras's variables
    "ignore:You are saving your model as an HDF5 file",
)

Stock = keras.layers.BatchNormalization
CLOSE = FRAMEWORK_PARTS["float32"]


def draw(shape: tuple[int, ...], mean: float = 2.0) -> Any:
    """Values around a mean."""
    return np.random.default_rng(0).normal(mean, 3, shape).astype("float32")


def assert_same(ours: list[Any], theirs: list[Any]) -> None:
    """Within the budget of frameworks, with the same dtypes."""
    for got, want in zip(ours, theirs, strict=True):
        assert got.dtype == want.dtype
        assert parts(got, want) <= CLOSE


OPTIONS: list[dict[str, Any]] = [
    {},
    {"epsilon": 1e-5, "scale": False},
    {"center": False, "gamma_regularizer": "l2"},
    {"scale": False, "center": False},
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("shape", "axis"), [((6, 5, 4, 3), -1), ((6, 3, 4, 5), 1), ((1, 3), -1), ((9, 2, 2, 2, 2), 2)]
)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.sampled(5)
def test_a_step_is_that_of_keras(
    options: dict[str, Any],
    shape: tuple[int, ...],
    axis: int,
    training: bool,  # noqa: FBT001
) -> None:
    """Output, gradients and running statistics."""
    both = [built(cls, shape, axis=axis, **options) for cls in (BatchNormalization, Stock)]
    # Of a single value Keras computes x/sqrt(epsilon) - mean/sqrt(epsilon), which rounds.
    x = draw(shape) / (100 if shape == (1, 3) else 1)
    ours, theirs = (step(layer, x, training=training) for layer in both)
    assert_same(ours, theirs)


@pytest.mark.parametrize("training", [True, False])
def test_a_layer_that_is_frozen_evaluates(training: bool) -> None:  # noqa: FBT001
    """Also where training is asked for."""
    both = [built(cls, (6, 3)) for cls in (BatchNormalization, Stock)]
    for layer in both:
        layer.trainable = False
    ours, theirs = (layer(draw((6, 3)), training=training) for layer in both)
    assert parts(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)) <= CLOSE
    assert_same(*([keras.ops.convert_to_numpy(v) for v in layer.weights] for layer in both))


def test_whole_numbers_are_taken_as_keras_takes_them() -> None:
    """In float32, also without autocasting."""
    x = np.arange(12).reshape(6, 2)
    both = [built(cls, (6, 2), autocast=False) for cls in (BatchNormalization, Stock)]
    ours, theirs = (keras.ops.convert_to_numpy(layer(x, training=True)) for layer in both)
    assert_same([ours], [theirs])


MASK = np.random.default_rng(3).random((6, 5)) < 0.6


@pytest.mark.parametrize("axis", [-1, 1])
def test_a_mask_is_that_of_keras(axis: int) -> None:
    """What counts gives the statistics, y is normalized everywhere, and so are the gradients."""
    x = draw((6, 5, 3))
    both = [built(cls, x.shape, axis=axis) for cls in (BatchNormalization, Stock)]
    ours, theirs = (step(layer, x, MASK) for layer in both)
    assert_same(ours, theirs)


def test_what_a_mask_hides_is_in_no_statistic() -> None:
    """NaN elsewhere: statistics, and y where it counts, are those of the values that count."""
    x = draw((6, 5, 3))
    layer, counted = (built(BatchNormalization, shape) for shape in (x.shape, (None, 3)))
    y = keras.ops.convert_to_numpy(
        layer(np.where(MASK[..., None], x, np.nan), training=True, mask=MASK)
    )
    want = keras.ops.convert_to_numpy(counted(x[MASK], training=True))
    assert parts(y[MASK], want) <= CLOSE
    assert np.isnan(y[~MASK]).all()
    assert_same(*([keras.ops.convert_to_numpy(v) for v in one.weights] for one in (layer, counted)))


def test_a_mask_of_fewer_positions_is_spread() -> None:
    """Keras broadcasts it over those it does not name."""
    x, mask = draw((6, 5, 4, 3)), MASK[..., None]
    both = [built(cls, x.shape) for cls in (BatchNormalization, Stock)]
    assert_same(*(step(layer, x, mask.astype("float32")) for layer in both))


def test_nothing_counts() -> None:
    """y is that of Keras; the running statistics stay, which those of Keras do not."""
    x, mask = draw((6, 5, 3)), np.zeros((6, 5), bool)
    ours, theirs = (built(cls, x.shape) for cls in (BatchNormalization, Stock))
    before = [keras.ops.convert_to_numpy(v).copy() for v in ours.weights]
    results = step(ours, x, mask), step(theirs, x, mask)
    assert_same(results[0][:4], results[1][:4])
    assert_same([keras.ops.convert_to_numpy(v) for v in ours.weights], before)
    assert np.isfinite(results[0][0]).all()


def test_an_empty_batch_changes_nothing() -> None:
    """Running statistics of Keras become NaN."""
    layer = built(BatchNormalization, (None, 3))
    before = [keras.ops.convert_to_numpy(v).copy() for v in layer.weights]
    assert tuple(layer(draw((0, 3)), training=True).shape) == (0, 3)
    assert_same([keras.ops.convert_to_numpy(v) for v in layer.weights], before)


def test_an_error_of_the_engine_keeps_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras puts another error in the place of one that its layers raise."""
    layer = built(BatchNormalization, (6, 3))
    error = ShapeError.same_as("residual", (2,), "x", (6, 3))

    def fail(*_: Any, **__: Any) -> None:
        raise error

    engine = sys.modules[BatchNormalization.__module__].engine
    monkeypatch.setattr(engine, "trained", fail)
    with pytest.raises(ShapeError) as raised:
        layer(draw((6, 3)), training=True)
    assert raised.value is error


@pytest.mark.skipif(BACKEND != "jax", reason="on PyTorch Keras has one device")
def test_a_batch_on_two_devices_is_one_batch() -> None:
    """As Keras spreads it; test_backends.py gives JAX two devices."""
    spread = keras.distribution
    devices = spread.list_devices("cpu")
    assert len(devices) == 2
    x = draw((16, 5))
    x[8:] += 5
    before = spread.distribution()
    spread.set_distribution(spread.DataParallel(devices=devices))
    try:
        model = keras.Sequential([keras.Input((5,)), BatchNormalization(momentum=0.0)])
        model.compile("sgd", "mse")
        model.fit(x, x, batch_size=16, verbose=0)
        mean = keras.ops.convert_to_numpy(model.layers[0].moving_mean)
    finally:
        spread.set_distribution(before)
    assert parts(mean, x.mean(0)) <= CLOSE


def test_a_mask_of_another_rank_is_refused_by_keras() -> None:
    """In the words of Keras."""
    with pytest.raises(ValueError, match="one dimension less"):
        built(BatchNormalization, (6, 5, 3))(draw((6, 5, 3)), training=True, mask=MASK[0])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_mixed_precision(policy: str) -> None:
    """Dtypes as in Keras. y is the exact one, rounded once."""
    x = draw((64, 3))
    both = [built(cls, x.shape, dtype=policy) for cls in (BatchNormalization, Stock)]
    ours, theirs = (layer(x, training=True) for layer in both)
    assert keras.backend.standardize_dtype(ours.dtype) == policy.removeprefix("mixed_")
    assert ours.dtype == theirs.dtype
    for one, other in zip(both[0].weights, both[1].weights, strict=True):
        assert one.dtype == other.dtype
    narrow = keras.ops.cast(x, ours.dtype)
    seen = keras.ops.convert_to_numpy(keras.ops.cast(narrow, "float32")).astype("float64")
    gamma, beta = (
        keras.ops.convert_to_numpy(keras.ops.cast(v, "float32")) for v in both[0].weights[:2]
    )
    exact = gamma * (seen - seen.mean(0)) / np.sqrt(seen.var(0) + 1e-3) + beta
    rounded = keras.ops.convert_to_numpy(keras.ops.cast(exact.astype("float32"), ours.dtype))
    got = keras.ops.convert_to_numpy(ours)
    # At most the neighbour, where a result lies between two values of the dtype.
    bits = [np.asarray(v).view("int16").astype(int) for v in (got, rounded)]
    assert np.abs(bits[0] - bits[1]).max() <= 1


@pytest.mark.skipif(
    BACKEND == "jax" and "JAX_ENABLE_X64" not in os.environ,
    reason="JAX has float64 only where all of JAX has it",
)
def test_float64_is_computed_in_float64() -> None:
    """Output, gradients and running statistics; Keras computes them in float32."""
    x = draw((64, 3), mean=1e6).astype("float64")
    layer = built(BatchNormalization, x.shape, dtype="float64")
    gamma, beta, *running = map(np.array, layer.get_weights())
    found = step(layer, x)
    dy = np.random.default_rng(2).normal(size=x.shape).astype("float32")
    law: dict[str, Any] = {"channel_axis": 1, "eps": 1e-3}
    want = reference.forward(x, gamma, beta, **law)
    slope = reference.backward(dy, x, gamma, **law)
    moved = [0.7 * old + 0.3 * new for old, new in zip(running, (want.mean, want.var), strict=True)]
    exact = [want.y, slope.dgamma, slope.dbeta, slope.dx, *moved]
    for got, wanted in zip(found, exact, strict=True):
        assert got.dtype == "float64"
        assert parts(got, wanted) <= FRAMEWORK_PARTS["float64"] * 1e3


def test_an_offset_costs_no_digits() -> None:
    """At a mean of 30000 standard deviations, in float32."""
    x = draw((64, 3), mean=1e5)
    layer = built(BatchNormalization, x.shape, scale=False, center=False)
    y = keras.ops.convert_to_numpy(layer(x, training=True))
    wide = x.astype("float64")
    assert parts(y, (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-3)) <= CLOSE


def test_renormalization_is_that_of_keras() -> None:
    """Bit for bit, since Keras computes it."""
    try:
        both = [built(cls, (6, 3), renorm=True) for cls in (BatchNormalization, Stock)]
    except ValueError:
        pytest.skip("this version of Keras has no renormalization")
    ours, theirs = (step(layer, draw((6, 3))) for layer in both)
    for got, want in zip(ours, theirs, strict=True):
        assert np.array_equal(got, want)


def test_an_unknown_argument_is_refused_by_keras() -> None:
    """As in the class of Keras."""
    with pytest.raises(ValueError, match="Unrecognized keyword"):
        BatchNormalization(renorn=True)


@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.thorough)])
def test_an_audit_finds_nothing(quick: bool) -> None:  # noqa: FBT001
    """Probe after probe."""
    record = bn.audit(BatchNormalization(), kind="batch", quick=quick)
    assert record.sound
    assert list(record.findings) == []


def network(cls: Any, *, masked: bool = False) -> Any:
    """A compiled model with a norm at its top, one in a wrapper and one in a nested model."""
    keras.utils.set_random_seed(5)
    layers = keras.layers
    start = keras.Input((6, 8))
    y = layers.Masking()(start) if masked else start
    y = cls(name="first")(layers.Dense(8, name="in")(y))
    if not masked:
        y = layers.TimeDistributed(cls(name="inner"), name="each")(y)
        y = keras.Sequential([layers.Dense(6), cls(name="last"), layers.ReLU()], name="nested")(y)
    y = layers.GlobalAveragePooling1D()(y)
    model = keras.Model(start, layers.Dense(3, name="out")(y))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss, metrics=["accuracy"])
    return model


X, LABELS = draw((48, 6, 8)), np.arange(48) % 3


def fitted(model: Any, epochs: int = 1, x: Any = X) -> list[float]:
    """The losses of training in the order of the data."""
    done = model.fit(x, LABELS, batch_size=16, epochs=epochs, shuffle=False, verbose=0)
    return [float(loss) for loss in done.history["loss"]]


def arrays(model: Any) -> list[Any]:
    """Copies of all weights."""
    return [np.array(w) for w in model.get_weights()]


@pytest.mark.parametrize("masked", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_training_is_that_of_keras(masked: bool) -> None:  # noqa: FBT001
    """`fit`, jitted on JAX, then `predict` and `evaluate`."""
    x = np.where(np.arange(6)[:, None] < 4, X, 0) if masked else X
    ours, theirs = (network(cls, masked=masked) for cls in (BatchNormalization, Stock))
    assert parts(fitted(ours, 2, x), fitted(theirs, 2, x)) <= NETWORK_OUTPUT * 10
    assert ours.jit_compile is theirs.jit_compile
    y = [model.predict(x, verbose=0) for model in (ours, theirs)]
    assert parts(*y) <= NETWORK_OUTPUT * 10
    scores = [model.evaluate(x, LABELS, verbose=0)[0] for model in (ours, theirs)]
    assert parts(*scores) <= NETWORK_OUTPUT * 10


def test_a_converted_model_trains_on() -> None:
    """Same layers, variables and state of the optimizer; what was compiled is compiled anew."""
    model, stock = network(Stock), network(Stock)
    fitted(model), fitted(stock)
    variables, layers = model.variables, model.layers
    compiled = model.train_function
    assert convert(model) is model
    assert [id(v) for v in model.variables] == [id(v) for v in variables]
    assert all(a is b for a, b in zip(model.layers, layers, strict=True))
    norms = [n for n in model._flatten_layers() if isinstance(n, Stock)]
    assert [type(n) for n in norms] == [BatchNormalization] * 3
    assert parts(fitted(model), fitted(stock)) <= NETWORK_OUTPUT * 10
    assert model.train_function is not compiled
    assert int(model.optimizer.iterations) == int(stock.optimizer.iterations)
    assert revert(model) == 3
    assert all(type(n) is Stock for n in norms)
    assert model.train_function is None


class Own(keras.Model):
    """A subclassed model with layers in a list."""

    def __init__(self) -> None:
        """Declare a norm that is plain and one with a computation of its own."""
        super().__init__()
        self.steps = [keras.layers.Dense(4), Stock(name="plain"), Scaled(name="scaled")]

    def call(self, x: Any, training: Any = None) -> Any:
        """Apply one after the other."""
        x = self.steps[0](x)
        for norm in self.steps[1:]:
            x = norm(x, training=training)
        return x


class Scaled(Stock):
    """A norm that computes something else."""

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Return twice of it."""
        return 2 * super().call(inputs, training=training, mask=mask)


def test_a_subclassed_model_is_converted() -> None:
    """Before it is built; a class that may compute something else is left alone."""
    keras.utils.set_random_seed(1)
    model = Own()
    convert(model)
    assert [type(step) for step in model.steps[1:]] == [BatchNormalization, Scaled]
    assert left_alone(model) == {"scaled": "its class Scaled may compute something else"}
    y = keras.ops.convert_to_numpy(model(X[0], training=True))
    keras.utils.set_random_seed(1)
    want = keras.ops.convert_to_numpy(Own()(X[0], training=True))
    assert parts(y, want) <= NETWORK_OUTPUT


def test_what_cannot_be_converted_is_said() -> None:
    """No model, no norm, a norm that synchronizes."""
    with pytest.raises(BacknormError, match=r"model must be a keras\.Model"):
        convert([])
    with pytest.warns(UserWarning, match="nothing was converted"):
        convert(keras.Sequential([keras.layers.ReLU()]))
    spread = {"axis_name": "i"} if BACKEND == "jax" else {"synchronized": True}
    layers = [BatchNormalization(), BatchNormalization(name="far", **spread)]
    with pytest.raises(BacknormError, match="far cannot become a layer of Keras"):
        revert(keras.Sequential(layers))
    assert type(layers[0]) is BatchNormalization


def test_a_spread_batch() -> None:
    """Parts with unlike masks: results of each part are those of the whole batch."""
    x, mask = draw((6, 5, 3)), MASK.copy()
    mask[:3] &= np.arange(5) < 1
    whole = built(BatchNormalization, x.shape)
    want = step(whole, x, mask)
    found = over_an_axis(x, mask) if BACKEND == "jax" else over_processes()
    # Those of gamma and beta belong to the parts, and are added by who trains.
    for name, got, wanted in zip(NAMES, found, want, strict=True):
        assert parts(got, wanted) <= CLOSE, name


NAMES = ("y", "gamma", "beta", "x", "moving_mean", "moving_variance")


def over_an_axis(x: Any, mask: Any) -> list[Any]:
    """Two parts, under one name of an axis of vmap."""
    import jax  # noqa: PLC0415 - on this backend only

    layer = built(BatchNormalization, x.shape, axis_name="parts", synchronized=True)
    parameters = [v.value for v in layer.trainable_variables]
    state = [v.value for v in layer.non_trainable_variables]
    weights = np.random.default_rng(2).normal(size=x.shape).astype("float32")
    halves = [value.reshape(2, 3, *value.shape[1:]) for value in (x, mask, weights)]

    def loss(parameters: Any, x: Any) -> Any:
        def part(x: Any, mask: Any) -> Any:
            return layer.stateless_call(parameters, state, x, training=True, mask=mask)

        y, new = jax.vmap(part, axis_name="parts")(x, halves[1])
        return (y * halves[2]).sum(), (y, new)

    slope = jax.grad(loss, (0, 1), has_aux=True)
    (of_parameters, dx), (y, new) = slope(parameters, halves[0])
    return [y.reshape(x.shape), *of_parameters, dx.reshape(x.shape), *(v[1] for v in new)]


def over_processes() -> list[Any]:
    """Two processes of a group of torch.distributed."""
    torch = pytest.importorskip("torch")
    if not torch.distributed.is_available():
        pytest.skip("this PyTorch cannot train in two processes")
    from with_frameworks.keras import on_ranks  # noqa: PLC0415 - on this backend only
    from with_torch.distributed.ranks import together  # noqa: PLC0415 - the same

    with tempfile.TemporaryDirectory() as folder:
        ranks = together(on_ranks.run, 2, Path(folder))
    y, gamma, beta, dx, *_ = zip(*ranks, strict=True)
    return [np.concatenate(y), sum(gamma), sum(beta), np.concatenate(dx), *ranks[1][4:]]


@pytest.mark.skipif(BACKEND != "jax", reason="PyTorch has groups of processes")
def test_an_axis_must_be_named() -> None:
    """On JAX; under jit no layer needs one."""
    with pytest.raises(BacknormError, match="without the name of an axis"):
        BatchNormalization(synchronized=True)
    config = BatchNormalization(axis_name="i").get_config()
    assert BatchNormalization.from_config(config).axis_name == "i"


@pytest.mark.skipif(BACKEND != "torch", reason="axes have names on JAX")
def test_no_axis_has_a_name() -> None:
    """On PyTorch. Without a group the batch of the process is the whole one."""
    with pytest.raises(BacknormError, match="takes an axis_name on JAX only"):
        BatchNormalization(axis_name="i")
    both = [built(BatchNormalization, (6, 3), synchronized=value) for value in (True, False)]
    assert_same(*(step(layer, draw((6, 3))) for layer in both))


def test_the_configuration_is_that_of_keras() -> None:
    """All of it, and a layer comes back from it."""
    options = {"axis": 1, "momentum": 0.5, "gamma_constraint": "non_neg", "name": "norm"}
    ours, theirs = BatchNormalization(**options), Stock(**options)
    assert ours.get_config() == theirs.get_config()
    again = BatchNormalization.from_config(theirs.get_config())
    assert again.get_config() == theirs.get_config()


def test_files_of_keras_load_and_files_load_in_keras(tmp_path: Path) -> None:
    """Whole models and weights, with the state of the optimizer."""
    stock = network(Stock)
    fitted(stock)
    stock.save(tmp_path / "stock.keras")
    ours = convert(keras.models.load_model(tmp_path / "stock.keras"))
    assert type(ours.get_layer("first")) is BatchNormalization
    assert parts(fitted(ours), fitted(stock)) <= NETWORK_OUTPUT * 10
    ours.save(tmp_path / "ours.keras")
    again = keras.models.load_model(tmp_path / "ours.keras")
    assert type(again.get_layer("first")) is BatchNormalization
    assert all(map(np.array_equal, arrays(again), arrays(ours)))
    assert revert(again) == 3
    again.save(tmp_path / "again.keras")
    last = keras.models.load_model(tmp_path / "again.keras")
    assert type(last.get_layer("first")) is Stock
    assert all(map(np.array_equal, arrays(last), arrays(ours)))
    for source, target in ((stock, ours), (ours, stock)):
        fitted(source)
        source.save_weights(tmp_path / "w.weights.h5")
        target.load_weights(tmp_path / "w.weights.h5")
        assert all(map(np.array_equal, arrays(target), arrays(source)))


def test_the_page_and_the_docstrings_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of docs/keras.md, and the examples of the public names."""
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parents[3] / "docs" / "keras.md"
    examples = list(Sybil([PythonCodeBlockParser()]).parse(page).examples())
    assert examples
    for example in examples:
        example.evaluate()
    for function in (BatchNormalization, convert):
        failed, attempted = doctest.testmod(sys.modules[function.__module__])
        assert attempted > 0
        assert failed == 0
