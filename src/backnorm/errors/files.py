"""Errors about model files and about conversion."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from backnorm.errors.base import BacknormError, as_tuple, place_in, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["ConversionError", "FileError"]

AGAIN = "Download or save it again, or name its format."


class FileError(BacknormError, ValueError):
    """A model file cannot be read, or cannot be written."""

    @classmethod
    def unreadable(cls, file: str, error: BaseException) -> FileError:
        """Return the error of a file that the operating system does not let us read."""
        got = f"{type(error).__name__}: {short(str(error))}"
        return cls(
            file,
            "a file that can be read",
            got,
            "",
            "Check the path and the permissions.",
            problem=f"{file} cannot be read: {got}.",
        )

    @classmethod
    def unwritable(cls, file: str, error: BaseException) -> FileError:
        """Return the error of a file that the operating system does not let us write."""
        got = f"{type(error).__name__}: {short(str(error))}"
        return cls(
            file,
            "a file that can be written",
            got,
            "No file has been changed.",
            "Check that the folder exists, its permissions, and the free space on the disk.",
            problem=f"{file} cannot be written: {got}.",
        )

    @classmethod
    def not_regular(cls, file: str, got: str) -> FileError:
        """Return the error of a path that holds something else than a file."""
        return cls(
            file,
            "a regular file, or a name that is free",
            got,
            "A new file would replace it.",
            "Name another file.",
            problem=f"{file} is {got}, not a regular file.",
        )

    @classmethod
    def no_layers(cls, file: str, others: int) -> FileError:
        """Return the error of a file without a normalization layer."""
        return cls(
            file,
            "a normalization layer",
            f"{others} other arrays",
            "Layers are recognized by the names and shapes of their arrays, or by the network.",
            "Check the format, and pass the network's file if there is one.",
            problem=f"{file} has no normalization layer, only {others} other arrays.",
        )

    @classmethod
    def malformed(cls, file: str, place: str, requirement: str, got: str) -> FileError:
        """Return the error of content that its format does not allow."""
        return cls(
            place_in(file, place),
            requirement,
            got,
            "The format requires it; the file may be damaged, or have another format.",
            AGAIN,
        )

    @classmethod
    def library(cls, file: str, library: str, error: BaseException) -> FileError:
        """Return the error of a file that its format's library refuses."""
        got = f"{type(error).__name__}: {short(str(error))}"
        return cls(
            file,
            f"a file that {library} can read",
            got,
            "The file may be damaged, or have another format.",
            AGAIN,
            problem=f"{file} cannot be read by {library}: {got}.",
        )

    @classmethod
    def died(cls, file: str, library: str, how: str) -> FileError:
        """Return the error of a library whose process ended while it read the file."""
        return cls(
            file,
            f"a file that {library} can read",
            how,
            f"{library} runs in a separate process, so that a damaged file cannot end yours.",
            "Download or save the file again.",
            problem=f"{library} failed on {file}: {how}.",
        )

    @classmethod
    def truncated(cls, file: str, place: str, wanted: int, left: int) -> FileError:
        """Return the error of a file, or of a part of it, that ends too soon."""
        return cls(
            place_in(file, place),
            f"have {wanted} more bytes",
            f"{left}",
            "The header says so; the file may have been cut off.",
            "Download or save it again.",
        )

    @classmethod
    def too_large(cls, file: str, place: str, claimed: int, there: int) -> FileError:
        """Return the error of a header that claims more than the file can hold."""
        return cls(
            place_in(file, place),
            f"at most the {there} bytes that are there",
            f"a header that claims {claimed}",
            "The file is damaged, or was made to do harm.",
            "Download or save it again.",
            problem=f"{place_in(file, place)} has a header that claims {claimed}, but the file has "
            f"only {there} bytes for it.",
        )

    @classmethod
    def unknown_dtype(cls, file: str, place: str, got: object, known: Iterable[str]) -> FileError:
        """Return the error of an array whose dtype cannot be read."""
        return cls(
            place_in(file, place),
            f"have one of the dtypes {', '.join(known)}",
            str(got),
            "Other dtypes cannot be read here.",
            "Save it as float32.",
        )

    @classmethod
    def wrong_length(cls, file: str, place: str, got: Sequence[int], c: int) -> FileError:
        """Return the error of an array that does not have one value for each channel."""
        return cls(
            place_in(file, place),
            f"have shape ({c},)",
            as_tuple(got),
            f"The layer's other arrays have {c} channels.",
            "Check the program that wrote the file.",
        )

    @classmethod
    def negative_variance(cls, file: str, place: str, got: float, channel: int) -> FileError:
        """Return the error of a stored variance that is negative or NaN."""
        return cls(
            place_in(file, place),
            "not be negative",
            f"{got!r} in channel {channel}",
            "It is a variance: its square root is taken.",
            "Check the program that wrote the file; training that diverged leaves such values.",
        )

    @classmethod
    def missing_array(cls, file: str, place: str, there: Sequence[str]) -> FileError:
        """Return the error of an array that the layer needs and the file lacks."""
        got = ", ".join(there) or "nothing"
        return cls(
            place_in(file, place),
            "an array in the file",
            got,
            "The normalization cannot be computed without it.",
            "Save the whole model, with its running statistics.",
            problem=f"{place_in(file, place)} is not in the file, which has only {got}.",
        )

    @classmethod
    def outside(cls, file: str, place: str, got: str) -> FileError:
        """Return the error of a name that leads out of the file's folder, or to another file."""
        return cls(
            place_in(file, place),
            "a name within the file's folder",
            repr(got),
            "A model file may not reach other files of the machine.",
            "Do not use it unless you know who made it; save the model into one file.",
            problem=f"{place_in(file, place)} leads out of the file's folder: {got!r}.",
        )

    @classmethod
    def runs_code(cls, file: str, place: str, got: str) -> FileError:
        """Return the error of a file that would run code when it is read."""
        return cls(
            place_in(file, place),
            "data that runs no code",
            short(got),
            "Only data is read and written here.",
            "Save the arrays alone: a state_dict of tensors, or .safetensors.",
            problem=f"{place_in(file, place)} could run code when it is read: {short(got)}.",
        )

    @classmethod
    def no_format(cls, file: str, suffixes: Iterable[str]) -> FileError:
        """Return the error of a file whose name does not tell its format."""
        return cls(
            file,
            "a known ending",
            "another ending",
            f"Known endings are {', '.join(suffixes)}.",
            "Rename it, or name its format.",
            problem=f"The format of {file} cannot be told from its name.",
        )

    @classmethod
    def wrong_dialect(cls, file: str, format_: str, got: str, dialects: Sequence[str]) -> FileError:
        """Return the error of a target whose format cannot hold a dialect's layers."""
        known = " or ".join(dialects)
        return cls(
            file,
            f"layers of {known}",
            got,
            f"The format {format_} is for layers of {known}.",
            f"Pass dialect {dialects[0]!r}, or write another format.",
            problem=f"{file} cannot hold layers of {got}.",
        )

    @classmethod
    def needs_architecture(cls, file: str, format_: str, instead: str) -> FileError:
        """Return the error of a format that needs the network's architecture."""
        return cls(
            file,
            f"another {format_} file as source",
            "arrays of another format",
            f"{format_} holds the network's architecture, which arrays do not tell.",
            f"Write {instead}, and load it into the network.",
            problem=f"{file} can be made only from another {format_} file.",
        )

    @classmethod
    def neighbours(cls, file: str, place: str, source: str) -> FileError:
        """Return the error of a copy that would lose a file beside its source."""
        return cls(
            place_in(file, place),
            f"a file in the folder of {source}",
            "another folder",
            "That file would not be copied.",
            "Write to the same folder, or save the model into one file first.",
            problem=f"{place_in(file, place)} keeps its values in a file beside {source}.",
        )

    @classmethod
    def no_room(cls, file: str, place: str, got: str) -> FileError:
        """Return the error of an array that does not fit in the place of the old array."""
        return cls(
            place_in(file, place),
            "fit in the place of the array that was read",
            got,
            "The rest of the file is copied unchanged.",
            "Give the array the shape of the array that was read.",
        )

    @classmethod
    def twice(cls, file: str, name: str) -> FileError:
        """Return the error of two arrays with the same name."""
        return cls(
            place_in(file, name),
            "one array of that name",
            "two arrays",
            "Layers get the names of the target's dialect; other arrays keep their names.",
            "Rename or remove the other array in the file that was read.",
            problem=f"{place_in(file, name)} would be the name of two arrays.",
        )

    @classmethod
    def unknown_layer(cls, file: str, pattern: str, layers: Sequence[str]) -> FileError:
        """Return the error of a pattern that matches no layer."""
        near = difflib.get_close_matches(pattern, layers, n=1)
        known = ", ".join(layers) or "none"
        return cls(
            file,
            f"a normalization layer that matches {pattern!r}",
            known,
            f"Its normalization layers: {known}.",
            f"Did you mean {near[0]!r}?" if near else "Check the spelling; '*' matches all layers.",
            problem=f"{file} has no normalization layer that matches {pattern!r}.",
        )


class ConversionError(BacknormError, ValueError):
    """A state cannot be carried from one dialect to another."""

    @classmethod
    def loss(cls, source: str, target: str, what: str, advice: str) -> ConversionError:
        """Return the error of a conversion that would lose something without permission."""
        return cls(
            f"{source}'s state",
            f"a conversion to {target} without loss",
            what,
            "",
            advice,
            problem=f"{source}'s state cannot be converted to {target} without loss: {what}.",
        )

    @classmethod
    def no_statistics(cls, dialect: str) -> ConversionError:
        """Return the error of a layer that keeps no running statistics."""
        return cls(
            f"{dialect}'s state",
            "a running mean and a running variance",
            "a layer that keeps no running statistics",
            "In eval the layer normalizes by the batch, which a state cannot express.",
            "Build the target layer by hand, from gamma and beta.",
            problem=f"{dialect}'s state has no running mean and no running variance.",
        )

    @classmethod
    def not_finite(cls, dialect: str, name: str, channel: int) -> ConversionError:
        """Return the error of an array of the source that has NaN or infinity in it."""
        return cls(
            f"{name} of {dialect}",
            "be finite",
            f"NaN or infinity in channel {channel}",
            "After the conversion nobody could tell where it came from.",
            "Look for the layer's last good state.",
        )

    @classmethod
    def negative_variance(
        cls, dialect: str, name: str, got: float, channel: int
    ) -> ConversionError:
        """Return the error of a source whose var + eps is negative somewhere."""
        return cls(
            f"{name} of {dialect}",
            "give a variance of at least -eps",
            f"{got!r} in channel {channel}",
            "The square root of var + eps is taken.",
            "Look for the layer's last good state, and check its eps.",
        )

    @classmethod
    def negative_divisor(cls, dialect: str, name: str, got: float) -> ConversionError:
        """Return the error of a divisor of the sums that is negative."""
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
        """Return the error of a value that the target cannot represent."""
        return cls(
            f"{name} for {target}",
            requirement,
            f"{got!r} in channel {channel}",
            f"{target} cannot represent other values.",
            "Choose another target, or other options for it.",
        )

    @classmethod
    def of_layer(cls, file: str, layer: str, error: BacknormError) -> ConversionError:
        """Return the error of one layer of a file."""
        place = f"{file}, layer {layer}"
        parts = (error.requirement, error.got, error.why, error.advice)
        return cls(f"{place}, {error.name}", *parts, problem=f"{place}, {error.problem}")
