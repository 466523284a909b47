"""Errors about model files and about conversion."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from backnorm.errors.base import BacknormError, as_tuple, place_in, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["ConversionError", "FileError"]


class FileError(BacknormError, ValueError):
    """A model file cannot be read, or cannot be written."""

    @classmethod
    def unreadable(cls, file: str, error: BaseException) -> FileError:
        """The operating system does not give the file."""
        return cls(
            file,
            "be a file that can be read",
            f"{type(error).__name__}: {short(str(error))}",
            "Its normalization layers are to be read.",
            "Check the path and the permissions.",
        )

    @classmethod
    def unwritable(cls, file: str, error: BaseException) -> FileError:
        """The operating system does not take the file."""
        return cls(
            file,
            "be a place that can be written to",
            f"{type(error).__name__}: {short(str(error))}",
            "A temporary file is written beside it and renamed; nothing has been changed.",
            "Check that the folder is there, the permissions, and the room on the disk.",
        )

    @classmethod
    def not_regular(cls, file: str, got: str) -> FileError:
        """Something else than a file is where one is to be written."""
        return cls(
            file,
            "be a regular file, or not be there yet",
            got,
            "The new file is renamed to that name, and what was there would be gone.",
            "Name another file.",
        )

    @classmethod
    def no_layers(cls, file: str, others: int) -> FileError:
        """Nothing in the file is a normalization layer."""
        return cls(
            file,
            "have a normalization layer",
            f"none, and {others} other arrays",
            "Layers are told by the names and shapes of their arrays, or by the network.",
            "Check the format, and the network where there is one of its own.",
        )

    @classmethod
    def malformed(cls, file: str, place: str, requirement: str, got: str) -> FileError:
        """Something in the file is not as its format says."""
        return cls(
            place_in(file, place),
            requirement,
            got,
            "The file's format says so; it may be damaged, or of another format.",
            "Fetch or save it again, or name its format.",
        )

    @classmethod
    def library(cls, file: str, library: str, error: BaseException) -> FileError:
        """The library of the format refuses the file."""
        return cls(
            file,
            f"be a file that {library} can read",
            f"{type(error).__name__}: {short(str(error))}",
            f"{library} is the library of its format; the file may be damaged, or of another one.",
            "Fetch or save it again, or name its format.",
        )

    @classmethod
    def died(cls, file: str, library: str, how: str) -> FileError:
        """The library of the format has ended its process."""
        return cls(
            file,
            f"be a file that {library} can read",
            f"a process that ended with {how}",
            f"{library} reads it in a process of its own, so that no damaged file ends yours.",
            "Fetch or save it again.",
        )

    @classmethod
    def truncated(cls, file: str, place: str, wanted: int, left: int) -> FileError:
        """The file, or a part of it, ends too soon."""
        return cls(
            place_in(file, place),
            f"have {wanted} more bytes",
            f"{left}",
            "Its header says so; the file may have been cut off.",
            "Fetch or save it again.",
        )

    @classmethod
    def too_large(cls, file: str, place: str, claimed: int, there: int) -> FileError:
        """A header claims more than can be there."""
        return cls(
            place_in(file, place),
            f"hold no more than the {there} bytes that are there for it",
            f"a header that claims {claimed}",
            "Nothing is reserved on the word of a header.",
            "The file is damaged, or was made to do harm: fetch or save it again.",
        )

    @classmethod
    def unknown_dtype(cls, file: str, place: str, got: object, known: Iterable[str]) -> FileError:
        """An array is of a type that is not known."""
        return cls(
            place_in(file, place),
            f"be of one of the types {', '.join(known)}",
            str(got),
            "Only those can be read here.",
            "Save it as float32.",
        )

    @classmethod
    def wrong_length(cls, file: str, place: str, got: Sequence[int], c: int) -> FileError:
        """An array of a layer has not one value for each channel."""
        return cls(
            place_in(file, place),
            f"have shape ({c},)",
            as_tuple(got),
            f"The layer's other arrays have {c} channels.",
            "Check what wrote the file.",
        )

    @classmethod
    def negative_variance(cls, file: str, place: str, got: float, channel: int) -> FileError:
        """A stored variance is negative, or no number."""
        return cls(
            place_in(file, place),
            "not be negative",
            f"{got!r} in channel {channel}",
            "It is a variance: its square root is taken.",
            "Check what wrote the file; training that diverged leaves such values behind.",
        )

    @classmethod
    def missing_array(cls, file: str, place: str, there: Sequence[str]) -> FileError:
        """An array that the layer needs is not in the file."""
        return cls(
            place_in(file, place),
            "be in the file",
            f"only {', '.join(there) or 'nothing'}",
            "The normalization cannot be computed without it.",
            "Save the whole model, with its running statistics.",
        )

    @classmethod
    def outside(cls, file: str, place: str, got: str) -> FileError:
        """A name in the file leads out of its folder, or to another file."""
        return cls(
            place_in(file, place),
            "stay within the file's own folder",
            repr(got),
            "A model file has no business elsewhere on the machine.",
            "Do not use it unless you know who made it; save the model into one file.",
        )

    @classmethod
    def runs_code(cls, file: str, place: str, got: str) -> FileError:
        """Reading the file would run code that it brings along."""
        return cls(
            place_in(file, place),
            "be data and nothing else",
            short(got),
            "Reading such a file would run code that came with it.",
            "Save the arrays alone: a state_dict of tensors, or .safetensors.",
        )

    @classmethod
    def no_format(cls, file: str, suffixes: Iterable[str]) -> FileError:
        """The file's name does not tell the format."""
        return cls(
            file,
            f"end in one of {', '.join(suffixes)}",
            "another ending",
            "The ending tells the format.",
            "Rename it, or name its format.",
        )

    @classmethod
    def wrong_dialect(cls, file: str, format_: str, got: str, dialects: Sequence[str]) -> FileError:
        """The target's format has no place for a dialect's layers."""
        return cls(
            file,
            f"hold layers of {' or '.join(dialects)}",
            got,
            f"Those are what {format_} files hold.",
            f"Pass dialect {dialects[0]!r}, or write another format.",
        )

    @classmethod
    def needs_architecture(cls, file: str, format_: str, instead: str) -> FileError:
        """The format holds an architecture, which arrays do not tell."""
        return cls(
            file,
            f"be made from another {format_} file",
            "arrays of another format",
            f"{format_} holds the network's code, and arrays do not tell it.",
            f"Write {instead}, and load it into the network.",
        )

    @classmethod
    def neighbours(cls, file: str, place: str, source: str) -> FileError:
        """A file would leave behind what belongs to it."""
        return cls(
            place_in(file, place),
            f"stay in the folder of {source}",
            "another folder",
            "Its values are in a file beside, which is named and not copied.",
            "Write to the same folder, or save the model into one file first.",
        )

    @classmethod
    def no_room(cls, file: str, place: str, got: str) -> FileError:
        """An array does not fit where the file has its predecessor."""
        return cls(
            place_in(file, place),
            "fit in the place of the array that was read",
            got,
            "All else in the file is carried over as it is.",
            "Give the array the shape of the one that was read.",
        )

    @classmethod
    def twice(cls, file: str, name: str) -> FileError:
        """Two arrays would go by one name."""
        return cls(
            place_in(file, name),
            "be one array",
            "two of that name",
            "Layers get the names of the target's dialect, and other arrays keep theirs.",
            "Rename the one that is no layer's, or leave it out, in the file that was read.",
        )

    @classmethod
    def unknown_layer(cls, file: str, pattern: str, layers: Sequence[str]) -> FileError:
        """A pattern for layers fits none."""
        near = difflib.get_close_matches(pattern, layers, n=1)
        return cls(
            file,
            f"have a normalization layer that {pattern!r} fits",
            f"{', '.join(layers) or 'none'}",
            "An option is set for the layers that its pattern fits.",
            f"Did you mean {near[0]!r}?" if near else "Check the spelling; '*' fits all of them.",
        )


class ConversionError(BacknormError, ValueError):
    """A state cannot be carried from one dialect to another."""

    @classmethod
    def loss(cls, source: str, target: str, what: str, advice: str) -> ConversionError:
        """Something would be lost, and nobody said that it may be."""
        return cls(
            f"the state of {source}",
            f"be carried to {target} without loss",
            what,
            "A loss that nobody asked for would be found much later.",
            advice,
        )

    @classmethod
    def no_statistics(cls, dialect: str) -> ConversionError:
        """The layer keeps no running statistics."""
        return cls(
            f"the state of {dialect}",
            "hold a running mean and a running variance",
            "a layer that keeps none",
            "Its eval normalizes by the batch, which no state can say.",
            "Build the target layer by hand, from gamma and beta.",
        )

    @classmethod
    def not_finite(cls, dialect: str, name: str, channel: int) -> ConversionError:
        """An array of the source is NaN or infinite somewhere."""
        return cls(
            f"{name} of {dialect}",
            "be finite",
            f"NaN or infinity in channel {channel}",
            "Nothing could tell afterwards where it came from.",
            "Look for the layer's last good state.",
        )

    @classmethod
    def negative_variance(
        cls, dialect: str, name: str, got: float, channel: int
    ) -> ConversionError:
        """The source's var + eps is negative somewhere."""
        return cls(
            f"{name} of {dialect}",
            "be such that the variance + eps is not negative",
            f"a variance of {got!r} in channel {channel}",
            "Its square root is taken.",
            "Look for the layer's last good state, and check its eps.",
        )

    @classmethod
    def negative_divisor(cls, dialect: str, name: str, got: float) -> ConversionError:
        """What divides the sums is negative."""
        return cls(
            f"{name} of {dialect}",
            "be 0 or greater",
            repr(got),
            "It is a sum of weights, and divides mean and variance.",
            "Look for the layer's last good state.",
        )

    @classmethod
    def cannot_hold(
        cls, target: str, name: str, requirement: str, got: float, channel: int
    ) -> ConversionError:
        """The target has no way to write a value."""
        return cls(
            f"{name} for {target}",
            requirement,
            f"{got!r} in channel {channel}",
            f"{target} has no other way to write it.",
            "Take another target, or other options for it.",
        )

    @classmethod
    def of_layer(cls, file: str, layer: str, error: BacknormError) -> ConversionError:
        """What is wrong with one layer of a file."""
        name = f"{file}, layer {layer}, {error.name}"
        return cls(name, error.requirement, error.got, error.why, error.advice)
