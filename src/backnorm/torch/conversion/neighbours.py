"""The children that make the input of a normalization and read its output, found in the tree."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from backnorm.torch.conversion.patterns import assigned, called_child, count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm.torch.conversion.patterns import Names, Value

__all__ = ["made_before", "maker", "reader"]


def maker(value: Value, names: Names) -> str:
    """Return the child whose output a normalization takes directly."""
    return called_child(value.root.args[0], names) if isinstance(value.root, ast.Call) else ""


def made_before(
    statements: Sequence[ast.stmt], at: int, value: Value, variable: str, names: Names
) -> str:
    """Return the child that the statement before calls to make the input, as y of y = norm(y)."""
    x = value.root.args[0] if isinstance(value.root, ast.Call) else None
    if at == 0 or not isinstance(x, ast.Name) or x.id != variable:
        return ""
    before = statements[at - 1]
    if not isinstance(before, ast.Assign) or assigned(before, names) != variable:
        return ""
    return called_child(before.value, names)


def reader(statement: ast.stmt, variable: str, names: Names) -> str:
    """Return the child that reads a variable in the statement that ends its life."""
    ends = isinstance(statement, ast.Return) or assigned(statement, names) == variable
    node = statement.value if isinstance(statement, ast.Return | ast.Assign) else None
    if not ends or node is None or count(node, variable) != 1:
        return ""
    child = ""
    while isinstance(node, ast.Call):
        child = called_child(node, names)
        node = node.args[0] if child else None
    return child if isinstance(node, ast.Name) else ""
