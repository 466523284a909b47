"""What users see: the names, the signatures, the docstrings."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import backnorm as bn
from backnorm import reference

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]

SURFACE = {
    "BatchNorm": "layer",
    "Forward": "class",
    "Gradients": "class",
    "Moments": "state",
    "SecondGradients": "class",
    "audit": "function",
    "batch_norm": "(x, gamma, beta, *)",
    "batch_norm_backward": "(dy, fwd, *)",
    "batch_norm_double_backward": "(ddx, dy, fwd, *)",
    "batch_norm_jvp": "(x_tangent, fwd, *)",
    "convert_state": "(state, source, target, *)",
    "empty_cache": "()",
    "get_num_threads": "()",
    "set_cache_limit": "(limit)",
    "set_num_threads": "(n)",
}
"""Every public name of backnorm; of the engine's functions, what may be passed by position."""

FUNCTIONS = {name: getattr(bn, name) for name, kind in SURFACE.items() if kind.startswith("(")}
ENGINE = [name for name in FUNCTIONS if name.startswith("batch_norm")]
CLASSES = [name for name, kind in SURFACE.items() if kind == "class"]
REFERENCE = [name for name in reference.__all__ if name[0].islower()]

SECTIONS = ("Parameters", "Returns", "Raises", "Notes", "Examples")


def sections(function: Callable[..., Any]) -> list[str]:
    """The underlined headings of a docstring, in order."""
    return re.findall(r"^(\w+)\n-+$", inspect.getdoc(function) or "", re.MULTILINE)


def described(function: Callable[..., Any]) -> list[str]:
    """The names in the Parameters section, in order."""
    text = inspect.getdoc(function) or ""
    part = re.search(r"^Parameters\n-+\n(.*?)(?=^\w+\n-+$|\Z)", text, re.MULTILINE | re.DOTALL)
    lines = part[1].splitlines() if part else []
    names = [line for line in lines if line and not line.startswith(" ")]
    return [name for line in names for name in line.split(", ")]


def by_position(function: Callable[..., Any]) -> str:
    """The signature up to the star, without defaults and types."""
    parameters = inspect.signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    star = ["*"] if any(p.kind is p.KEYWORD_ONLY for p in parameters) else []
    return f"({', '.join(names + star)})"


def test_the_names_are_those_documented() -> None:
    """No more and no fewer, each of them there."""
    assert bn.__all__ == sorted(SURFACE)
    assert all(hasattr(bn, name) for name in bn.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arrays_are_positional_and_all_else_is_by_name(name: str) -> None:
    """A call reads like the mathematics, and an option can be added anywhere."""
    assert by_position(FUNCTIONS[name]) == SURFACE[name]


@pytest.mark.parametrize("name", ENGINE)
def test_every_option_has_a_default(name: str) -> None:
    """The short call is the usual one."""
    parameters = inspect.signature(FUNCTIONS[name]).parameters.values()
    options = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert options
    assert all(p.default is not p.empty for p in options)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_is_described(name: str) -> None:
    """In the order of the signature, and none that there is not."""
    assert described(FUNCTIONS[name]) == list(inspect.signature(FUNCTIONS[name]).parameters)


@pytest.mark.parametrize("name", ENGINE)
def test_the_engine_is_documented_in_full(name: str) -> None:
    """Parameters, returns, errors, notes with source, accuracy and cost, and an example."""
    assert tuple(sections(FUNCTIONS[name])) == SECTIONS
    text = inspect.getdoc(FUNCTIONS[name]) or ""
    for word in ("Source:", "Accuracy:", "Cost:"):
        assert word in text


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_shows_an_example(name: str) -> None:
    """test_docs.py runs them."""
    assert "Examples" in sections(FUNCTIONS[name])
    assert ">>> " in (inspect.getdoc(FUNCTIONS[name]) or "")


@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_is_documented_like_the_engine(name: str) -> None:
    """The same sections, and every parameter."""
    function = getattr(reference, name)
    assert tuple(sections(function)) == SECTIONS
    assert described(function) == list(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", CLASSES)
def test_results_are_frozen_and_their_fields_described(name: str) -> None:
    """Everything that users may read stands under Attributes, and nothing else."""
    cls = getattr(bn, name)
    shown = {field.name for field in fields(cls) if field.repr}
    shown |= {key for key, value in vars(cls).items() if isinstance(value, property)}
    text = inspect.getdoc(cls) or ""
    assert set(re.findall(r"^(\w+)\n    ", text, re.MULTILINE)) == shown
    assert cls.__dataclass_params__.frozen
    assert "__slots__" in vars(cls)


def test_the_layer_is_documented_in_full() -> None:
    """The class, what it holds, and every method."""
    assert sections(bn.BatchNorm) == ["Parameters", "Attributes", "Raises", "Notes", "Examples"]
    public = [value for name, value in vars(bn.BatchNorm).items() if not name.startswith("_")]
    assert len(public) == 6
    assert all(inspect.getdoc(method) for method in public)


@pytest.mark.parametrize("name", ENGINE)
def test_the_tests_that_hold_a_claim_exist(name: str) -> None:
    """A docstring that names a test names one that is there."""
    text = inspect.getdoc(FUNCTIONS[name]) or ""
    assert all((ROOT / path).is_file() for path in re.findall(r"tests/[\w/]+\.py", text))


def test_nothing_takes_arguments_by_any_name() -> None:
    """A misspelt option is an error."""
    kinds = {p.kind for f in FUNCTIONS.values() for p in inspect.signature(f).parameters.values()}
    assert kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
