"""What keeps together when arrays get other names: a layer, a kernel with its bias, or an array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backnorm.convert.files.naming.names import names_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from backnorm.convert.files.record import ModelFile

__all__ = ["NamedPart", "parts_of", "proposed"]


@dataclass(frozen=True, slots=True)
class NamedPart:
    """What keeps together: a normalization layer, a kernel with its bias, or an array.

    Attributes
    ----------
    name
        Of the layer, or of the array.
    shape
        What its counterpart has too.
    arrays
        The names of its arrays, the first of which tells them apart.
    """

    name: str
    shape: tuple[object, ...]
    arrays: Mapping[str, str]

    @property
    def norm(self) -> bool:
        """Whether it is a normalization layer."""
        return self.shape[0] == "norm"

    @property
    def words(self) -> str:
        """The shape as a message says it."""
        first, second = self.shape
        if self.norm:
            return f"a norm of {second} channels"
        return f"{first} with a bias" if second else str(first)

    @property
    def main(self) -> str:
        """The name that tells a part from all others."""
        return next(iter(self.arrays.values()))


def parts_of(model: ModelFile, other: ModelFile) -> list[NamedPart]:
    """Return the parts of a model; a kernel without its bias, if the other file has it so."""
    there = {part.main: part for part in _parts(other)}
    parts = []
    for part in _parts(model):
        twin = there.get(part.main)
        if not part.norm and twin is not None and len(part.arrays) > len(twin.arrays):
            names = part.arrays.values()
            parts += [_alone(name, model.others[name].shape) for name in names]
        else:
            parts.append(part)
    return parts


def _alone(name: str, shape: tuple[int, ...]) -> NamedPart:
    return NamedPart(name, (shape, False), {"weight": name})


def _parts(model: ModelFile) -> Iterator[NamedPart]:
    for layer in model.layers:
        yield NamedPart(layer.name, ("norm", layer.channels), names_of(layer))
    taken: set[str] = set()
    for kernel in model.kernels:
        arrays = {"weight": kernel.weight} | ({"bias": kernel.bias} if kernel.bias else {})
        taken |= set(arrays.values())
        shape = model.others[kernel.weight].shape
        yield NamedPart(kernel.name, (shape, bool(kernel.bias)), arrays)
    for name, array in model.others.items():
        if name not in taken:
            yield _alone(name, array.shape)


def proposed(part: NamedPart, to: NamedPart) -> list[tuple[str, str]]:
    """Return pairs of names that rename a part: one for a whole layer, if its names allow that."""
    if not part.norm:
        return [(part.main, to.main)]
    stems = [_before_fields(one) for one in (part, to)]
    if all(stems):
        return [(f"{stems[0]}*", f"{stems[1]}*")]
    return [(name, to.arrays[slot]) for slot, name in part.arrays.items() if slot in to.arrays]


def _before_fields(part: NamedPart) -> str:
    """Return what stands before the field in all names of a layer; empty if they differ there."""
    (stem, *others) = {
        name.removesuffix(slot) if name.endswith(slot) else "" for slot, name in part.arrays.items()
    }
    return "" if others or "*" in stem else stem
