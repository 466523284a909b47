"""`backnorm bench --op jax`: what it times beside ours, that it computes the same, and refusals."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("jax")

import jax

from backnorm import reference
from backnorm.bench import engine, peers, run, suites
from backnorm.bench.options import BenchOptions
from backnorm.cli import main
from backnorm.testing.budget import FRAMEWORK_PARTS, parts

SHAPE = (4, 3, 5, 2)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_ours_is_the_step_of_the_reference(layout: str) -> None:
    """All four results, with the channels back at axis 1."""
    from backnorm.jax.layer_step import JaxStep  # noqa: PLC0415 - only where JAX is there

    arrays = engine.data(SHAPE, layout, "float32")
    step = JaxStep(arrays.x, arrays.dy, arrays.gamma, arrays.beta, layout=layout)
    found = step.results()
    want = reference.backward(arrays.dy, arrays.x, arrays.gamma)
    y = reference.forward(arrays.x, arrays.gamma, arrays.beta).y
    for name, exact in {"y": y, "dx": want.dx, "dgamma": want.dgamma, "dbeta": want.dbeta}.items():
        assert parts(found[name], exact) <= FRAMEWORK_PARTS["float32"], name


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_peers_compute_the_same(layout: str) -> None:
    """Each of them a whole step, of the same values."""
    rng = np.random.mtrand._rand
    state = rng.get_state()
    try:
        np.random.seed(0)  # noqa: NPY002 - peers.py draws with it
        steps = peers.jax_steps(layout, "float32", list(SHAPE))
    finally:
        rng.set_state(state)
    assert set(steps) >= {"jax.numpy", "flax formula"}
    found = {name: _arrays(step()) for name, step in steps.items()}
    want = found.pop("jax.numpy")
    for name, results in found.items():
        for got, wanted in zip(results, want, strict=True):
            assert parts(got, wanted) <= FRAMEWORK_PARTS["float32"] * 10, name


def _arrays(results: Any) -> list[Any]:
    """Y and the three gradients."""
    y, _, *gradients = results
    return [np.asarray(value) for value in jax.tree.leaves((y, gradients))]


def test_a_run_has_a_row_for_each_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the versions that its times depend on."""
    case = suites.BenchCase("made up", SHAPE, 1)
    module = sys.modules[run.__module__]
    monkeypatch.setattr(module, "cases", lambda _: [case])
    options = BenchOptions("small", ("nchw", "nhwc"), "float32", ("jax",), (), (), 1, "float64")
    rows = list(run(options))
    assert [row.layout for row in rows] == ["nchw", "nhwc"]
    assert all(row.to_frameworks["jax.numpy"] > 0 for row in rows)
    assert module.result(rows)["environment"]["jax"] == jax.__version__


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sums", "exact"], "--sums cannot be used with --op jax"),
        (["--peers", "jax"], "--peers cannot be used with --op jax, whose peers are jax.numpy"),
    ],
)
def test_an_option_without_effect_is_refused(arguments: list[str], message: str) -> None:
    """In one line."""
    result = CliRunner().invoke(main, ["bench", "--op", "jax", *arguments])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
