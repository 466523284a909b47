"""Wrong arguments: each is refused in words, before anything is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

from backnorm.errors import BacknormError, NotInstalledError  # noqa: E402
from backnorm.jax import batch_norm  # noqa: E402
from backnorm.jax.engine import handlers  # noqa: E402

X = np.ones((4, 3), np.float32)

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"x": np.ones(3, int)}, "x must have one of the dtypes float16, bfloat16, float32, float64"),
    ({"x": np.float32(1)}, "x must have at least 1 axis"),
    ({"x": X[:0]}, "x must have at least one value per channel, got shape (0, 3) with axis=1"),
    ({"axis": 2}, "axis must be an integer from -2 to 1, got 2"),
    ({"axis": "C"}, "axis must be an integer from -2 to 1, got 'C'"),
    ({"scale": X[0, :2]}, "scale must have shape (3,), got (2,). 3 is x.shape[1], since axis=1"),
    ({"bias": X}, "bias must have shape (3,), got (4, 3)"),
    ({"mean": X[0]}, "var must be given together with mean, got None"),
    ({"var": X[0]}, "mean must be given together with var, got None"),
    ({"eps": -1.0}, "eps must be a finite number, 0 or greater, got -1.0"),
    ({"negative_slope": 0.0}, "negative_slope must be"),
    ({"residual": X[:2]}, "residual must have the shape of x, (4, 3), got (2, 3)"),
    ({"residual": X.astype(np.float16)}, "residual must have the dtype of x, float32"),
    ({"mask": X[:, 0]}, "mask must have dtype bool, got float32"),
    ({"mask": X > 0}, "mask must have shape (4,), that of x without its channels, got (4, 3)"),
    ({"activation": "gelu"}, "activation must be"),
    ({"through": "all"}, "through must be"),
    ({"sums": "float32"}, "sums must be"),
    (
        {"sums": "exact", "mask": X[:, 0] > 0, "through": "variance"},
        'sums must be "float64" with a mask and through="variance", got \'exact\'',
    ),
    (
        {"sums": "exact", "axis_name": "batch"},
        "sums must be \"float64\" with an axis_name outside jax.shard_map, got 'exact'",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_wrong_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    """With what it must be, and what it is."""
    with pytest.raises(BacknormError) as refusal:
        batch_norm(**{"x": X, **arguments})
    assert str(refusal.value).startswith(message)


def test_exact_sums_take_a_number_for_eps() -> None:
    """The kernels are compiled for one eps; another one each time goes by the formulas."""
    with pytest.raises(BacknormError, match="with a traced eps"):
        jax.jit(lambda eps: batch_norm(X, eps=eps, sums="exact").y)(1e-5)


def test_exact_sums_need_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are not built, the formulas cannot stand in for them."""
    monkeypatch.setattr(handlers, "HANDLERS", {})
    with pytest.raises(NotInstalledError, match="extension"):
        batch_norm(X, sums="exact")
