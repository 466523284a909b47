"""The part about training shows what was recorded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from browser.chromium import Tab

ENDS = """[...document.querySelectorAll('[data-quantity={}] .curve')].map(
    curve => curve.getAttribute('d').split('L').pop().split(' ').map(Number))"""
"""The last point of each curve, in the pixels of its panel."""

LINES = """[...document.querySelectorAll('[data-quantity={}] .grid')].map(
    (line, k) => [Number(line.getAttribute('y1')),
                  Number(line.nextElementSibling.textContent)])"""
"""Height and value of each line of the grid."""


def runs(experiment: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    """Return the runs with some values."""
    return [run for run in experiment["runs"] if fields.items() <= run.items()]


def choose(lab: Tab, network: str, rate: int) -> None:
    """Choose a network, and the learning rate by its place in the list."""
    lab.click(f"#training-network input[value={network}]")
    lab.value(
        f"(s => {{ s.value = {rate}; s.dispatchEvent(new Event('input')) }})"
        "(document.getElementById('training-rate'))"
    )


@pytest.mark.parametrize("network", ["mlp", "resnet"])
@pytest.mark.parametrize("rate", [0, 1])
def test_the_words_have_the_recorded_counts(
    lab: Tab, experiment: dict[str, Any], network: str, rate: int
) -> None:
    """The median of the seeds, by the running statistics and by those of the test images."""
    choose(lab, network, rate)
    said = lab.value("document.getElementById('training-verdict').innerText")
    value = experiment["rates"][rate]
    chosen = {name: runs(experiment, network=network, rate=value, through=name) for name in
              experiment["through"]}  # fmt: skip
    expected = [
        np.median([run[count] for run in chosen[name]])
        for count in ("right", "right_by_batch")
        for name in experiment["through"]
    ]
    shown = [int(word) for word in re.findall(r"\d+", said.partition(":")[2])]
    assert np.abs(np.array(shown) - expected).max() <= 0.5
    assert said.startswith(f"Learning rate {value}, median of 2 seeds, images of 360")


@pytest.mark.parametrize("quantity", ["loss", "accuracy", "weight_norm", "gradient_norm"])
def test_a_curve_ends_at_the_median_of_the_seeds(
    lab: Tab, experiment: dict[str, Any], quantity: str
) -> None:
    """Read from the lines of the grid, to half a pixel."""
    choose(lab, "resnet", 0)
    ends = np.array(lab.value(ENDS.format(quantity)))
    lines = np.array(lab.value(LINES.format(quantity)))
    if quantity != "accuracy":
        lines[:, 1] = np.log(lines[:, 1])
    per_pixel = (lines[1, 1] - lines[0, 1]) / (lines[1, 0] - lines[0, 0])
    shown = lines[0, 1] + (ends[:, 1] - lines[0, 0]) * per_pixel
    expected = [
        np.median([run[quantity][-1] for run in runs(experiment, through=name, rate=0.1,
                                                   network="resnet")])
        for name in experiment["through"]
    ]  # fmt: skip
    if quantity != "accuracy":
        expected = np.log(expected).tolist()
    assert np.abs(shown - expected).max() < abs(per_pixel) / 2


def test_a_run_that_left_the_numbers_is_left_out(lab: Tab) -> None:
    """A value that is not finite is null in the recording; the others of its epoch are shown."""
    curve = "curveOf([{loss: [1, null]}, {loss: [3, null]}, {loss: [8, null]}], 'loss')"
    source = "document.querySelector('script[type=module]').textContent"
    functions = f"new Function({source}.split('const TEXTS')[0] + 'return ' + {{0}})()"
    assert lab.value(functions.format(f"`{curve}`")) == [{"median": 3, "low": 1, "high": 8}, None]
