"""The table of dialects as text, and the page made from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from backnorm.dialects import DIALECTS, row_of
from backnorm.report.dialects import to_details, to_page, to_table
from backnorm.report.formulas import formulas

PAGE = Path(__file__).parents[2] / "docs" / "dialects.md"


@pytest.mark.parametrize("name", DIALECTS)
def test_all_that_a_row_says_is_shown(name: str) -> None:
    """Title, source, traps and arrays, on the page and in the terminal."""
    row = row_of(name)
    details = " ".join(to_details(name).split())
    page = " ".join(to_page().replace("\\", "").split())
    for text in (row.title, row.source, *row.traps, *(a.name for a in row.arrays.known)):
        assert text in details
        assert text in page


def test_the_table_has_a_line_for_each() -> None:
    """Under its heads and a rule."""
    lines = to_table().splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(DIALECTS)
    assert to_table(["torch"]).splitlines()[2].split() == [
        "torch",
        "momentum=0.1",
        "new",
        "unbiased",
        "forward",
        "eps=1e-05",
        "1",
    ]


def test_no_line_is_wider_than_asked() -> None:
    """But for names that cannot be broken."""
    for name in DIALECTS:
        assert max(map(len, to_details(name, width=80).splitlines()[2:])) <= 90


CAFFE = {
    "output": "y = gamma*(x - m)/sqrt(v + eps) + beta",
    "batch": "m = sum(x)/n, v = sum((x - m)^2)/n",
    "in eval": "m = mean/scale_factor, v = variance/scale_factor (0 where scale_factor is 0)",
    "gradient": "d = gamma*dy/sqrt(v + eps); dx = d - sum(d)/n - x_hat*sum(d*x_hat)/n",
    "gradient in eval": "dx = d",
    "one value a channel": "v = 0, y = beta, dx = 0",
}


def test_the_formulas_are_those_of_the_row() -> None:
    """In the framework's names, with what is peculiar to each."""
    found = list(formulas(row_of("caffe")))
    assert dict(item for item in found if "update" not in item[0]) == CAFFE
    assert [formula for about, formula in found if about == "update in forward"] == [
        "mean <- moving_average_fraction*mean + m",
        "variance <- moving_average_fraction*variance + v*n/(n - 1)",
        "scale_factor <- moving_average_fraction*scale_factor + 1",
    ]
    of = {name: "\n".join(formula for _, formula in formulas(row_of(name))) for name in DIALECTS}
    assert "running_var <- (1 - momentum)*running_var + momentum*v*n/(n - 1)" in of["torch"]
    assert "moving_var <- momentum*moving_var + (1 - momentum)*(1/inv_std^2 - eps)" in of["mxnet"]
    assert (
        "variance <- moving_average_fraction*variance + (1 - moving_average_fraction)*(v + eps)"
        in (of["caffe-nvidia"])
    )
    assert "(abs(weight) + eps)" in of["inplace-abn"]
    assert "var_ema/average = var_ema/hidden/(1 - decay_rate^mean_ema/counter)" in of["haiku"]
    assert "m = running_mean, v = running_var, after their update" in of["equinox-ema"]
    assert "not known" in of["mindspore"]
