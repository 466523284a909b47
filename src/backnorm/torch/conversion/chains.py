"""Statements that the output of a normalization goes through, one after the other.

A chain begins with `y = self.norm(x)`. Its links give y to a function, add to it, or leave it alone
and do what may as well be done before the normalization. It ends with the last link that may be an
activation. No other statement reads its variables, but for the last one.
"""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backnorm.torch.conversion.patterns import (
    Step,
    Value,
    count,
    dotted,
    guarded,
    match,
    reads_only,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm.torch.conversion.patterns import Names

__all__ = ["Chain", "Link", "called_child", "find", "maker", "reads"]


@dataclass(frozen=True)
class Link:
    """One statement of a chain.

    Attributes
    ----------
    statement
        The statement.
    read, variable
        The variable that holds the value before and after it.
    steps
        What happens to the value.
    value
        The value that a statement assigns or returns; None if it leaves the variable alone.
    body, otherwise
        The statements of an `if`.
    """

    statement: ast.stmt
    read: str
    variable: str
    steps: tuple[Step, ...] = ()
    value: Value | None = None
    body: tuple[Link, ...] = ()
    otherwise: tuple[Link, ...] = ()

    @property
    def activates(self) -> bool:
        """Whether a step may be an activation."""
        return any(step.activates for step in self.steps)


@dataclass(frozen=True)
class Chain:
    """A normalization and its links.

    Attributes
    ----------
    first, variable, value
        The statement with the normalization, which may depend on a condition; the variable that it
        assigns, and the value.
    links
        The statements after it.
    before, after
        The children that make the input and read the output, where nothing else does; or "".
    """

    first: ast.stmt
    variable: str
    value: Value
    links: tuple[Link, ...]
    before: str
    after: str

    @property
    def activates(self) -> bool:
        """Whether a step may be an activation."""
        return bool(self.links) or self.value.activates


def reads(node: ast.AST) -> Mapping[str, int]:
    """Return how often each variable is read, or deleted, in a tree."""
    return Counter(
        part.id
        for part in ast.walk(node)
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Store)
    )


def find(
    statements: Sequence[ast.stmt], at: int, names: Names, whole: Mapping[str, int]
) -> Chain | None:
    """Return the chain that begins with a statement.

    Parameters
    ----------
    statements, at
        The statements of a block, and the number of the first one.
    names
        The names in the forward.
    whole
        How often the forward reads each variable.

    Returns
    -------
    Chain or None
        None if the statement is not `y = self.norm(x)`, possibly with steps.
    """
    first = _only_statement(statements[at], names)
    variable = _assigned(first, names)
    value = match(first.value, names) if variable and isinstance(first, ast.Assign) else None
    if value is None:
        return None
    links = _links(statements[at + 1 :], variable, names)
    while links and not (links[-1].activates and _are_private(links, whole)):
        links.pop()
    last = links[-1] if links else None
    rest = statements[at + 1 + len(links) :]
    ended = last is not None and isinstance(last.statement, ast.Return)
    after = _reader(rest[0], last.variable if last else variable, names) if rest else ""
    before = maker(value, names) or _made_before(statements, at, value, variable, names)
    after = "" if ended else after
    return Chain(statements[at], variable, value, tuple(links), before, after)


def _only_statement(statement: ast.stmt, names: Names) -> ast.stmt:
    """Return the statement inside `if self.norm is not None`; any other statement itself."""
    if not isinstance(statement, ast.If) or statement.orelse or len(statement.body) != 1:
        return statement
    inner = statement.body[0]
    plain = _is_plain_test(statement.test, _assigned(inner, names), names)
    return inner if plain else statement


def _assigned(statement: ast.stmt, names: Names) -> str:
    """Return the only variable that a statement assigns; "" for others."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return ""
    target = statement.targets[0]
    return target.id if isinstance(target, ast.Name) and target.id in names.plain else ""


def _links(statements: Sequence[ast.stmt], variable: str, names: Names) -> list[Link]:
    found: list[Link] = []
    for statement in statements:
        link = _link(statement, variable, names)
        before = {link.read for link in found} - {variable}
        if link is None or any(count(statement, name) for name in before):
            break
        found.append(link)
        if isinstance(statement, ast.Return):
            break
        variable = link.variable
    return found


def _are_private(links: Sequence[Link], whole: Mapping[str, int]) -> bool:
    """Whether the variables of a chain are read nowhere else, but for the last one."""
    inside: Counter[str] = Counter()
    for link in links:
        inside.update(reads(link.statement))
    last = links[-1].variable
    return all(inside[name] == whole[name] for name in {link.read for link in links} - {last})


def _link(statement: ast.stmt, variable: str, names: Names) -> Link | None:
    if isinstance(statement, ast.If):
        return _branch(statement, variable, names)
    if isinstance(statement, ast.Return):
        value = match(statement.value, names, variable) if statement.value else None
        return value and _with_value(statement, variable, variable, value, names)
    if isinstance(statement, ast.AugAssign):
        return _sum(statement, variable, names)
    target = _assigned(statement, names)
    if not target or not isinstance(statement, ast.Assign):
        return None
    value = match(statement.value, names, variable)
    if value is not None:
        return _with_value(statement, variable, target, value, names)
    # Neither the value nor its variable: a copy, or the call of a child.
    if target == variable or count(statement.value, variable):
        return None
    if not reads_only(statement.value, names):
        return None
    return Link(statement, variable, variable, _guard(statement.value, names))


def _with_value(
    statement: ast.stmt, variable: str, target: str, value: Value, names: Names
) -> Link:
    guards = [
        step for one in value.steps if one.other is not None for step in _guard(one.other, names)
    ]
    return Link(statement, variable, target, (*guards, *value.steps), value)


def _guard(node: ast.expr, names: Names) -> tuple[Step, ...]:
    child = guarded(node, names)
    return (Step("guard", node, child),) if child else ()


def _sum(statement: ast.AugAssign, variable: str, names: Names) -> Link | None:
    """Return `y += r` as a link."""
    target, other = statement.target, statement.value
    adds = isinstance(target, ast.Name) and target.id == variable
    if not adds or not isinstance(statement.op, ast.Add) or count(other, variable):
        return None
    if not reads_only(other, names):
        return None
    step = Step("sum", statement, other=other)
    return Link(
        statement,
        variable,
        variable,
        (*_guard(other, names), step),
        Value(ast.Name(variable, ast.Load()), steps=[step]),
    )


def _branch(statement: ast.If, variable: str, names: Names) -> Link | None:
    """Return `if test: ...` as a link, with one statement in each branch."""
    if not _is_plain_test(statement.test, variable, names):
        return None
    branches: list[tuple[Link, ...]] = []
    for part in (statement.body, statement.orelse):
        links = _links(part, variable, names)
        same = all(link.variable == variable for link in links)
        if len(links) != len(part) or len(part) > 1 or not same:
            return None
        if any(isinstance(link.statement, ast.Return) for link in links):
            return None
        branches.append(tuple(links))
    inner, otherwise = (tuple(s for link in b for s in link.steps) for b in branches)
    step = Step("if", statement.test, inner=inner, otherwise=otherwise)
    return Link(statement, variable, variable, (step,), None, *branches)


def _is_plain_test(test: ast.expr, variable: str, names: Names) -> bool:
    """Whether a condition only reads variables and attributes of self, and compares with constants."""
    if isinstance(test, ast.BoolOp):
        return all(_is_plain_test(value, variable, names) for value in test.values)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _is_plain_test(test.operand, variable, names)
    if isinstance(test, ast.Compare):
        constants = all(isinstance(value, ast.Constant) for value in test.comparators)
        return constants and _is_plain_test(test.left, variable, names)
    owner, _, attribute = dotted(test).partition(".")
    if isinstance(test, ast.Name):
        return test.id != variable
    plain = "." not in attribute and attribute not in names.computed
    return owner == names.owner and bool(attribute) and plain


# --- in place: the children before and after ----------------------------------------------------


def called_child(node: ast.AST, names: Names) -> str:
    """Return the name of the child that an expression calls with one argument; "" for others."""
    if not isinstance(node, ast.Call) or len(node.args) != 1 or node.keywords:
        return ""
    owner, _, name = dotted(node.func).partition(".")
    return name if owner == names.owner and "." not in name else ""


def maker(value: Value, names: Names) -> str:
    """Return the child whose output a normalization takes directly."""
    return called_child(value.root.args[0], names) if isinstance(value.root, ast.Call) else ""


def _made_before(
    statements: Sequence[ast.stmt], at: int, value: Value, variable: str, names: Names
) -> str:
    """Return the child that the statement before calls to make the input, as y of y = norm(y)."""
    assert isinstance(value.root, ast.Call)
    x = value.root.args[0]
    if at == 0 or not isinstance(x, ast.Name) or x.id != variable:
        return ""
    before = statements[at - 1]
    if not isinstance(before, ast.Assign) or _assigned(before, names) != variable:
        return ""
    return called_child(before.value, names)


def _reader(statement: ast.stmt, variable: str, names: Names) -> str:
    """Return the child that reads a variable in the statement that ends its life."""
    ends = isinstance(statement, ast.Return) or _assigned(statement, names) == variable
    node = statement.value if isinstance(statement, ast.Return | ast.Assign) else None
    if not ends or node is None or count(node, variable) != 1:
        return ""
    child = ""
    while isinstance(node, ast.Call):
        child = called_child(node, names)
        node = node.args[0] if child else None
    return child if isinstance(node, ast.Name) else ""
