"""backnorm.jax under each transformation of JAX, in float64, beside the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

from jax import lax  # noqa: E402
from jax import numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

from backnorm.jax import batch_norm  # noqa: E402
from with_frameworks.jax.formulas import ACTIVATIONS, draw, normalized, parts  # noqa: E402

pytestmark = pytest.mark.usefixtures("way", "x64")

CLOSE = 1e-11
"""In parts of the largest value; float64 in another order of summation differs by up to 1e-13."""
THROUGH = ("both", "mean", "variance", "none")
X, SCALE, BIAS = draw(4, 3, 5), draw(5, seed=1), draw(5, seed=2)
MANY = draw(6, 4, 3, 5, seed=3)
WEIGHTS = draw(4, 3, 5, seed=4)


def ours(x: Any, scale: Any = None, bias: Any = None, **options: Any) -> jax.Array:
    """The output alone."""
    return batch_norm(x, scale, bias, **options).y


def weighted(function: Any, **options: Any) -> Any:
    """A loss of a function."""
    return lambda *operands: (WEIGHTS * function(*operands, **options)).sum()


def hidden(function: Any, **options: Any) -> Any:
    """A loss of a function that is nonlinear in its output, so that all orders are there."""
    return lambda *operands: jnp.sin(WEIGHTS * function(*operands, **options)).sum()


def check_orders(function: Any, operands: Any) -> None:
    """Compare the derivatives of a compiled function with differences, to order 3."""
    compiled = jax.jit(function)
    check_grads(compiled, operands, 3, modes=("fwd", "rev"), eps=1e-4, rtol=1e-3, atol=1e-3)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_derivatives_are_those_of_differences_to_order_3(activation: str) -> None:
    """In both modes, and in each mix of them that JAX tries."""
    x, residual = draw(3, 2, 2, seed=5), draw(3, 2, 2, seed=6)

    def function(x: Any, scale: Any, bias: Any, residual: Any) -> Any:
        return ours(x, scale, bias, residual=residual, activation=activation)

    operands = (x, draw(2, seed=7), draw(2, seed=8), residual)
    check_orders(function, operands)


@pytest.mark.thorough
def test_statistics_have_derivatives() -> None:
    """They are functions of x, to order 3."""

    def function(x: Any) -> Any:
        batch = batch_norm(x)
        return batch.y, batch.mean, batch.var, batch.inv_std

    check_orders(function, (X[:, :2, :2],))


@pytest.mark.thorough
def test_given_statistics_have_derivatives() -> None:
    """They are arguments like any other, to order 3."""

    def function(*operands: Any) -> Any:
        x, scale, bias, mean, var = operands
        return ours(x, scale, bias, mean=mean, var=var, activation="leaky_relu")

    operands = (X[:2, :2, :2], SCALE[:2], BIAS[:2], draw(2, seed=9), draw(2, seed=9) ** 2 + 0.5)
    check_orders(function, operands)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gradient_is_that_of_the_definition(axis: int, activation: str) -> None:
    """With respect to all arrays, on any axis."""
    c = X.shape[axis]
    operands = (X, draw(c, seed=1), draw(c, seed=2), draw(*X.shape, seed=5))

    def gradients(function: Any) -> Any:
        def loss(x: Any, scale: Any, bias: Any, residual: Any) -> Any:
            y = function(x, scale, bias, axis=axis, residual=residual, activation=activation)
            return (WEIGHTS * y).sum()

        return jax.jit(jax.value_and_grad(loss, (0, 1, 2, 3)))(*operands)

    assert parts(gradients(ours), gradients(normalized)) < CLOSE


@pytest.mark.parametrize("through", THROUGH)
def test_a_cut_gradient_is_that_of_stop_gradient(through: str) -> None:
    """In reverse mode, in forward mode, and in the second order."""

    def results(function: Any) -> Any:
        loss = hidden(function, through=through)
        step = jax.jvp(loss, (X, SCALE, BIAS), (WEIGHTS, BIAS, SCALE))[1]
        return jax.grad(loss, (0, 1, 2))(X, SCALE, BIAS), step, jax.hessian(loss)(X, SCALE, BIAS)

    assert parts(results(ours), results(normalized)) < CLOSE


@pytest.mark.parametrize("where", [0, 1, 2, 3])
def test_vmap_over_x_on_any_axis(where: int) -> None:
    """Each of the mapped arrays has its own statistics."""
    mapped = np.moveaxis(MANY, 0, where)

    def results(function: Any) -> Any:
        return jax.vmap(function, (where, None, None), where)(mapped, SCALE, BIAS)

    assert parts(results(ours), results(normalized)) < CLOSE


@pytest.mark.parametrize("dims", [(None, 0, None), (0, 1, 0), (None, 0, 0)])
def test_vmap_over_parameters(dims: tuple[int | None, ...]) -> None:
    """Over the scale alone, over both, and over all with x."""
    operands = [
        value if dim is None else many
        for dim, value, many in zip(
            dims,
            (X, SCALE, BIAS),
            (MANY, draw(6, 5, seed=6) if dims[1] == 0 else draw(5, 6, seed=6), draw(6, 5, seed=7)),
            strict=True,
        )
    ]

    def results(function: Any) -> Any:
        def of(x: Any, scale: Any, bias: Any) -> Any:
            return jax.grad(weighted(function, activation="relu"), (0, 1, 2))(x, scale, bias)

        return jax.vmap(of, dims)(*operands), jax.vmap(function, dims)(*operands)

    assert parts(results(ours), results(normalized)) < CLOSE


def test_vmap_of_given_statistics() -> None:
    """The same statistics for all, and each its own."""
    means, variances = draw(6, 5, seed=8), draw(6, 5, seed=9) ** 2 + 0.5
    same = jax.vmap(lambda x: ours(x, SCALE, BIAS, mean=means[0], var=variances[0]))(MANY)
    assert parts(same, (MANY - means[0]) / np.sqrt(variances[0] + 1e-5) * SCALE + BIAS) < CLOSE
    own = jax.vmap(lambda x, mean, var: ours(x, mean=mean, var=var))(MANY, means, variances)
    shape = (6, 1, 1, 5)
    assert (
        parts(own, (MANY - means.reshape(shape)) / np.sqrt(variances.reshape(shape) + 1e-5)) < CLOSE
    )


def test_gradient_of_vmap_and_vmap_of_gradient() -> None:
    """Both orders, twice: the mapped axis joins the channels in each derivative."""
    weights = draw(*MANY.shape, seed=5)

    def results(function: Any) -> Any:
        def of_all(many: Any, scale: Any) -> Any:
            y = jax.vmap(function, (0, None, None))(many, scale, BIAS)
            return jnp.sin(weights * y).sum()

        inner = jax.vmap(jax.grad(hidden(function), (0, 1, 2)), (0, None, None))
        second = jax.vmap(jax.hessian(hidden(function), 1), (0, None, None))
        twice = jax.vmap(jax.vmap(function, (0, None, None)), (0, None, None))
        return (
            jax.grad(of_all, (0, 1))(MANY, SCALE),
            inner(MANY, SCALE, BIAS),
            second(MANY, SCALE, BIAS),
            twice(MANY.reshape(2, 3, *X.shape), SCALE, BIAS),
        )

    assert parts(results(ours), results(normalized)) < CLOSE


def test_scan_and_checkpoint() -> None:
    """A chain of layers, computed again in the backward pass."""

    def results(function: Any) -> Any:
        def layer(x: Any, _: None) -> tuple[Any, None]:
            return x + function(x, SCALE, BIAS, activation="relu"), None

        def chain(x: Any) -> Any:
            return (WEIGHTS * lax.scan(jax.checkpoint(layer), x, None, length=3)[0]).sum()

        return jax.jit(jax.value_and_grad(chain))(X)

    assert parts(results(ours), results(normalized)) < CLOSE


def test_a_root_through_the_layer() -> None:
    """lax.custom_root differentiates the function at its root in both modes."""

    def root(function: Any) -> Any:
        def solved(shift: Any) -> Any:
            def equation(bias: Any) -> Any:
                y = function(X, SCALE, bias)
                return (y - 2 * shift).mean((0, 1))

            def solve(equation: Any, start: Any) -> Any:
                return start - equation(start)  # it is linear in the bias, with slope 1

            def tangent(step: Any, right: Any) -> Any:
                return right / step(jnp.ones_like(right))

            return lax.custom_root(equation, jnp.zeros(5), solve, tangent)

        return jax.jacrev(solved)(BIAS), jax.jacfwd(solved)(BIAS)

    assert parts(root(ours), root(normalized)) < CLOSE


def test_an_eps_may_be_traced() -> None:
    """Under jit it may be an argument, with a derivative."""

    def results(function: Any) -> Any:
        def loss(x: Any, eps: Any) -> Any:
            return (WEIGHTS * function(x, SCALE, BIAS, eps=eps)).sum()

        return jax.jit(jax.value_and_grad(loss, (0, 1)))(X, 0.1)

    assert parts(results(ours), results(normalized)) < CLOSE


def test_options_may_be_static_arguments() -> None:
    """All but arrays and eps can be hashed."""
    compiled = jax.jit(ours, static_argnames=("axis", "eps", "activation", "through", "sums"))
    got = compiled(X, SCALE, BIAS, axis=-1, eps=1e-3, activation="relu", through="mean")
    assert parts(got, normalized(X, SCALE, BIAS, eps=1e-3, activation="relu")) < CLOSE


def test_a_gradient_is_two_primitives() -> None:
    """One forward, one gradient: nothing of the formulas is left once it is compiled."""
    jaxpr = jax.make_jaxpr(jax.grad(weighted(ours), (0, 1, 2)))(X, SCALE, BIAS)
    names = [equation.primitive.name for equation in jaxpr.eqns]
    assert [name for name in names if name.startswith("backnorm")] == [
        "backnorm_forward",
        "backnorm_gradient",
    ]


def test_a_result_is_a_pytree() -> None:
    """It leaves compiled and mapped functions as it is."""
    batch = jax.jit(batch_norm)(X)
    assert int(batch.n) == 12
    assert jax.tree.map(jnp.shape, batch).mean == (5,)
    assert jax.vmap(batch_norm)(MANY).var.shape == (6, 5)
