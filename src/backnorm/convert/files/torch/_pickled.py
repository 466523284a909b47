"""A pickle read as data: no class is looked up, no function is called.

Every class or function that the pickle names becomes a `Reference`, and what it would make of its
arguments becomes a `PickledObject`. So a file may name anything, and nothing of it runs.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from backnorm.convert.files._guard import guard
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.convert.files._budget import Budget
    from backnorm.convert.files._content import Content

__all__ = ["Pickle", "PickledObject", "Reference", "StorageId", "unpickled"]

NODE: Final = 64
"""Bytes of memory for an entry of a pickle; some have one byte in the file."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A class or a function that the pickle names."""

    name: str


@dataclass(frozen=True, slots=True)
class StorageId:
    """What stands for a storage, whose bytes are elsewhere in the file."""

    parts: tuple[Any, ...]


@dataclass(slots=True, eq=False, repr=False)
class PickledObject:
    """What a class or a function would make.

    Attributes
    ----------
    kind
        Its name.
    arguments
        What it would be called with.
    state
        What the object would be filled with.
    """

    kind: str
    arguments: tuple[Any, ...]
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    """What would be put into it by key, as into an OrderedDict."""


@dataclass(frozen=True, slots=True, eq=False)
class Pickle:
    """What a pickle holds.

    Attributes
    ----------
    tree
        Numbers, text, lists, tuples, dicts, and objects of this module.
    names
        The classes and functions that it names, each once, in its order.
    storages
        All that it says of storages.
    end
        Where it ends in the file.
    """

    tree: Any
    names: tuple[str, ...]
    storages: tuple[StorageId, ...]
    end: int


LARGEST_KEY: Final = 1 << 64
"""Python does not write out integers of some thousand digits."""

MARK: Final = object()
"""Where a list of unknown length begins on the stack."""


@dataclass(slots=True)
class _Machine:
    """The stack and the memory of pickle's machine."""

    stack: list[Any] = field(default_factory=list)
    memory: dict[int, Any] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)
    storages: list[StorageId] = field(default_factory=list)

    def after_mark(self) -> list[Any]:
        """Take what lies above the last mark, and the mark."""
        at = len(self.stack) - 1
        while self.stack[at] is not MARK:  # an IndexError ends a stack without one
            at -= 1
            if at < 0:
                raise IndexError
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def take(self, count: int) -> list[Any]:
        """Take some entries; fewer are an IndexError."""
        if count > len(self.stack):
            raise IndexError
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def put_items(self, items: list[Any]) -> None:
        """Put keys and values into what is on top of the stack."""
        target = self.stack[-1]
        into = target.items if isinstance(target, PickledObject) else target
        if not isinstance(into, dict):
            raise TypeError
        into.update(_paired(items))

    def append(self, items: list[Any]) -> None:
        """Append to the list on top of the stack."""
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, PickledObject):
            raise TypeError

    def refer(self, *names: Any) -> None:
        """Put a class or a function."""
        if not all(isinstance(name, str) for name in names):
            raise TypeError
        reference = Reference(".".join(names))
        self.names[reference.name] = None
        self.stack.append(reference)

    def persist(self, parts: Any) -> None:
        """Put what lies elsewhere: a storage, or a class with its source, as old files have it."""
        if not isinstance(parts, tuple):
            raise TypeError
        if parts[:1] == ("module",) and len(parts) > 1:
            self.stack.append(parts[1])
            return
        self.storages.append(StorageId(parts))
        self.stack.append(self.storages[-1])

    def make(self, reference: Any, arguments: Any) -> None:
        """Put an object of a class, or the result of a function."""
        if not isinstance(reference, Reference) or not isinstance(arguments, tuple):
            raise TypeError
        self.stack.append(PickledObject(reference.name, arguments))

    def build(self) -> None:
        """Fill an object with its state."""
        target, state = self.stack[-2], self.stack.pop()
        if not isinstance(target, PickledObject):
            raise TypeError
        target.state = state


def _push(make: Callable[[_Machine, Any], Any]) -> Callable[[_Machine, Any], None]:
    def run(machine: _Machine, argument: Any) -> None:
        machine.stack.append(make(machine, argument))

    return run


def _remember(machine: _Machine, argument: Any) -> None:
    machine.memory[len(machine.memory) if argument is None else int(argument)] = machine.stack[-1]


def _paired(items: list[Any]) -> dict[Any, Any]:
    """Return a dict, whose keys are plain: a tuple can hold another twice, and that one another.

    Its hash, and its text, would take for ever.
    """
    for key in items[::2]:
        parts = key if isinstance(key, tuple) else (key,)
        if not all(_is_plain(part) for part in parts):
            raise TypeError
    return dict(zip(items[::2], items[1::2], strict=True))


def _is_plain(key: Any) -> bool:
    whole = isinstance(key, int) and abs(key) < LARGEST_KEY
    return whole or key is None or isinstance(key, str | bytes | float | PickledObject | Reference)


def _drop(machine: _Machine, _: Any) -> None:
    machine.stack.pop()


def _drop_to_mark(machine: _Machine, _: Any) -> None:
    machine.after_mark()


def _nothing(_: _Machine, __: Any) -> None:
    return


_VALUE: Final = _push(lambda _, argument: argument)
_RECALL: Final = _push(lambda machine, argument: machine.memory[int(argument)])

OPERATIONS: Final[dict[str, Callable[[_Machine, Any], None]]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
    **dict.fromkeys(
        (
            *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
            *("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING"),
            *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
            *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        ),
        _VALUE,
    ),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _RECALL),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _remember),
    "NONE": _push(lambda _, __: None),
    "NEWTRUE": _push(lambda _, __: True),
    "NEWFALSE": _push(lambda _, __: False),
    "MARK": _push(lambda _, __: MARK),
    "EMPTY_LIST": _push(lambda _, __: []),
    "EMPTY_DICT": _push(lambda _, __: {}),
    "EMPTY_SET": _push(lambda _, __: PickledObject("builtins.set", ())),
    "EMPTY_TUPLE": _push(lambda _, __: ()),
    "TUPLE1": _push(lambda machine, _: tuple(machine.take(1))),
    "TUPLE2": _push(lambda machine, _: tuple(machine.take(2))),
    "TUPLE3": _push(lambda machine, _: tuple(machine.take(3))),
    "TUPLE": _push(lambda machine, _: tuple(machine.after_mark())),
    "LIST": _push(lambda machine, _: machine.after_mark()),
    "DICT": _push(lambda machine, _: _paired(machine.after_mark())),
    "FROZENSET": _push(
        lambda machine, _: PickledObject("builtins.frozenset", tuple(machine.after_mark()))
    ),
    "GLOBAL": lambda machine, argument: machine.refer(*str(argument).split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.refer(*machine.take(2)),
    "BINPERSID": lambda machine, _: machine.persist(machine.stack.pop()),
    "APPEND": lambda machine, _: machine.append(machine.take(1)),
    "APPENDS": lambda machine, _: machine.append(machine.after_mark()),
    "ADDITEMS": lambda machine, _: machine.append(machine.after_mark()),
    "SETITEM": lambda machine, _: machine.put_items(machine.take(2)),
    "SETITEMS": lambda machine, _: machine.put_items(machine.after_mark()),
    "REDUCE": lambda machine, _: machine.make(*machine.take(2)),
    "NEWOBJ": lambda machine, _: machine.make(*machine.take(2)),
    "NEWOBJ_EX": lambda machine, _: machine.make(*machine.take(3)[:2]),
    "BUILD": lambda machine, _: machine.build(),
    "POP": _drop,
    "POP_MARK": _drop_to_mark,
    "DUP": _push(lambda machine, _: machine.stack[-1]),
}
"""All that PyTorch writes; what else pickle knows is refused."""


@dataclass(slots=True)
class _PickleBytes:
    """The bytes of a pickle, which are counted before they are read: a length may be any number."""

    budget: Budget
    place: str
    stream: BinaryIO
    size: int

    def read(self, size: int) -> bytes:
        """Read so many bytes, or what is left."""
        there = min(size, self.size - self.tell())
        self.budget.take(self.place, there)
        return self.stream.read(there)

    def readline(self) -> bytes:
        """Read a line."""
        line = self.stream.readline()
        self.budget.take(self.place, len(line))
        return line

    def tell(self) -> int:
        """Return the position in the file."""
        return self.stream.tell()


def unpickled(budget: Budget, place: str, content: Content, start: int = 0) -> Pickle:
    """Read a pickle.

    Parameters
    ----------
    budget
        The bytes that the file may become.
    place
        For messages.
    content
        What the pickle is in.
    start
        Where it begins there.

    Returns
    -------
    Pickle
        Its data.

    Raises
    ------
    FileError
        If it is damaged, or too large.
    """
    machine = _Machine()
    stream = content.stream()
    stream.seek(start)
    with guard(budget.file, "pickletools"):
        counted: Any = _PickleBytes(budget, place, stream, len(content))
        for opcode, argument, _ in pickletools.genops(counted):
            operation = OPERATIONS.get(opcode.name)
            if operation is None:
                got = f"the instruction {opcode.name}"
                raise FileError.malformed(budget.file, place, "hold data as PyTorch writes it", got)
            budget.take(place, NODE)
            operation(machine, argument)
        tree = machine.stack.pop()
    return Pickle(tree, tuple(machine.names), tuple(machine.storages), stream.tell())
