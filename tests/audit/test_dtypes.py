"""Dtypes and their rounding."""

from __future__ import annotations

import numpy as np
import pytest

from backnorm.audit.measure.dtypes import dtype_info

BFLOAT16 = {
    1.0: 1.0,
    1 + 2.0**-8: 1.0,  # a tie, to even
    1 + 3 * 2.0**-8: 1 + 2.0**-6,  # a tie, to even
    1 + 2.0**-8 + 2.0**-20: 1 + 2.0**-7,
    -1 - 2.0**-7: -1 - 2.0**-7,
    3.3895313892515355e38: 3.3895313892515355e38,
    3.4e38: np.inf,
    0.0: 0.0,
}


@pytest.mark.parametrize("value", BFLOAT16)
def test_bfloat16_is_rounded_to_even(value: float) -> None:
    """Eight digits, and the range of float32; what is larger is infinite."""
    got = dtype_info("bfloat16").rounded(np.array([value]))
    assert got.tolist() == [BFLOAT16[value]]
    assert got.dtype == np.float32


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_numpys_dtypes_have_its_limits(name: str) -> None:
    """Their numbers and their rounding."""
    info, made = np.finfo(name), dtype_info(name)
    assert (made.eps, made.largest, made.smallest) == (info.eps, info.max, info.tiny)
    assert made.rounded(np.array([1 / 3])).tolist() == [float(np.dtype(name).type(1 / 3))]


def test_bfloat16_has_its_numbers() -> None:
    """1 + eps is the next value after 1, and the largest is the last before infinity."""
    made = dtype_info("bfloat16")
    values = np.array([1 + made.eps, 1 + made.eps / 2, made.largest, made.smallest])
    assert made.rounded(values).tolist() == [1 + made.eps, 1.0, made.largest, made.smallest]
