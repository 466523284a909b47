"""The same steps for every framework: three in training, one in eval, all compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from backnorm.testing.budget import FRAMEWORK_PARTS, parts

if TYPE_CHECKING:
    import backnorm as bn

C = 5
STEPS = 4

GRADIENTS = ("dx", "dgamma", "dbeta")


class Theirs(Protocol):
    """A framework's layer."""

    def step(self, x: Any, dy: Any, *, training: bool) -> dict[str, Any]:
        """Give y and the gradients that there are, after a forward and a backward pass."""
        ...

    def state(self) -> dict[str, Any]:
        """Give all arrays under the dialect's names."""
        ...


def parameters(names: dict[str, float], seed: int = 1) -> dict[str, Any]:
    """A state to start from: random where a spread is given."""
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(0.5, 2, C) * spread for name, spread in names.items()}


def assert_same_steps(
    layer: bn.BatchNorm,
    theirs: Theirs,
    shape: tuple[int, ...],
    dtype: str,
    *,
    computes_in: str | None = None,
) -> None:
    """Compare y, the gradients that the framework has, and every array after each step."""
    rng = np.random.default_rng(0)
    limit = FRAMEWORK_PARTS[computes_in or dtype]
    for step in range(STEPS):
        training = step < STEPS - 1
        layer = layer.train() if training else layer.eval()
        x = rng.normal(0.5, 1.5, shape).astype(dtype)
        dy = rng.normal(size=shape).astype(dtype)
        wanted = theirs.step(x, dy, training=training)
        assert parts(layer.forward(x), wanted["y"]) <= limit, (step, "y")
        g = layer.backward(dy)
        for name in GRADIENTS:
            if name in wanted:
                assert parts(getattr(g, name), wanted[name]) <= limit, (step, name)
        state, wanted_state = layer.state(), theirs.state()
        assert set(state) == set(wanted_state)
        for name, value in wanted_state.items():
            assert parts(state[name], np.reshape(value, state[name].shape)) <= limit, (step, name)
