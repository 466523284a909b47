"""Every kernel, format, layout, activation, kind of statistics, with and without a residual."""

from __future__ import annotations

from functools import cache
from itertools import product

import pytest

import backnorm as bn
from backnorm.testing.cases import ACTIVATIONS, DTYPES, KERNELS, LAYOUTS, MODES, THROUGHS, make
from kernels.expected import Expected, Options, expected, statistics

SHAPES = {"small planes": (4, 5, 3, 7), "large planes": (2, 3, 17, 16)}

OPTIONS = [
    Options(mode, activation, residual)
    for mode, activation, residual in product(MODES, ACTIVATIONS, (False, True))
]

by_kernel = pytest.mark.parametrize("kernel", KERNELS)
by_dtype = pytest.mark.parametrize("dtype", DTYPES)
by_layout = pytest.mark.parametrize("layout", LAYOUTS)


@cache
def results(shape: str, dtype: str, options: Options) -> Expected:
    """What the engine should give: the same for every kernel and layout."""
    return expected(make(SHAPES[shape], dtype), options)


@by_kernel
@by_layout
@by_dtype
def test_every_combination_keeps_the_budget(kernel: str, layout: str, dtype: str) -> None:
    """Forward and backward agree with exact arithmetic, whatever is combined with whatever."""
    for shape, options in product(SHAPES, OPTIONS):
        batch = make(SHAPES[shape], dtype).laid_out(layout)
        want = results(shape, dtype, options)
        fwd = options.forward(batch, kernel)
        g = bn.batch_norm_backward(batch.dy, fwd, kernel=kernel)
        want.judge(y=fwd.y, dx=g.dx, dgamma=g.dgamma, dbeta=g.dbeta)
        if options.residual:
            want.judge(dresidual=g.dresidual)


@by_kernel
@by_layout
@by_dtype
def test_every_way_through_keeps_the_budget(kernel: str, layout: str, dtype: str) -> None:
    """dx through the mean, the variance, both or none; with frozen statistics always none."""
    for shape, mode, activation in product(SHAPES, MODES, ("identity", "relu")):
        batch = make(SHAPES[shape], dtype).laid_out(layout)
        fwd = Options(mode, activation).forward(batch, kernel)
        for through in THROUGHS:
            want = results(shape, dtype, Options(mode, activation, through=through))
            g = bn.batch_norm_backward(batch.dy, fwd, through=through, kernel=kernel)
            want.judge(dx=g.dx, dgamma=g.dgamma, dbeta=g.dbeta)


@by_kernel
@by_layout
@by_dtype
def test_statistics_are_those_of_the_batch(kernel: str, layout: str, dtype: str) -> None:
    """mean, var and inv_std in float64, n as counted, whatever the format of x."""
    batch = make(SHAPES["small planes"], dtype).laid_out(layout)
    fwd = bn.batch_norm(batch.x, kernel=kernel)
    statistics(batch).judge(mean=fwd.mean, var=fwd.var, inv_std=fwd.inv_std)
    assert fwd.n == 4 * 3 * 7
