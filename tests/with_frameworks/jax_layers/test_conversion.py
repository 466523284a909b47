"""Layers in models of flax.nnx and Equinox are swapped, and swapped back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")

from jax import numpy as jnp  # noqa: E402

from backnorm.errors import DtypeError, NothingConvertedWarning, NotSupportedError  # noqa: E402
from backnorm.jax import conversion_report, convert, revert  # noqa: E402
from with_frameworks.jax_layers.alike import assert_alike, draw, limit_of  # noqa: E402

X = jnp.asarray(draw(8, 3), "float32")


def nnx_model() -> tuple[Any, Any, Any]:
    """Return nnx, a model with three layers, one of them in two places, and the class of one."""
    nnx = pytest.importorskip(
        "flax.nnx", reason="Flax is not installed; make test-frameworks has it"
    )

    class Own(nnx.BatchNorm):  # type: ignore[misc]
        """Computes something else."""

    class Model(nnx.Module):  # type: ignore[misc]
        """Normalizes three times."""

        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            self.norm = nnx.BatchNorm(3, rngs=rngs)
            self.rest = nnx.Sequential(nnx.Linear(3, 3, rngs=rngs), nnx.BatchNorm(3, rngs=rngs))
            self.own = Own(3, rngs=rngs)
            self.again = self.norm

        def __call__(self, x: Any) -> Any:
            """Normalize."""
            return self.own(self.again(self.rest(self.norm(x))))

    return nnx, Model(), Own


def test_a_model_of_nnx_keeps_its_objects() -> None:
    """Layers, variables and an optimizer's references; only classes change."""
    nnx, model, own = nnx_model()
    state, layer, kinds = nnx.state(model), model.norm, nnx.BatchNorm
    want = nnx.clone(model)(X)
    assert convert(model) is model
    assert model.norm is model.again is layer
    assert type(layer).__module__ == "backnorm.jax.layers.nnx"
    assert type(model.own) is own
    assert_alike(nnx.state(model), state, 0.0)
    assert_alike(nnx.jit(lambda model, x: model(x))(nnx.clone(model), X), want, limit_of("float32"))
    assert revert(model) is model
    assert [type(one) for one in (model.norm, model.rest.layers[1])] == [kinds, kinds]


def test_a_report_says_what_became_of_each_layer() -> None:
    """With the reason where a layer was left alone."""
    _, model, _ = nnx_model()
    report = conversion_report(convert(model))
    assert repr(report) == "<JaxReport: 2 of 3 converted, 1 left alone>"
    rows = {row.was: (row.now, row.why) for row in report.entries}
    assert rows.pop("flax.nnx.BatchNorm") == ("backnorm.jax.layers.nnx.BatchNorm", "")
    (other,) = rows.values()
    assert other[1] == "an unknown subclass may compute something else"
    assert "rest.layers.1" in str(report)
    report = conversion_report(revert(model))
    assert (report.converted, report.left_alone) == (0, 3)
    waits = "not converted yet: convert(model) does that"
    assert sorted(row.why for row in report.entries) == [other[1], waits, waits]


def test_complex_layers_are_left_alone() -> None:
    """The engine does not compute them."""
    nnx, _, _ = nnx_model()
    layer = nnx.BatchNorm(3, dtype=jnp.complex64, rngs=nnx.Rngs(0))
    (row,) = conversion_report(convert(layer)).entries
    assert (row.name, row.why) == ("", "the engine does not compute complex64")


@pytest.mark.parametrize("mode", ["batch", "ema"])
def test_a_tree_of_equinox_keeps_its_arrays_and_its_state(mode: str) -> None:
    """The old tree stays as it is, and its state fits the new one, within Sequential too."""
    eqx = pytest.importorskip(
        "equinox", reason="Equinox is not installed; make test-frameworks has it"
    )

    def build() -> Any:
        norm = eqx.nn.BatchNorm(3, axis_name="batch", mode=mode)
        parts = [norm, eqx.nn.Linear(3, 3, key=jax.random.key(0))]
        return eqx.nn.Sequential([*parts, eqx.nn.BatchNorm(3, axis_name="batch", mode=mode)])

    model, state = eqx.nn.make_with_state(build)()
    ours = convert(model)

    def run(model: Any) -> Any:
        call = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
        y, after = call(X, state)
        return y, jax.tree.leaves(after)

    assert type(model.layers[0]) is eqx.nn.BatchNorm
    assert conversion_report(ours).converted == 2
    assert [row.name for row in conversion_report(ours).entries] == ["layers[0]", "layers[2]"]
    assert_alike(run(ours), run(model), limit_of("float32"))
    assert eqx.tree_equal(revert(ours), model)
    assert eqx.tree_equal(revert({"model": ours})["model"], model)
    frozen = eqx.nn.inference_mode(ours)
    assert (frozen.layers[0].inference, ours.layers[0].inference) == (True, False)


def test_what_has_no_layers_is_told() -> None:
    """A warning, as of backnorm.torch."""
    nnx, _, _ = nnx_model()
    with pytest.warns(NothingConvertedWarning, match="Linear has no batch normalization"):
        convert(nnx.Linear(2, 2, rngs=nnx.Rngs(0)))


def test_other_objects_are_refused() -> None:
    """With the way out for modules that build their layers in methods."""
    nn = pytest.importorskip(
        "flax.linen", reason="Flax is not installed; make test-frameworks has it"
    )
    hk = pytest.importorskip("haiku", reason="Haiku is not installed; make test-frameworks has it")
    with pytest.raises(NotSupportedError, match=r"intercept_methods\(backnorm\.jax\.layers\.linen"):
        convert(nn.Dense(3))
    with pytest.raises(NotSupportedError, match=r"intercept_methods\(backnorm\.jax\.layers\.haiku"):
        convert(hk.transform(lambda x: x))
    for function in (convert, revert, conversion_report):
        with pytest.raises(DtypeError, match=r"model must be an nnx\.Module"):
            function({"weights": np.ones(3)})
