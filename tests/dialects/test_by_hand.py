"""Two batches of four values, worked out by hand for every dialect."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import backnorm as bn
from backnorm.dialects import DIALECTS, row_of
from backnorm.dialects.settings import settings_of
from backnorm.testing.budget import SHOWN_DIGITS, parts
from dialects.layers import GOLDENS

if TYPE_CHECKING:
    from pathlib import Path

FILES = sorted(GOLDENS.glob("*.json"))


def example(path: Path) -> dict[str, Any]:
    """One golden."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_every_dialect_has_one() -> None:
    """A row without a golden is a claim."""
    assert {example(path)["dialect"] for path in FILES} == set(DIALECTS)


NEEDED = {"dialect", "options", "made", "date", "batches", "states"}
FIRST_BATCH = {"y", "dy", "dx", "dgamma", "dbeta"}
STATE_ALONE = {"chainer", "inplace-abn"}
"""Recorded without an output and gradients."""


def test_a_golden_has_what_the_recipe_says() -> None:
    """Its origin, the state after each batch, and the output and gradients of the first."""
    assert {path.stem: NEEDED - example(path).keys() for path in FILES} == {
        path.stem: set() for path in FILES
    }
    complete = {g["dialect"] for g in map(example, FILES) if g.keys() >= FIRST_BATCH}
    assert set(DIALECTS) - complete == STATE_ALONE


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_numbers_are_those_worked_out_by_hand(path: Path) -> None:
    """The state after each batch, what eval reads then, and y and the gradients of the first."""
    golden = example(path)
    layer = bn.BatchNorm(1, dialect=golden["dialect"], **golden["options"])
    row, settings = row_of(golden["dialect"]), settings_of(layer._row, golden["options"])
    for step, batch in enumerate(golden["batches"]):
        y = layer.forward(np.array(batch, float)[:, None])
        dy = np.array(golden.get("dy", [1, 0, 0, 0]), float)[:, None]
        g = layer.backward(dy)
        if step == 0:
            got = {"y": y.ravel(), "dx": g.dx.ravel(), "dgamma": g.dgamma, "dbeta": g.dbeta}
            for name in set(got) & set(golden):
                if got[name] is not None:
                    assert parts(got[name], golden[name]) <= SHOWN_DIGITS, name
        state = layer.state()
        for name, value in golden["states"][step].items():
            assert parts(state[name].ravel(), [value]) <= SHOWN_DIGITS, (step, name)
        if "eval" in golden:
            read = np.ravel(layer._stored.eval_statistics(row, settings))
            assert parts(read, golden["eval"][step]) <= SHOWN_DIGITS, step


def test_the_dialects_differ_where_they_are_said_to() -> None:
    """The same two batches end in more than one state: the goldens could not all be one formula."""
    ends = {json.dumps(sorted(example(path)["states"][1].values())) for path in FILES}
    assert len(ends) >= 11
