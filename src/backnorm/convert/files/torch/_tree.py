"""The tree of a pickle of PyTorch: its tensors, by the names of a state_dict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from backnorm.convert.files._arrays import Arrays
from backnorm.convert.files.torch._pickled import PickledObject
from backnorm.convert.files.torch._tensors import tensor_of, why_not_plain
from backnorm.convert.files.torch._values import check_tensor, values_of
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from backnorm.convert.files._budget import Budget
    from backnorm.convert.files.torch._pickled import Pickle
    from backnorm.convert.files.torch._tensors import TorchTensor
    from backnorm.convert.files.torch._values import Storages

__all__ = ["TensorTree", "tree_of"]

DEEPEST: Final = 64

NODE: Final = 64
"""Bytes of memory for an entry of the tree. A list can hold the same list twice, and that one
another list twice: a hundred bytes hold any number of entries."""

WRAPPERS: Final = ("state_dict", "model_state_dict", "model")
"""Keys under which checkpoints store the state_dict beside other data."""

INNER: Final = ("_modules", "_parameters", "_buffers")
"""Attributes of a module that was saved whole, whose keys are names in its state_dict."""


@dataclass(frozen=True, slots=True, eq=False)
class TensorTree:
    """What is in a pickle.

    Attributes
    ----------
    tensors
        The tensors that are an array in a storage, by name, in the order of the file.
    arrays
        Their values, which are read when they are asked for.
    notes
        The other tensors.
    kinds
        How many objects there are of each class, without its module.
    """

    tensors: Mapping[str, TorchTensor]
    arrays: Arrays
    notes: tuple[str, ...]
    kinds: Counter[str]


def tree_of(budget: Budget, storages: Storages, pickle: Pickle) -> TensorTree:
    """Find all tensors of a pickle.

    Parameters
    ----------
    budget
        The bytes that the file may become.
    storages
        Where the values are.
    pickle
        What the pickle holds.

    Returns
    -------
    TensorTree
        With tensors that fit in their storages.

    Raises
    ------
    FileError
        If a tensor does not, two have one name, or the pickle is nested too deep.
    """
    tensors: dict[str, TorchTensor] = {}
    notes: dict[str, str] = {}
    kinds: Counter[str] = Counter()
    for keys, node in _nodes(budget, pickle.tree, kinds):
        name = ".".join(map(str, keys[1:] if keys[:1] and keys[0] in WRAPPERS else keys))
        why = why_not_plain(node)
        tensor = None if why else tensor_of(budget.file, name, node)
        if (tensor or why) and (name in tensors or name in notes):
            raise FileError.malformed(budget.file, name, "be one tensor", "two of that name")
        if why:
            notes[name] = f"{name} is {why}; it is carried through in this format only"
        if tensor is not None:
            check_tensor(budget, name, storages, tensor)
            tensors[name] = tensor
    arrays = Arrays(
        {name: tensor.shape for name, tensor in tensors.items()},
        lambda name: values_of(budget, name, storages, tensors[name]),
    )
    return TensorTree(tensors, arrays, tuple(notes.values()), kinds)


def _nodes(
    budget: Budget, tree: Any, kinds: Counter[str]
) -> Iterator[tuple[tuple[Any, ...], PickledObject]]:
    """Yield the objects of a tree with the keys that lead to each, and count their classes."""
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), tree)]
    while waiting:
        keys, node = waiting.pop()
        budget.take("the tensors", NODE)
        if len(keys) > DEEPEST:
            raise FileError.malformed(budget.file, "", f"be nested at most {DEEPEST} deep", "more")
        if isinstance(node, PickledObject):
            kinds[node.kind.rpartition(".")[2]] += 1
            yield keys, node
            waiting += [((*keys, key), child) for key, child in reversed(_children(node))]
        elif isinstance(node, dict):
            waiting += [((*keys, key), child) for key, child in reversed(node.items())]
        elif isinstance(node, list | tuple):
            waiting += [((*keys, index), node[index]) for index in reversed(range(len(node)))]


def _children(node: PickledObject) -> list[tuple[Any, Any]]:
    """Return what an object contains, by the names of a state_dict."""
    inside = list(node.items.items())
    state = node.state if isinstance(node.state, dict) else {}
    for key, child in state.items():
        items = child.items if isinstance(child, PickledObject) else child
        if key in INNER and isinstance(items, dict):
            inside += list(items.items())
        else:
            inside.append((key, child))
    return inside
