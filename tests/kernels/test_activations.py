"""The table of activations, and all that must have the same names: nothing is forgotten."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest

from backnorm import kernels, reference
from backnorm._types import Activation
from backnorm.errors import UnknownNameError
from backnorm.kernels import native_kernel
from backnorm.kernels._contract import BackwardCall, ForwardCall
from backnorm.kernels.activations import ACTIVATIONS, INVERTIBLE, NAMES
from backnorm.testing.budget import assert_bits
from backnorm.testing.cases import KERNELS

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = Path(__file__).parents[2] / "src" / "backnorm"  # a wheel has no headers
NATIVE = PACKAGE / "kernels" / "_native"

CODES = {name: (info.code, info.invertible) for name, info in ACTIVATIONS.items()}
"""Name: code and whether it is invertible."""

Z = np.array([-np.inf, -8.0, -1.0, -0.25, -0.0, 0.0, 0.25, 1.0, 2.0, 6.0, 7.0, np.inf, np.nan])
SLOPE = 0.25

by_name = pytest.mark.parametrize("name", NAMES)


def keys_of(path: Path, table: str) -> list[str]:
    """Return the keys of a dictionary that a module builds, without importing the module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == table:
            dictionary = next(inner for inner in ast.walk(node) if type(inner) is ast.Dict)
            return [ast.literal_eval(key) for key in dictionary.keys if key is not None]
    pytest.fail(f"{path} has no {table}")


def test_the_type_has_the_names() -> None:
    """`Activation` in `_types.py` lists those of the table, in their order."""
    assert get_args(Activation) == NAMES


def test_the_header_has_the_table() -> None:
    """Name, code and invertibility in call.hpp are those of the table."""
    text = (NATIVE / "call.hpp").read_text()
    lines = re.findall(r"^ *line\((\w+), (\d+), (true|false)\)", text, re.MULTILINE)
    assert {name: (int(code), flag == "true") for name, code, flag in lines} == CODES


def test_each_has_a_struct() -> None:
    """activation.hpp defines each once, with `undo` where it is invertible."""
    text = (NATIVE / "activation.hpp").read_text()
    structs = re.findall(
        r"^struct ActivationOf<Activation::(\w+)> \{(.+?)^\};", text, re.MULTILINE | re.DOTALL
    )
    bodies = dict(structs)
    assert len(bodies) == len(structs)
    assert set(bodies) == set(NAMES)
    assert {name for name, body in bodies.items() if " undo(" in body} == set(INVERTIBLE)


@pytest.mark.skipif(not native_kernel.levels(), reason="the C++ part is not built")
def test_the_compiled_module_has_the_table() -> None:
    """What was compiled is what the header says: no stale build."""
    assert native_kernel.tensor_calls().activations() == CODES


def test_torch_computes_each() -> None:
    """backnorm/torch/engine has an entry for each; read from the source, so without torch too."""
    path = PACKAGE / "torch" / "engine" / "activations.py"
    assert keys_of(path, "ACTIVATIONS") == list(NAMES)


def test_jax_computes_each() -> None:
    """backnorm/jax/engine has an entry for each; read from the source, so without JAX too."""
    path = PACKAGE / "jax" / "engine" / "activations.py"
    assert keys_of(path, "ACTIVATIONS") == list(NAMES)


def test_conversion_of_torch_models_knows_each() -> None:
    """So has backnorm/torch/conversion, but for identity, which no model calls."""
    path = PACKAGE / "torch" / "conversion" / "activations.py"
    assert ["identity", *keys_of(path, "SPELLINGS")] == list(NAMES)


@by_name
def test_value_and_gradient_are_the_reference(name: str) -> None:
    """The NumPy kernel's functions, at kinks, infinity and NaN: in y, and with an infinite dy."""
    info = ACTIVATIONS[name]
    y = info.apply(Z.copy(), SLOPE)
    assert_bits(y, reference.activate(Z, name, SLOPE))
    slope = reference.activation_gradient(y, name, SLOPE)
    for dy in (np.full_like(Z, 3.0), np.full_like(Z, np.inf)):
        want = np.multiply(dy, slope, out=np.zeros_like(dy), where=slope != 0)
        assert_bits(info.grad_through(dy.copy(), y, SLOPE), want)


@by_name
def test_the_slope_counts_where_the_table_says_so(name: str) -> None:
    """`has_slope` is whether y depends on negative_slope."""
    first, second = (reference.activate(Z[:-1], name, slope) for slope in (0.25, 0.5))
    assert ACTIVATIONS[name].has_slope == bool((first != second).any())


@by_name
def test_an_invertible_one_maps_no_two_values_to_one(name: str) -> None:
    """`invertible` is whether z follows from y."""
    y = reference.activate(np.linspace(-9.0, 9.0, 37), name, SLOPE)
    assert ACTIVATIONS[name].invertible == (len(np.unique(y)) == len(y))


def calls(activation: Any) -> tuple[ForwardCall, BackwardCall]:
    """Return calls of the smallest arrays."""
    x, y = np.ones((2, 1, 1)), np.ones((2, 1, 1))
    rows = np.ones((4, 1))
    forward = ForwardCall(x, y, None, None, None, rows, True, 1.0, activation, 0.25, "float64")  # noqa: FBT003
    backward = BackwardCall(
        dy=x,
        x=x,
        y=y,
        dx=np.ones((2, 1, 1)),
        dresidual=None,
        sums=np.ones((2, 1)),
        gamma=None,
        statistics=rows,
        frozen=True,
        through_mean=False,
        through_variance=False,
        add_dx=False,
        add_dresidual=False,
        activation=activation,
        negative_slope=0.25,
        law="float64",
    )
    return forward, backward


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_refuse_an_unknown_name(kernel: str) -> None:
    """They raise, and compute nothing else in its place."""
    forward, backward = calls("gelu")
    known = ", ".join(map(repr, NAMES))
    with pytest.raises(UnknownNameError, match=f"^activation must be one of {known}, got 'gelu'"):
        kernels.get(kernel).forward(forward)
    with pytest.raises(UnknownNameError, match=r"^activation must be one of .* got 'gelu'"):
        kernels.get(kernel).backward(backward)


@pytest.mark.skipif(not native_kernel.levels(), reason="the C++ part is not built")
@pytest.mark.parametrize("code", [-1, len(NAMES)])
def test_the_compiled_module_refuses_an_unknown_code(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception, where a switch without that case would do nothing."""
    table: Mapping[str, Any] = {"gelu": ACTIVATIONS["relu"]._replace(code=code)}
    monkeypatch.setattr(native_kernel, "ACTIVATIONS", table)
    forward, backward = calls("gelu")
    for function, call in zip(kernels.get("native")[2:4], (forward, backward), strict=True):
        with pytest.raises(ValueError, match=f"^no activation has the code {code}$"):
            function(call)
