"""Errors about model files that cannot be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm.errors.base import name_in, place_in, short
from backnorm.errors.files import FileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["WriteError"]


class WriteError(FileError):
    """A model file cannot be written, or its format cannot hold what it is to hold."""

    @classmethod
    def unwritable(cls, file: str, error: BaseException) -> WriteError:
        """Return the error of a file that the operating system does not let us write."""
        # Not str(error), which names the file that is written first and then renamed.
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        got = f"{type(error).__name__}: {short(words)}"
        return cls(
            file,
            "a file that can be written",
            got,
            "No file has been changed.",
            "Check that the folder exists, its permissions, and the free space on the disk.",
            problem=f"{file} cannot be written: {got}.",
        )

    @classmethod
    def unsynchronized(cls, file: str, error: BaseException) -> WriteError:
        """Return the error of a file that was written, and may not be on the disk yet."""
        got = f"{type(error).__name__}: {short(str(error))}"
        return cls(
            file,
            "a file on the disk",
            got,
            "The new file is there, whole; after a power failure the old one could be back.",
            "Check the disk, and write the file again.",
            problem=f"{file} has been written, but its folder cannot be synchronized: {got}.",
        )

    @classmethod
    def not_regular(cls, file: str, got: str) -> WriteError:
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
    def other_opset(cls, file: str, opset: int, why: str) -> WriteError:
        """Return the error of an ONNX model that cannot be written in another opset."""
        return cls(
            file,
            f"a model in opset {opset}",
            short(why),
            "onnx.version_converter converts a whole model; the batch norm alone could differ.",
            "Pass the dialect 'onnx' to keep the opset, or export the model in that opset.",
            problem=f"{file} cannot be written in opset {opset}: {short(why)}.",
            command="Pass --to onnx to keep the opset, or export the model in that opset.",
        )

    @classmethod
    def wrong_dialect(
        cls, file: str, format_: str, got: str, dialects: Sequence[str]
    ) -> WriteError:
        """Return the error of a target whose format cannot hold a dialect's layers."""
        known = " or ".join(dialects)
        return cls(
            file,
            f"layers of {known}",
            got,
            f"The format {format_} is for layers of {known}.",
            f"Pass dialect {dialects[0]!r}, or write another format.",
            problem=f"{file} cannot hold layers of {got}.",
            command=f"Pass --to {dialects[0]}, or write another format.",
        )

    @classmethod
    def several_versions(cls, file: str, dialects: Sequence[str]) -> WriteError:
        """Return the error of layers of several versions for a file that has one."""
        got = " and ".join(dialects)
        return cls(
            file,
            "layers of one version",
            got,
            "The file says once which version all of its layers have.",
            f"Convert all layers to {dialects[-1]}.",
            problem=f"{file} cannot hold layers of {got}.",
        )

    @classmethod
    def needs_architecture(cls, file: str, format_: str, instead: str) -> WriteError:
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
    def read_only(cls, file: str, format_: str) -> WriteError:
        """Return the error of a target whose format is only read."""
        return cls(
            file,
            "a format that can be written",
            format_,
            f"The format {format_} holds a program beside the arrays, which arrays do not tell.",
            "Write another format, such as .safetensors, and load it into the network.",
            problem=f"{file} cannot be written: files of the format {format_} are only read.",
        )

    @classmethod
    def neighbours(cls, file: str, place: str, source: str) -> WriteError:
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
    def no_room(cls, file: str, place: str, got: str) -> WriteError:
        """Return the error of an array that does not fit in the place of the old array."""
        return cls(
            place_in(file, place),
            "fit in the place of the array that was read",
            got,
            "The rest of the file is copied unchanged.",
            "Give the array the shape of the array that was read.",
        )

    @classmethod
    def twice(cls, file: str, name: str) -> WriteError:
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
    def within_array(cls, file: str, name: str, array: str) -> WriteError:
        """Return the error of a name that begins with the name of an array, as of a group."""
        return cls(
            place_in(file, name),
            "a name outside of other arrays",
            f"a name in the array {name_in(array)}",
            "The format keeps arrays in groups, and an array cannot be a group too.",
            "Rename or remove one of the two in the file that was read.",
            problem=f"{place_in(file, name)} would be in {name_in(array)}, which is an array.",
        )

    @classmethod
    def unwritable_name(cls, file: str, name: str, requirement: str) -> WriteError:
        """Return the error of a name that the target's format cannot hold."""
        return cls(
            f"an array's name in {file}",
            requirement,
            f"'{name_in(name)}'",
            "The format cannot hold other names.",
            "Rename or remove the array in the file that was read, or write another format.",
        )

    @classmethod
    def unwritable_dtype(
        cls, file: str, place: str, got: object, known: Iterable[str]
    ) -> WriteError:
        """Return the error of an array whose dtype the target's format cannot hold."""
        held = ", ".join(known)
        return cls(
            place_in(file, place),
            f"hold {held}",
            str(got),
            f"The format can hold {held}.",
            "Remove the array from the file that was read, or write another format.",
            problem=f"{place_in(file, place)} is an array of {got}, which the format cannot hold.",
        )

    @classmethod
    def unwritable_axes(cls, file: str, place: str, got: int, most: int) -> WriteError:
        """Return the error of an array with more axes than the target's format can hold."""
        return cls(
            place_in(file, place),
            f"have at most {most} axes",
            f"{got}",
            "The format cannot hold more.",
            "Remove the array from the file that was read, or write another format.",
        )
