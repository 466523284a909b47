"""Errors about norms that cannot be folded into the layers before them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.errors.base import name_in, place_in
from backnorm.errors.files import FileError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FoldError"]

MOST_REASONS: Final = 3
"""In a message; the norms of a network are usually alike."""


class FoldError(FileError):
    """The norms of a model file cannot be folded."""

    @classmethod
    def no_fold(cls, file: str, format_: str) -> FoldError:
        """Return the error of a file that does not tell what stands before a norm."""
        return cls(
            file,
            "a file that tells which layer stands before each norm",
            f"the format {format_}",
            "ONNX and Caffe tell what stands before a norm; for a state_dict a target tells it.",
            "Export the network to ONNX, and fold there.",
            problem=f"The norms of {file} cannot be folded: the format {format_} is not supported.",
        )

    @classmethod
    def already_folded(cls, file: str, why: str) -> FoldError:
        """Return the error of a network whose norms were folded before."""
        return cls(
            file,
            "a normalization layer",
            "convolutions with a bias",
            f"{why[:1].upper()}{why[1:]}.",
            "If the network has batch norm, it is folded already, and nothing is left to do.",
            problem=f"{file} has no normalization layer left to fold (F06 of backnorm inspect).",
        )

    @classmethod
    def no_graph(cls, file: str, format_: str) -> FoldError:
        """Return the error of a model that was not read from a file with its network."""
        return cls(
            file,
            f"a model that was read from a file of the format {format_}",
            "layers alone",
            "The network tells which layer stands before a norm.",
            "Read the network's file, and fold that.",
            problem=f"{file} has no network, so its norms cannot be folded.",
        )

    @classmethod
    def needs_like(cls, file: str) -> FoldError:
        """Return the error of a state_dict that is folded without a target."""
        return cls(
            file,
            "a target without norms",
            "none",
            "A state_dict does not tell which layers get a bias and which norms go.",
            "Pass like, the state_dict of the network without norms, as files.read returns it.",
            problem=f"{file} is a state_dict: its norms can be folded only for a given target.",
            command="Pass --like TARGET, a state_dict of the network without norms.",
        )

    @classmethod
    def unfoldable(cls, file: str, norm: str, why: str, layers: Sequence[str]) -> FoldError:
        """Return the error of a norm that the target lacks and that cannot be folded."""
        place = place_in(file, f"layer {norm}")
        names = ", ".join(map(name_in, layers[:MOST_REASONS])) or "none"
        names += f" and {len(layers) - MOST_REASONS} more" if len(layers) > MOST_REASONS else ""
        untold = "names and order do not tell which layer it follows"
        return cls(
            place,
            "follow a layer that can take it",
            names,
            "The target has no such norm.",
            "Export the network to ONNX, whose graph tells it, and fold there.",
            problem=f"{place} cannot be folded: {why or f'{untold} (of its size: {names})'}.",
        )

    @classmethod
    def none_folded(cls, file: str, reasons: Sequence[tuple[str, str]]) -> FoldError:
        """Return the error of a model none of whose norms can be folded."""
        named = [f"{name_in(name)}: {why}" for name, why in reasons[:MOST_REASONS]]
        more = len(reasons) - MOST_REASONS
        named += [f"{more} more"] if more > 0 else []
        return cls(
            file,
            "a norm that can be folded",
            "; ".join(named),
            f"{'; '.join(named)}.",
            "Convert the file without folding, or change the network.",
            problem=f"None of the {len(reasons)} norms of {file} can be folded."
            if len(reasons) > 1
            else f"The norm of {file} cannot be folded.",
        )
