"""Both ways to compute the primitives, and float64 where a test asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=["kernels", "jax.numpy"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Who computes: the C++ kernels, or the formulas as on other platforms."""
    jax = pytest.importorskip("jax")
    from backnorm.jax.engine import handlers, lowering  # noqa: PLC0415 - only where JAX is there

    if request.param == "kernels" and not handlers.has_kernels():
        pytest.skip("the C++ part was built without the headers of jaxlib")
    lowering.register(handlers.HANDLERS if request.param == "kernels" else {})
    jax.clear_caches()
    yield request.param
    lowering.register(handlers.HANDLERS)
    jax.clear_caches()


@pytest.fixture
def x64() -> Iterator[None]:
    """Switch float64 on."""
    pytest.importorskip("jax")
    import numpy as np  # noqa: PLC0415 - beside it

    from backnorm.host.calls.jax import double  # noqa: PLC0415 - imports JAX

    with double([np.zeros(1)]):
        yield
