"""The source of a function: read, checked against the code that runs, and compiled again."""

from __future__ import annotations

import ast
import inspect
import linecache
import warnings
from copy import deepcopy
from functools import lru_cache
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["compiled", "definition_of"]

FUTURE: Final = 0x1FF0000
"""Flags of `from __future__` in a code object."""

PARTS: Final = (
    "co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_flags",
    "co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_exceptiontable",
)  # fmt: skip


def definition_of(function: FunctionType) -> ast.FunctionDef | str:
    """Return the syntax tree of a function, without its decorators, defaults and annotations.

    Parameters
    ----------
    function
        A function of Python.

    Returns
    -------
    ast.FunctionDef or str
        The tree, whose code is the function's; or why there is none.
    """
    code = function.__code__
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, function.__globals__)
    try:
        tree, whole = _read("".join(lines), code.co_filename, code.co_flags & FUTURE)
    except (SyntaxError, ValueError, RecursionError):
        return "the source of its forward cannot be read"
    found = next((inner for inner in _inside(whole) if _alike(inner, code)), None)
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    node = next((node for node in nodes if _begins(node) == code.co_firstlineno), None)
    if not lines or node is None or node.name != code.co_name:
        return "the source of its forward was not found"
    if found is None:
        return "the code of its forward differs from its source: it is decorated, or was changed"
    return _why_not(node) or _copied(node)


def _why_not(node: ast.FunctionDef) -> str:
    """Return why a function cannot be compiled by itself; "" if it can."""
    if any(map(_is_private, ast.walk(node))):
        return "its forward uses names that begin with two underscores"
    generates = any(isinstance(part, ast.Yield | ast.YieldFrom) for part in ast.walk(node))
    return "its forward is a generator" if generates else ""


def _copied(node: ast.FunctionDef) -> ast.FunctionDef | str:
    try:
        return _stripped(deepcopy(node))
    except RecursionError:
        return "an expression in its forward is nested too deeply"


@lru_cache(maxsize=64)
def _read(source: str, file: str, flags: int) -> tuple[ast.Module, CodeType]:
    """Parse and compile a file: how a function is compiled depends on what the file imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they were given when the file was imported
        tree = ast.parse(source)
        return tree, compile(source, file, "exec", flags, dont_inherit=True)


def _inside(code: CodeType) -> Iterator[CodeType]:
    for inner in code.co_consts:
        if inspect.iscode(inner):
            yield inner
            yield from _inside(inner)


def _begins(node: ast.FunctionDef) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _is_private(node: ast.AST) -> bool:
    name = {ast.Name: "id", ast.Attribute: "attr"}.get(type(node))
    value = str(getattr(node, name)) if name else ""
    return value.startswith("__") and not value.endswith("__")


class _Unannotated(ast.NodeTransformer):
    """Makes `y: Tensor = x` the same without the annotation, which is not evaluated."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        if node.value is None or not (isinstance(node.target, ast.Name) and node.simple):
            return node
        return ast.copy_location(ast.Assign([node.target], node.value), node)


def _stripped(definition: ast.FunctionDef) -> ast.FunctionDef:
    """Remove what runs where a function is defined, and not when it is called."""
    definition.decorator_list, definition.returns = [], None
    vars(definition).pop("type_params", None)  # of Python 3.12
    _Unannotated().visit(definition)
    arguments = definition.args
    arguments.defaults, arguments.kw_defaults = [], [None] * len(arguments.kwonlyargs)
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    for argument in (*every, arguments.vararg, arguments.kwarg):
        if argument is not None:
            argument.annotation = None
    return definition


def compiled(
    definition: ast.FunctionDef, like: FunctionType, helpers: Mapping[str, Any]
) -> FunctionType:
    """Return a function with another body, and with some more names.

    Parameters
    ----------
    definition
        The function's tree, changed.
    like
        The function that it was read from; its globals, closure and defaults are kept.
    helpers
        The values of the names that the changed tree reads in addition.
    """
    code = _code(definition, like, tuple(helpers))
    cells = dict(zip(like.__code__.co_freevars, like.__closure__ or (), strict=True))
    closure = tuple(
        cells[name] if name in cells else _cell(helpers[name]) for name in code.co_freevars
    )
    made = FunctionType(code, like.__globals__, like.__name__, like.__defaults__, closure)
    made.__kwdefaults__ = like.__kwdefaults__
    made.__qualname__ = like.__qualname__
    return made


def _cell(value: Any) -> Any:
    return (lambda: value).__closure__[0]  # type: ignore[index]


def _code(definition: ast.FunctionDef, like: FunctionType, more: tuple[str, ...]) -> CodeType:
    """Compile a function inside one that has its free names."""
    module = ast.parse(f"def outer({', '.join((*like.__code__.co_freevars, *more))}): pass")
    vars(module.body[0])["body"] = [definition]
    ast.fix_missing_locations(module)
    flags = like.__code__.co_flags & FUTURE
    code: CodeType = compile(module, like.__code__.co_filename, "exec", flags, dont_inherit=True)
    for _ in range(2):
        code = next(inner for inner in code.co_consts if inspect.iscode(inner))
    return code


def _alike(one: CodeType, other: CodeType) -> bool:
    """Whether two codes are the same code at the same place."""
    if one.co_firstlineno != other.co_firstlineno or one.co_name != other.co_name:
        return False
    if any(getattr(one, part) != getattr(other, part) for part in PARTS):
        return False
    if len(one.co_consts) != len(other.co_consts):
        return False
    return all(
        _alike(a, b)
        if inspect.iscode(a) and inspect.iscode(b)
        else type(a) is type(b) and repr(a) == repr(b)
        for a, b in zip(one.co_consts, other.co_consts, strict=True)
    )
