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

from backnorm.torch.conversion import neighbours
from backnorm.torch.conversion.patterns import (
    FollowingStep,
    Value,
    assigned,
    count,
    dotted,
    find_value,
    guarded,
    reads_only,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm.torch.conversion.patterns import Names

__all__ = ["Chain", "Link", "find", "reads"]


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
    steps: tuple[FollowingStep, ...] = ()
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
    """Return how often each variable is read, changed or deleted in a tree."""
    read = [
        part
        for part in ast.walk(node)
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Store)
    ]
    changed = [part.target for part in ast.walk(node) if isinstance(part, ast.AugAssign)]
    names = [part for part in (*read, *changed) if isinstance(part, ast.Name)]
    return Counter(name.id for name in names)


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
    variable = assigned(first, names)
    value = find_value(first.value, names) if variable and isinstance(first, ast.Assign) else None
    if value is None:
        return None
    links = _links(statements[at + 1 :], variable, names)
    while links and not (links[-1].activates and _are_private(links, whole)):
        links.pop()
    last = links[-1] if links else None
    rest = statements[at + 1 + len(links) :]
    ended = last is not None and isinstance(last.statement, ast.Return)
    after = neighbours.reader(rest[0], last.variable if last else variable, names) if rest else ""
    before = neighbours.maker(value, names) or neighbours.made_before(
        statements, at, value, variable, names
    )
    after = "" if ended else after
    return Chain(statements[at], variable, value, tuple(links), before, after)


def _only_statement(statement: ast.stmt, names: Names) -> ast.stmt:
    """Return the statement inside `if self.norm is not None`; any other statement itself."""
    if not isinstance(statement, ast.If) or statement.orelse or len(statement.body) != 1:
        return statement
    inner = statement.body[0]
    plain = _is_plain_test(statement.test, assigned(inner, names), names)
    return inner if plain else statement


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
    match statement:
        case ast.If():
            return _branch(statement, variable, names)
        case ast.AugAssign():
            return _sum(statement, variable, names)
        case ast.Return(value=ast.expr() as result):
            return _with_value(statement, variable, variable, result, names)
        case ast.Assign(value=result):
            target = assigned(statement, names)
            link = _with_value(statement, variable, target, result, names) if target else None
            return link or _aside(statement, variable, target, names)
    return None


def _aside(statement: ast.Assign, variable: str, target: str, names: Names) -> Link | None:
    """Return a statement that leaves the value alone as a link: a copy, or the call of a child."""
    value = statement.value
    if target in ("", variable) or count(value, variable) or not reads_only(value, names):
        return None
    return Link(statement, variable, variable, _guard(value, names))


def _with_value(
    statement: ast.stmt, variable: str, target: str, result: ast.expr, names: Names
) -> Link | None:
    value = find_value(result, names, variable)
    if value is None:
        return None
    guards = [
        step for one in value.steps if one.other is not None for step in _guard(one.other, names)
    ]
    return Link(statement, variable, target, (*guards, *value.steps), value)


def _guard(node: ast.expr, names: Names) -> tuple[FollowingStep, ...]:
    child = guarded(node, names)
    return (FollowingStep("guard", node, child),) if child else ()


def _sum(statement: ast.AugAssign, variable: str, names: Names) -> Link | None:
    """Return `y += r` as a link."""
    target, other = statement.target, statement.value
    adds = isinstance(target, ast.Name) and target.id == variable
    if not adds or not isinstance(statement.op, ast.Add) or count(other, variable):
        return None
    if not reads_only(other, names):
        return None
    step = FollowingStep("sum", statement, other=other)
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
    step = FollowingStep("if", statement.test, inner=inner, otherwise=otherwise)
    return Link(statement, variable, variable, (step,), None, *branches)


def _is_plain_test(test: ast.expr, variable: str, names: Names) -> bool:
    """Whether a condition reads variables and attributes of self, compared with constants."""
    if isinstance(test, ast.BoolOp):
        return all(_is_plain_test(value, variable, names) for value in test.values)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _is_plain_test(test.operand, variable, names)
    if isinstance(test, ast.Compare):
        if not all(isinstance(value, ast.Constant) for value in test.comparators):
            return False
        if isinstance(test.left, ast.Name):  # its comparison with == may do anything
            identity = all(isinstance(operator, ast.Is | ast.IsNot) for operator in test.ops)
            return identity and test.left.id != variable
        return _is_plain_test(test.left, variable, names)
    owner, _, attribute = dotted(test).partition(".")
    plain = "." not in attribute and attribute not in names.computed
    return owner == names.owner and bool(attribute) and plain
