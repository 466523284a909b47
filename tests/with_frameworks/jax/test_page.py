"""The examples of docs/jax.md and of the docstrings run, where JAX is."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

pytest.importorskip("jax")

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from backnorm.jax.engine import functional

PAGE = Path(__file__).parents[3] / "docs" / "jax.md"


def test_the_page_runs() -> None:
    """Block after block, in one namespace."""
    pytest.importorskip("sklearn")
    document = Sybil([PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS)]).parse(PAGE)
    examples = list(document.examples())
    assert examples
    for example in examples:
        example.evaluate()


def test_the_docstring_runs() -> None:
    """Its numbers are those that come out."""
    failed, attempted = doctest.testmod(functional)
    assert attempted > 0
    assert failed == 0
