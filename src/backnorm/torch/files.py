"""PyTorch's files, .pt: read with weights_only, so that code in a file never runs."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from backnorm.convert.files import _zip
from backnorm.convert.files._dtypes import dtype_named
from backnorm.convert.files._flat import DIALECTS, find_layers, spelled
from backnorm.convert.files._guard import guard
from backnorm.convert.files.record import ModelFile
from backnorm.convert.files.registry import Format, register
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from backnorm._types import AnyArray

__all__ = ["FORMAT"]

WRAPPERS: Final = ("state_dict", "model_state_dict", "model")
"""Keys under which checkpoints store the state_dict beside other data."""

DEEPEST: Final = 64

UNSUPPORTED: Final = re.compile(r"(GLOBAL|Unsupported)\b[^.]*\S*")
"""In PyTorch's message: the function that the file would have called."""

BFLOAT16: Final = "bfloat16"


@dataclass(frozen=True, slots=True, eq=False)
class _Checkpoint:
    """The bytes of the file, and the keys that lead to the tensor of each layer and field."""

    data: bytes
    paths: Mapping[tuple[str, str], tuple[Any, ...]]


def read(path: Path, data: bytes, net: Path | None) -> ModelFile:  # noqa: ARG001 - no net here
    """Read all tensors of a .pt file, and the layers among them."""
    arrays: dict[str, AnyArray] = {}
    paths: dict[str, tuple[Any, ...]] = {}
    notes = []
    for keys, tensor in _tensors(path.name, _loaded(path.name, data)):
        name = ".".join(map(str, keys[1:] if keys[:1] and keys[0] in WRAPPERS else keys))
        if name in paths:
            raise FileError.malformed(path.name, name, "be one tensor", "two of that name")
        paths[name] = keys
        if tensor.layout != torch.strided or tensor.is_quantized:
            notes.append(
                f"{name} is sparse or quantized; it is carried through in this format only"
            )
        else:
            arrays[name] = _array(path.name, name, tensor)
    named = find_layers(arrays)
    checkpoint = _Checkpoint(data, {where: paths[key] for where, key in named.keys.items()})
    return ModelFile(path, "torch", named.layers, named.others, tuple(notes), checkpoint)


def _loaded(file: str, data: bytes) -> Any:
    """Load a file that holds tensors and no code."""
    stream = io.BytesIO(data)
    with guard(file, "zipfile"):
        zipped = zipfile.is_zipfile(stream)
    if zipped:
        _zip.check_members(file, data)
    stream.seek(0)
    with guard(file, "torch.load(weights_only=True)"):
        try:
            return torch.load(stream, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            refused = UNSUPPORTED.search(str(error))
            if refused is None:
                raise
            raise FileError.runs_code(file, "", refused[0]) from error


def _tensors(file: str, loaded: Any) -> Iterator[tuple[tuple[Any, ...], torch.Tensor]]:
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), loaded)]
    while waiting:
        keys, node = waiting.pop()
        if len(keys) > DEEPEST:
            raise FileError.malformed(file, "", f"be nested at most {DEEPEST} deep", "more")
        if isinstance(node, torch.Tensor):
            yield keys, node
        elif isinstance(node, dict):
            waiting += [((*keys, key), child) for key, child in reversed(node.items())]
        elif isinstance(node, list | tuple):
            waiting += [((*keys, index), node[index]) for index in reversed(range(len(node)))]


def _array(file: str, name: str, tensor: torch.Tensor) -> AnyArray:
    """Return the values of a tensor; a tensor larger than its storage is refused.

    Strides of 0 let a small file claim any amount of memory.
    """
    claimed = tensor.numel() * tensor.element_size()
    stored = tensor.untyped_storage().nbytes()
    if claimed > stored:
        raise FileError.too_large(file, name, claimed, stored)
    with guard(file, "torch"):
        plain = tensor.detach().contiguous()
        if plain.dtype == torch.bfloat16:
            return plain.view(torch.int16).numpy().view(dtype_named(BFLOAT16))
        return plain.resolve_conj().resolve_neg().numpy()


def write(model: ModelFile) -> bytes:
    """Overwrite the tensors of the checkpoint that was read, or write a new state_dict."""
    if not isinstance(model.content, _Checkpoint):
        arrays = spelled(model)
        return _saved({n: _tensor(model.path.name, n, array) for n, array in arrays.items()})
    loaded = _loaded(model.path.name, model.content.data)
    changed = False
    for layer in model.layers:
        for field, array in layer.state.items():
            place = f"layer {layer.name}, {field}"
            keys = model.content.paths.get((layer.name, field))
            if keys is None:
                raise FileError.no_room(model.path.name, place, "an array that was not there")
            old = loaded
            for key in keys:
                old = old[key]
            changed |= _write_over(model.path.name, place, array, old)
    return _saved(loaded) if changed else model.content.data


def _write_over(file: str, place: str, array: AnyArray, old: torch.Tensor) -> bool:
    """Write an array into the memory of a tensor, and return whether that changed a value."""
    new = _tensor(file, place, array)
    if new.numel() != old.numel():
        raise FileError.no_room(file, place, f"{new.numel()} values for {old.numel()}")
    new = new.reshape(old.shape).to(old.dtype)
    if torch.equal(new, old):
        return False
    with torch.no_grad():
        old.copy_(new)
    return True


def _tensor(file: str, name: str, array: AnyArray) -> torch.Tensor:
    plain = np.array(array, order="C")  # a copy: torch requires writable memory
    with guard(file, f"torch, {name}"):
        if plain.dtype.name == BFLOAT16:
            return torch.from_numpy(plain.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(plain)


def _saved(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


FORMAT: Final = Format("torch", DIALECTS, read, write)

register(FORMAT)
