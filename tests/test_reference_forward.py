"""The reference's forward pass against exact arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm import reference
from oracles import exact
from oracles.small_cases import BATCH_CASES, CASES
from oracles.tolerance import assert_close, largest

if TYPE_CHECKING:
    from oracles.small_cases import Case

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@by_name
def test_output_is_exact(case: Case) -> None:
    """Y agrees with exact arithmetic."""
    got = reference.forward(case.x, case.gamma, case.beta, **case.options)
    want = exact.forward(case.x, case.gamma, case.beta, **case.options)
    assert_close(got.y, want.y, condition=case.condition)


@by_name
def test_statistics_are_exact(case: Case) -> None:
    """Mean, var and inv_std agree with exact arithmetic."""
    got = reference.forward(case.x, **case.options)
    want = exact.forward(case.x, **case.options)
    assert_close(got.mean, want.mean)
    assert_close(got.var, want.var, scale=case.eps, condition=case.condition)
    assert_close(got.inv_std, want.inv_std, condition=case.condition)


@by_name
def test_n_counts_what_is_reduced(case: Case) -> None:
    """N times the number of channels is the number of values."""
    assert (
        reference.forward(case.x, **case.options).n * case.shape[case.channel_axis] == case.x.size
    )


@pytest.mark.parametrize("case", BATCH_CASES, ids=lambda case: case.name)
def test_x_hat_has_mean_zero(case: Case) -> None:
    """The sum of x_hat over a channel is zero."""
    x_hat = reference.forward(case.x, **case.options).x_hat
    sums = np.moveaxis(x_hat, case.channel_axis, 0).reshape(len(case.vectors[0]), -1).sum(axis=1)
    assert_close(sums, np.zeros_like(sums), condition=case.condition, scale=max(largest(x_hat), 1))


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "longdouble", "int32"])
def test_real_formats_are_widened(name: str) -> None:
    """Every real format gives float64, computed in float64."""
    x = np.array([[1], [2], [4]], dtype=name)
    fwd = reference.forward(x)
    assert fwd.y.dtype == np.float64
    assert_close(fwd.y, exact.forward(x).y)


def test_complex_stays_complex() -> None:
    """A complex input is squared, not multiplied by its conjugate."""
    x = np.array([[1j], [-1j]])
    fwd = reference.forward(x, eps=5.0)
    assert fwd.y.dtype == np.complex128
    assert fwd.var.tolist() == [-1.0]
    assert fwd.y[:, 0].tolist() == [0.5j, -0.5j]


def test_nan_stays_in_its_channel() -> None:
    """NaN spoils its own channel and no other."""
    x = np.array([[np.nan, 0.0], [1.0, 2.0]])
    y = reference.forward(x, eps=0.0).y
    assert np.isnan(y[:, 0]).all()
    assert y[:, 1].tolist() == [-1.0, 1.0]


def test_argument_is_not_written_to() -> None:
    """The results are new arrays, also where nothing has to be converted."""
    x, mean, var = np.zeros((2, 1)), np.array([1.0]), np.array([4.0])
    fwd = reference.forward(x, eps=0.0, running_mean=mean, running_var=var)
    assert fwd.y[:, 0].tolist() == [-0.5, -0.5]
    assert not np.shares_memory(fwd.mean, mean)
    assert not np.shares_memory(fwd.var, var)
    assert x.tolist() == [[0.0], [0.0]]
