"""The expressions of a forward that normalize, add and activate, found in its syntax tree.

`act(self.norm(x) + y)` is read from the inside to the outside: the call of the normalization, then
steps that each take the value before. Whether a step is an activation is decided when it runs.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "FollowingStep",
    "Names",
    "Value",
    "assigned",
    "called_child",
    "count",
    "dotted",
    "find_value",
    "guarded",
    "is_writer",
    "reads_only",
]


@dataclass(frozen=True)
class Names:
    """What the names in a forward stand for when its module is converted.

    Attributes
    ----------
    owner
        The first parameter, self.
    norms
        Attributes of self that are normalizations.
    passing
        Functions and modules, as they are spelled, that may be taken into a normalization: an
        activation, an Identity, or None.
    sums
        Functions that add two tensors, as they are spelled.
    writers
        Functions and modules that write to their input, as they are spelled.
    methods
        Methods of tensors that are activations.
    plain
        Local variables that no other function sees.
    computed
        Attributes of self that run code when they are read.
    """

    owner: str
    norms: Collection[str] = ()
    passing: Collection[str] = ()
    sums: Collection[str] = ()
    writers: Collection[str] = ()
    methods: Collection[str] = ()
    plain: Collection[str] = ()
    computed: Collection[str] = ()


@dataclass(frozen=True)
class FollowingStep:
    """One step after a normalization.

    Attributes
    ----------
    kind
        "apply" of a function, "method" of a tensor, "sum"; "guard" of a child that is called before
        the next step, "if" for steps that depend on a condition.
    node
        The expression of the whole step; the condition of "if".
    function
        The function as it is spelled, or the name of the method or the child.
    other
        The other operand of a sum.
    first
        Whether that is the first operand.
    inner, otherwise
        The steps of "if", and of its else.
    """

    kind: str
    node: ast.AST
    function: str = ""
    other: ast.expr | None = None
    first: bool = False
    inner: tuple[FollowingStep, ...] = ()
    otherwise: tuple[FollowingStep, ...] = ()

    @property
    def activates(self) -> bool:
        """Whether it may be an activation."""
        inside = any(step.activates for step in (*self.inner, *self.otherwise))
        return inside or self.kind in ("apply", "method")


@dataclass
class Value:
    """A value that may wait: a call of a normalization, or a variable, and what is done with it."""

    root: ast.expr
    norm: str = ""
    steps: list[FollowingStep] = field(default_factory=list)

    @property
    def activates(self) -> bool:
        """Whether a step may be an activation."""
        return any(step.activates for step in self.steps)


def dotted(node: ast.AST) -> str:
    """Return a name with its attributes as it is spelled, such as "self.act"; "" for others."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return inner and f"{inner}.{node.attr}"
    return ""


def count(node: ast.AST, variable: str) -> int:
    """Return how often a variable occurs in a tree."""
    return sum(isinstance(part, ast.Name) and part.id == variable for part in ast.walk(node))


def find_value(node: ast.expr, names: Names, variable: str = "") -> Value | None:
    """Return an expression as a value and its steps.

    Parameters
    ----------
    node
        The expression.
    names
        The names in the forward.
    variable
        A variable that may hold a value that waits; it must occur just once.

    Returns
    -------
    Value or None
        None if the expression has another form.
    """
    if variable and isinstance(node, ast.Name) and node.id == variable:
        return Value(node)
    if variable and count(node, variable) != 1:
        return None
    child = "" if variable else called_child(node, names)
    if child in names.norms:
        return Value(node, child)
    if isinstance(node, ast.Call):
        return _call(node, names, variable)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _sum(node, node.left, node.right, names, variable)
    return None


def _call(node: ast.Call, names: Names, variable: str) -> Value | None:
    function = dotted(node.func)
    if function in names.sums and len(node.args) == 2 and not node.keywords:  # noqa: PLR2004 - a sum
        left, right = node.args
        return _sum(node, left, right, names, variable)
    if function in names.passing and node.args and _are_constants(node, names):
        inner = find_value(node.args[0], names, variable)
        step = FollowingStep("apply", node, function)
    elif isinstance(node.func, ast.Attribute) and node.func.attr in names.methods:
        inner = None if node.args or node.keywords else find_value(node.func.value, names, variable)
        step = FollowingStep("method", node, node.func.attr)
    else:
        return None
    if inner is not None:
        inner.steps.append(step)
    return inner


def _are_constants(node: ast.Call, names: Names) -> bool:
    """Whether it does not count when the arguments after the first are read.

    They are constants, or attributes of self.
    """
    rest = [*node.args[1:], *(keyword.value for keyword in node.keywords)]
    named = all(keyword.arg for keyword in node.keywords)
    return named and all(_is_constant(value, names) for value in rest)


def _is_constant(node: ast.expr, names: Names) -> bool:
    owner, _, name = dotted(node).partition(".")
    own = owner == names.owner and bool(name) and "." not in name and name not in names.computed
    return isinstance(node, ast.Constant) or own


def _sum(
    node: ast.expr, left: ast.expr, right: ast.expr, names: Names, variable: str
) -> Value | None:
    for inner, other, first in ((left, right, False), (right, left, True)):
        if variable and count(other, variable):
            continue
        value = find_value(inner, names, variable)
        # Without a variable, what stands on the left is computed before the normalization anyway.
        if value is not None and ((first and not variable) or reads_only(other, names)):
            function = dotted(node.func) if isinstance(node, ast.Call) else ""
            value.steps.append(FollowingStep("sum", node, function, other, first))
            return value
    return None


def reads_only(node: ast.expr, names: Names) -> bool:
    """Whether an operand is a variable, or the call of a child with one: see `guarded`."""
    return isinstance(node, ast.Name) or bool(guarded(node, names))


def guarded(node: ast.AST, names: Names) -> str:
    """Return the name of the child that an expression calls with a variable; "" for others.

    Such a call may run before the normalization if the child leaves what it reads as it is.
    """
    child = called_child(node, names)
    return (
        child if isinstance(node, ast.Call) and child and isinstance(node.args[0], ast.Name) else ""
    )


def called_child(node: ast.AST, names: Names) -> str:
    """Return the name of the child that an expression calls with one argument; "" for others."""
    if not isinstance(node, ast.Call) or len(node.args) != 1 or node.keywords:
        return ""
    owner, _, name = dotted(node.func).partition(".")
    own = owner == names.owner and "." not in name and name not in names.computed
    return "" if isinstance(node.args[0], ast.Starred) or not own else name


def is_writer(node: ast.AST, names: Names) -> bool:
    """Whether a node may write to a tensor that exists."""
    if isinstance(node, ast.AugAssign):
        return True
    if isinstance(node, ast.Subscript):
        return not isinstance(node.ctx, ast.Load)
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else dotted(node.func)
    writes = name.endswith("_") and not name.endswith("__")
    writes = writes or any(isinstance(n, ast.Constant) and n.value is True for n in node.args)
    return writes or dotted(node.func) in names.writers or any(map(_asks_to_write, node.keywords))


def _asks_to_write(keyword: ast.keyword) -> bool:
    is_false = isinstance(keyword.value, ast.Constant) and not keyword.value.value
    return keyword.arg in ("inplace", "out") and not is_false


def assigned(statement: ast.stmt, names: Names) -> str:
    """Return the only variable that a statement assigns; "" for others."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return ""
    target = statement.targets[0]
    return target.id if isinstance(target, ast.Name) and target.id in names.plain else ""
