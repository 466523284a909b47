"""Errors about kernels of which a model file does not tell enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.errors.base import as_tuple, name_in, place_in
from backnorm.errors.files import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["KernelError"]

MOST_NAMES: Final = 8
"""In a message."""


class KernelError(FileError):
    """It is not known in which order the axes of a kernel, or its rows, must be."""

    @classmethod
    def flattened(cls, file: str, inputs: Mapping[str, int]) -> KernelError:
        """Return the error of dense layers that may read a flattened map."""
        first = next(iter(inputs))
        layers = _listed([f"{name_in(name)} ({rows} inputs)" for name, rows in inputs.items()])
        channels = "the number of channels of the map that is flattened before it"
        return cls(
            file,
            "tell what is flattened before a dense layer",
            layers,
            "Keras and Flax flatten a map channels last, other frameworks channels first, so the "
            "weights would be in the wrong order.",
            f"Read the file with settings=[({first!r}, 'flatten', C)], where C is {channels}, or "
            "False if no map is.",
            problem=f"{name_in(file)} does not tell whether a map is flattened before {layers}.",
            command=f"Pass --set '{name_in(first)}.flatten=C', where C is {channels}, or "
            f"--set '{name_in(first)}.flatten=false' if no map is; --set '*.flatten=false' "
            "in front of it is for all other layers.",
        )

    @classmethod
    def square(cls, file: str, names: Sequence[str]) -> KernelError:
        """Return the error of square matrices that may be kernels of dense layers."""
        first, listed = names[0], _listed([name_in(name) for name in names])
        return cls(
            file,
            "tell what its square matrices are",
            listed,
            "The kernel of a dense layer is transposed, an embedding is not, and the shape would "
            "be the same.",
            f"Read the file with settings=[({first!r}, 'kind', 'dense')], or 'other'.",
            problem=f"{name_in(file)} does not tell whether {listed} is the kernel of a dense "
            "layer.",
            command=f"Pass --set '{name_in(first)}.kind=dense' if it is, or "
            f"--set '{name_in(first)}.kind=other'.",
        )

    @classmethod
    def wrong_channels(cls, file: str, layer: str, got: object, rows: int) -> KernelError:
        """Return the error of a number of channels that a dense layer cannot have flattened."""
        return cls(
            place_in(file, f"{layer}, flatten"),
            f"be false or a divisor of {rows}",
            str(got).lower(),
            f"The layer has {rows} inputs.",
            "Give the number of channels of the map that is flattened before the layer.",
        )

    @classmethod
    def wrong_kind(
        cls, file: str, name: str, got: object, shape: Sequence[int], kinds: Sequence[str]
    ) -> KernelError:
        """Return the error of a kind that an array cannot have."""
        return cls(
            place_in(file, f"{name}, kind"),
            f"be {' or '.join(kinds)}",
            str(got).lower(),
            f"The array has the shape {as_tuple(shape)}.",
            "Give the kind of the layer that has the array.",
        )

    @classmethod
    def unknown(cls, file: str, pattern: str, option: str, names: Sequence[str]) -> KernelError:
        """Return the error of a pattern that matches no kernel."""
        known = _listed([name_in(name) for name in names]) or "none"
        what = "dense layer" if option == "flatten" else "array of two axes or more"
        return cls(
            file,
            f"a {what} that matches {pattern!r}",
            known,
            f"There are: {known}.",
            "Check the spelling; '*' matches all.",
            problem=f"{name_in(file)} has no {what} that matches {pattern!r}.",
        )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
