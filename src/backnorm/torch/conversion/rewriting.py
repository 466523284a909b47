"""A forward in which normalizations wait for their activation, made of the forward's source.

`act(self.norm(x))` becomes `settle(apply(act, defer(self.norm, x)))`, and the statements
`y = self.norm(x)`, `y += r`, `y = act(y)` become `y = defer(self.norm, x)`, `y = add(iadd, y, r)`,
`y = apply(act, y)`, `y = settle(y)`. All else stays as it is: the same names are read from the same
places in the same order at every call. No forward runs at a conversion, and no value is
remembered. The functions (`deferral`) decide at each call what is computed in one pass.

A variable that may hold a value that waits is read by these statements and by no other. The
statements between them only copy variables, or call a child with a variable, which is guarded.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from backnorm.torch.conversion import chains, neighbours, patterns
from backnorm.torch.conversion.patterns import FollowingStep, find_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.torch.conversion.chains import Chain
    from backnorm.torch.conversion.patterns import Names, Value

__all__ = ["PREFIX", "Rewriting", "Site"]

PREFIX: Final = "_backnorm_"
"""Of the names of the functions in the new source."""

BOUND: Final = (ast.Try, ast.With, ast.AsyncWith, getattr(ast, "TryStar", ast.Try))
"""Blocks that may go on after an error, and would then find a value that waits in the variable."""

SCOPES: Final = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
)  # fmt: skip


@dataclass(frozen=True)
class Site:
    """Where a normalization is called, and what follows.

    Attributes
    ----------
    norm
        The attribute of self.
    steps
        What is done with its output.
    before, after
        The children that make its input and read its output, where nothing else does; "" if they
        are not known.
    """

    norm: str
    steps: tuple[FollowingStep, ...]
    before: str
    after: str


@dataclass
class Rewriting:
    """A forward whose normalizations wait.

    Attributes
    ----------
    definition
        The tree of the function, which is changed.
    names
        What its names stand for.
    inplace
        Whether y may take the memory of x.
    sites
        The calls that were changed.
    written
        Whether the forward may write to a result.
    """

    definition: ast.FunctionDef
    names: Names
    inplace: bool
    sites: list[Site] = field(default_factory=list)
    written: bool = False
    _bound: int = field(default=0, init=False)
    _taken: set[int] = field(default_factory=set, init=False)
    _flag: ast.Constant = field(init=False)
    _whole: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        writers = [n for n in ast.walk(self.definition) if patterns.is_writer(n, self.names)]
        self._flag = ast.Constant(value=False)
        self._whole = chains.reads(self.definition)
        self.definition.body = self._block(self.definition.body)
        self.written = any(id(node) not in self._taken for node in writers)
        self._flag.value = self.written

    # --- statements -----------------------------------------------------------------------------

    def _block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        done: list[ast.stmt] = []
        at = 0
        while at < len(statements):
            chain = None if self._bound else chains.find(statements, at, self.names, self._whole)
            if chain is None or not self._is_wanted(chain):
                done.append(self._visit(statements[at]))
                at += 1
                continue
            done += self._statements(chain)
            at += len(chain.links) + 1
        return done

    def _is_wanted(self, chain: Chain) -> bool:
        in_place = self.inplace and chain.before and chain.after
        return chain.activates or bool(in_place)

    def _statements(self, chain: Chain) -> list[ast.stmt]:
        before = chain.before if self.inplace else ""
        first = _assigned(chain.first, chain.variable, self._built(chain.value, before))
        if isinstance(chain.first, ast.If):
            first = ast.copy_location(ast.If(chain.first.test, [first], []), chain.first)
        done = [first]
        for link in chain.links:
            done += self._link(link)
        last = done[-1]
        if not isinstance(last, ast.Return):
            variable = chain.links[-1].variable if chain.links else chain.variable
            result = self._settled(ast.Name(variable, ast.Load()), chain.after)
            done.append(_assigned(last, variable, result))
        after = (step for link in chain.links for step in link.steps)
        steps = (*self._with_guards(chain.value.steps), *after)
        self.sites.append(Site(chain.value.norm, steps, before, chain.after))
        return done

    def _link(self, link: chains.Link) -> list[ast.stmt]:
        """Return the statements of a link: what is guarded first, then the statement."""
        statement = link.statement
        self._taken.add(id(statement))
        guards = [step.function for step in link.steps if step.kind == "guard"]
        name = ast.Name(link.read, ast.Load())
        done = [
            _assigned(statement, link.read, self._call("guard", name, self._child(child)))
            for child in guards
        ]
        if isinstance(statement, ast.If):
            body, otherwise = (
                [part for inner in branch for part in self._link(inner)]
                for branch in (link.body, link.otherwise)
            )
            new: ast.stmt = ast.If(statement.test, body or [ast.Pass()], otherwise)
        elif link.value is None:
            new = statement
        elif isinstance(statement, ast.Return):
            new = ast.Return(self._settled(self._built(link.value), ""))
        elif isinstance(statement, ast.AugAssign):
            plus = self._helper("iadd")
            new = _assigned(statement, link.read, self._call("add", plus, name, statement.value))
        else:
            new = _assigned(statement, link.variable, self._built(link.value))
        return [*done, ast.copy_location(new, statement)]

    # --- expressions ----------------------------------------------------------------------------

    def _visit(self, node: Any) -> Any:
        if isinstance(node, SCOPES):
            return node
        if isinstance(node, ast.expr):
            changed = self._expression(node)
            if changed is not None:
                return ast.copy_location(changed, node)
        self._bound += isinstance(node, BOUND)
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                setattr(node, name, self._block(value))
            elif isinstance(value, list):
                parts = [self._visit(v) if isinstance(v, ast.AST) else v for v in value]
                setattr(node, name, parts)
            elif isinstance(value, ast.AST):
                setattr(node, name, self._visit(value))
        self._bound -= isinstance(node, BOUND)
        return node

    def _expression(self, node: ast.expr) -> ast.expr | None:
        """Return what takes the place of an expression; None if it is visited part by part."""
        value = find_value(node, self.names)
        if value is not None and value.activates:
            return self._finished(value, "")
        child = patterns.called_child(node, self.names)
        if not child or not isinstance(node, ast.Call):
            return None
        value = find_value(node.args[0], self.names)
        if value is None:
            return None
        if not (value.activates or (self.inplace and neighbours.maker(value, self.names))):
            return None
        node.args = [self._finished(value, child)]
        return node

    def _finished(self, value: Value, after: str) -> ast.expr:
        before = neighbours.maker(value, self.names) if self.inplace else ""
        self.sites.append(Site(value.norm, self._with_guards(value.steps), before, after))
        return self._settled(self._built(value, before), after)

    def _with_guards(self, steps: list[FollowingStep]) -> tuple[FollowingStep, ...]:
        """Return the steps of an expression, with the calls of children after the normalization."""
        found: list[FollowingStep] = []
        for step in steps:
            child = "" if step.first else patterns.guarded(step.other or step.node, self.names)
            if child and step.other is not None:
                found.append(FollowingStep("guard", step.node, child))
            found.append(step)
        return tuple(found)

    def _built(self, value: Value, before: str = "") -> ast.expr:
        """Return the expression of a value that may wait."""
        built = value.root
        if isinstance(built, ast.Call):
            extra = [self._child(before)] if before else []
            built = self._call("defer", built.func, self._visit(built.args[0]), *extra)
        for step in value.steps:
            self._taken.add(id(step.node))
            built = self._step(step, built, is_variable=not value.norm)
        return built

    def _step(self, step: FollowingStep, built: ast.expr, *, is_variable: bool) -> ast.expr:
        if step.kind == "method":
            return self._call("call_method", built, ast.Constant(step.function))
        call = step.node if isinstance(step.node, ast.Call) else None
        if call is not None and step.other is None:
            return self._call("apply", call.func, built, *_arguments(call))
        plus = self._helper("plus") if call is None else call.func
        operand: Any = step.other
        child = patterns.guarded(operand, self.names)
        other = operand if is_variable else self._visit(operand)
        if step.first:
            return self._call("add", plus, other, built)
        if child and not is_variable:  # a link of a chain has its guard before it
            built = self._call("guard", built, self._child(child))
        return self._call("add", plus, built, other)

    def _settled(self, value: ast.expr, after: str) -> ast.expr:
        child = self._child(after) if after else ast.Constant(None)
        return self._call("settle", value, child, self._flag)

    def _child(self, name: str) -> ast.expr:
        return self._call("child", ast.Name(self.names.owner, ast.Load()), ast.Constant(name))

    def _call(self, helper: str, *arguments: ast.expr) -> ast.Call:
        return ast.Call(self._helper(helper), list(arguments), [])

    def _helper(self, name: str) -> ast.Name:
        return ast.Name(PREFIX + name, ast.Load())


def _arguments(call: ast.Call) -> list[ast.expr]:
    """Return the arguments after the first as a tuple, and the keywords as a dictionary."""
    rest, keywords = call.args[1:], call.keywords
    if not (rest or keywords):
        return []
    names: list[ast.expr | None] = [ast.Constant(keyword.arg) for keyword in keywords]
    values = [keyword.value for keyword in keywords]
    return [ast.Tuple(rest, ast.Load()), ast.Dict(names, values)]


def _assigned(like: ast.stmt, variable: str, value: ast.expr) -> ast.stmt:
    return ast.copy_location(ast.Assign([ast.Name(variable, ast.Store())], value), like)
