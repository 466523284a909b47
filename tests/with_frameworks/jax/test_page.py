"""The examples of docs/jax.md and of the docstrings run, where JAX is."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

pytest.importorskip("jax")

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

MODULES = {
    "engine.functional": "jax",
    "conversion": "flax",
    "layers.linen": "flax",
    "layers.nnx": "flax",
    "layers.haiku": "haiku",
    "layers.equinox": "equinox",
}
"""Modules of backnorm.jax with examples, and what they need."""

PAGE = Path(__file__).parents[3] / "docs" / "jax.md"


def test_the_page_runs() -> None:
    """Block after block, in one namespace."""
    pytest.importorskip("sklearn")
    pytest.importorskip("flax")
    document = Sybil([PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS)]).parse(PAGE)
    examples = list(document.examples())
    assert examples
    for example in examples:
        example.evaluate()


@pytest.mark.parametrize("name", MODULES)
def test_the_docstrings_run(name: str) -> None:
    """Their numbers are those that come out."""
    pytest.importorskip(MODULES[name])
    failed, attempted = doctest.testmod(importlib.import_module(f"backnorm.jax.{name}"))
    assert attempted > 0
    assert failed == 0
