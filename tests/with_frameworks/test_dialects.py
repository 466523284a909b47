"""The rows of the dialects beside their frameworks: the same law, the same numbers, the version.

A framework that is not installed beside backnorm runs under the Python of an environment of its
own, `.venv-dialects-NAME`, which `make dialects-verified` makes.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import backnorm as bn
from backnorm.audit.forward_only import laws_of
from backnorm.audit.measure.gradient import measure
from backnorm.audit.probes.examination import Examination
from backnorm.audit.probes.running import running_law
from backnorm.audit.subjects.registry import layers_of
from backnorm.audit.subjects.request import AuditRequest
from backnorm.audit.subjects.runner import Step
from backnorm.audit.verdict import judge
from backnorm.cli._hosts import Host
from backnorm.cli._remote import Interpreter
from backnorm.cli._targets import is_installed
from backnorm.dialects import DIALECTS, row_of
from backnorm.host.versions import environment
from backnorm.testing.budget import FRAMEWORK_PARTS, parts
from with_frameworks.row_layers import as_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from backnorm.audit.subject import Subject
    from backnorm.audit.subjects.runner import Runner

pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")

ROOT = Path(__file__).parents[2]
C = 4
SECONDS = 300.0
SEED = 0


@dataclass(frozen=True)
class Theirs:
    """The layer of a framework that a row describes.

    Attributes
    ----------
    framework, layer
        As `backnorm audit FRAMEWORK` calls them; of Keras without the backend.
    options
        The options of the row with which the framework's layer was made, if not the defaults.
    names
        The row's names of arrays by the framework's, where the audit sees others.
    computes_in
        The dtype that it computes in, whatever x is; empty for that of x.
    """

    framework: str
    layer: str
    options: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    computes_in: str = ""


EMA = ("hidden", "average", "counter")
HAIKU = {f"{of}_ema.{name}": f"{of}_ema/{name}" for of in ("mean", "var") for name in EMA}
BATCH_STATS = {"batch_stats.mean": "mean", "batch_stats.var": "var"}

RAN = {
    "torch": Theirs("torch", "torch.nn.BatchNorm2d"),
    "keras": Theirs("keras", "keras.layers.BatchNormalization", computes_in="float32"),
    "flax": Theirs("flax", "flax.linen.BatchNorm", names=BATCH_STATS),
    "haiku": Theirs(
        "haiku",
        "haiku.BatchNorm",
        {"create_scale": True, "create_offset": True, "decay_rate": 0.9},
        HAIKU,
    ),
    "equinox-ema": Theirs("equinox", "equinox.nn.BatchNorm, mode=ema"),
    "equinox-batch": Theirs("equinox", "equinox.nn.BatchNorm, mode=batch"),
    "tinygrad": Theirs("tinygrad", "tinygrad.nn.BatchNorm"),
    "tf-fused": Theirs(
        "tensorflow", "tf.compat.v1.nn.fused_batch_norm", {"exponential_avg_factor": 0.1}
    ),
    "mxnet": Theirs(
        "mxnet",
        "mxnet.gluon.nn.BatchNorm",
        {"eps": 1e-5, "fix_gamma": False},
        {"running_mean": "moving_mean", "running_var": "moving_var"},
    ),
    "paddle": Theirs("paddle", "paddle.nn.BatchNorm2D"),
    "mindspore": Theirs("mindspore", "mindspore.nn.BatchNorm2d"),
    "mlx": Theirs("mlx", "mlx.nn.BatchNorm"),
    "chainer": Theirs("chainer", "chainer.links.BatchNormalization"),
}
"""The rows whose framework can be installed, and the layer that is measured."""

ELSEWHERE = {
    "caffe": "tests/dialects/goldens/caffe",
    "inplace-abn": "tests/dialects/goldens/make_inplace_abn.py",
    "onnx-9": "tests/with_frameworks/test_onnx.py",
    "onnx-14": "tests/with_frameworks/test_onnx.py",
    "onnx-15": "tests/with_frameworks/test_onnx.py",
}
"""The rows that are held to what their framework computed by other tests."""


@contextmanager
def hosted(framework: str, target: str, request: AuditRequest) -> Iterator[Host]:
    """A target under the Python of a framework's environment."""
    host = Host(Interpreter(str(python_of(framework)), {}, request, ()), target, SECONDS)
    try:
        yield host
    finally:
        host.kill()


@contextmanager
def found(theirs: Theirs) -> Iterator[tuple[Subject, dict[str, str]]]:
    """The framework's layer in training, and the versions that it ran with."""
    name = theirs.framework
    if name == "tinygrad" and not shutil.which("clang"):
        pytest.skip("tinygrad compiles with clang, which is not installed")
    if is_installed(name):
        subjects = layers_of(name, "train")
        yield one_of(subjects, theirs), environment((name,))
        return
    with hosted(name, name, AuditRequest(modes="train")) as host:
        subjects = host.subjects(lambda _: None)
        host.begin()
        yield one_of(subjects, theirs), host.told


def python_of(framework: str) -> Path:
    """The interpreter of a framework's own environment."""
    python = ROOT / f".venv-dialects-{framework}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{framework} is not installed; make dialects-verified has it")
    return python


def one_of(subjects: tuple[Subject, ...], theirs: Theirs) -> Subject:
    """The subject of that name."""
    return next(s for s in subjects if s.name.partition(" on ")[0] == theirs.layer)


def law(subject: Subject) -> tuple[str, str]:
    """How it normalizes, and how its running statistics follow: in the audit's words."""
    # In one dtype: to compile for another takes JAX a minute.
    subject = replace(subject, dtypes=subject.dtypes[-1:])
    measurements = measure(subject, SEED)
    laws = laws_of(subject, measurements, SEED)
    examination = Examination(subject, measurements, judge(subject, measurements), SEED, laws)
    return examination.record.law, running_law(examination).state


def steps(subject: Subject, sizes: tuple[int, ...]) -> list[Step]:
    """Training steps with batches of those sizes, in the subject's finest dtype."""
    rng, dtype = np.random.default_rng(SEED), subject.dtypes[-1]

    def drawn(mean: float, *shape: int) -> Any:
        return rng.normal(mean, 1.5, shape).astype(dtype)

    shapes = [(size, *subject.sample_shape) for size in sizes]
    return [Step(drawn(0.5, *s), drawn(1.0, C), drawn(0.0, C), drawn(0.0, *s)) for s in shapes]


@pytest.mark.parametrize("dialect", RAN)
def test_the_row_has_the_law_the_numbers_and_the_version_of_its_framework(dialect: str) -> None:
    """What the audit says of both, each array over three steps, and what the source tells.

    One test, since some frameworks need a quarter of a minute to start.
    """
    theirs = RAN[dialect]
    with found(theirs) as (subject, versions):
        row = as_row(subject, dialect, theirs.options, theirs.names)
        assert law(subject) == law(row)
        if row_of(dialect).copied_updates.known == 0:
            # Another starts after its first update, so that the law does not show the copy.
            assert dialect in law(row)[1].rpartition(": ")[2].rstrip(".").split(", ")
        limit = FRAMEWORK_PARTS[theirs.computes_in or subject.dtypes[-1]]
        assert_same_numbers(subject, row, limit)
        assert_same_answer_to_one_value(subject, row, limit)
        version = versions[theirs.framework].partition("+")[0]
    assert f" {version} ran on the " in row_of(dialect).source


def assert_same_numbers(subject: Subject, row: Subject, limit: float) -> None:
    """Compare y, the gradients and the state of both over three steps."""
    theirs, ours = subject.runner, row.runner
    for place, step in enumerate(steps(subject, (4, 9, 3))):
        arguments = (step.x, step.gamma, step.beta, step.dy)
        wanted, got = theirs.run(*arguments), ours.run(*arguments)
        for name in ("y", "dx", "dgamma", "dbeta"):
            assert parts(getattr(got, name), getattr(wanted, name)) <= limit, (place, name)
        theirs, ours = theirs.after([step]), ours.after([step])
        for name, value in theirs.state().items():
            assert parts(np.reshape(ours.state()[name], value.shape), value) <= limit, (place, name)


def assert_same_answer_to_one_value(subject: Subject, row: Subject, limit: float) -> None:
    """Compare what training does with one value per channel: an error, or y and the state."""
    places = (1,) * (len(subject.sample_shape) - 1)
    (step,) = steps(replace(subject, sample_shape=(C, *places)), (1,))
    theirs, ours = (answer(one.runner, step) for one in (subject, row))
    assert (theirs is None) == (ours is None)
    if theirs is not None and ours is not None:
        (y, state), (wanted_y, wanted) = ours, theirs
        assert parts(y, wanted_y) <= limit
        for name, value in wanted.items():
            got = np.reshape(state[name], value.shape)
            assert np.array_equal(np.isnan(got), np.isnan(value)), name
            assert parts(np.nan_to_num(got), np.nan_to_num(value)) <= limit, name


def answer(runner: Runner, step: Step) -> tuple[Any, Mapping[str, Any]] | None:
    """What a call gives and leaves; None if it raises."""
    try:
        y = runner.forward(step.x, step.gamma, step.beta)
        return y, runner.after([step]).state()
    except Exception:  # noqa: BLE001 - each framework has its own
        return None


def test_tensorflow_takes_an_eps_that_it_once_raised() -> None:
    """The least was 1.001e-5 in older versions."""
    target = f"{Path(__file__).with_name('small_eps.py')}:small_eps"
    with hosted("tensorflow", target, AuditRequest(kind="batch", modes="train")) as host:
        (subject,) = host.subjects(lambda _: None)
        assert "eps 1e-06 inside the root" in law(subject)[0]
    assert bn.BatchNorm(2, dialect="tf-fused", epsilon=1e-6).options["epsilon"] == 1e-6


def test_paddle_has_no_weight_with_weight_attr_false() -> None:
    """Nor has the row; older versions kept ones."""
    request = AuditRequest("batch", {"num_features": C, "weight_attr": False}, "train")
    with hosted("paddle", "paddle.nn:BatchNorm2D", request) as host:
        (subject,) = host.subjects(lambda _: None)
        assert (subject.has_gamma, subject.has_beta) == (False, True)
    assert "weight" not in bn.BatchNorm(C, dialect="paddle", weight_attr=False).state()


def test_each_row_that_says_it_ran_has_a_test() -> None:
    """And every other row says why its framework did not."""
    told = {name for name in DIALECTS if "not run" not in row_of(name).source}
    assert told == RAN.keys() | ELSEWHERE.keys()
    assert [path for path in ELSEWHERE.values() if not (ROOT / path).exists()] == []
