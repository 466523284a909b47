"""Errors about model files that cannot be read."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from backnorm.errors.base import BacknormError, as_tuple, counted, name_in, place_in, short
from backnorm.errors.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["FileError"]

AGAIN = "Download or save it again, or pass format."

AGAIN_IN_COMMAND = "Download or save it again, or pass --from-format FORMAT."

RECOGNIZED = "Layers are recognized by the names and shapes of their arrays, or by the network."


class FileError(BacknormError, ValueError):
    """A model file cannot be read, and the base of the errors about files that are written."""

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
    def irregular_source(cls, file: str, got: str) -> FileError:
        """Return the error of a path to read that leads to something else than a file."""
        return cls(
            file,
            "a regular file",
            got,
            "A pipe or a device may never end.",
            "Copy its content into a file, and name that file.",
            problem=f"{file} is {got}, not a regular file.",
        )

    @classmethod
    def folder(cls, file: str) -> FileError:
        """Return the error of a folder in place of a file to read."""
        return cls(
            file,
            "a file",
            "a directory",
            "Only the folders of a SavedModel and of a TensorFlow.js model are read.",
            "Name a file in it.",
            problem=f"{file} is a directory, not a regular file.",
        )

    @classmethod
    def over_budget(  # noqa: PLR0917 - numbers of one sentence
        cls, file: str, place: str, needed: int, left: int, times: int, floor: int
    ) -> FileError:
        """Return the error of a file that would become too large in memory."""
        place = place_in(file, place)
        return cls(
            place,
            f"need at most the {left} bytes that are left",
            str(needed),
            f"A file may take {times} times its size and {floor} MiB of memory.",
            "If you trust the file, pass memory, in bytes.",
            problem=f"{place} needs {needed} bytes of memory, and {left} are left for the file.",
            command="If you trust the file, pass --memory MIB.",
        )

    @classmethod
    def compressed(cls, file: str, place: str, method: int) -> FileError:
        """Return the error of an archive's member that is compressed in an unusual way."""
        return cls(
            place_in(file, place),
            "be stored or deflated",
            f"compression method {method}",
            "NumPy, Keras and PyTorch write no other; a few bytes of another unpack to gigabytes.",
            AGAIN,
            command=AGAIN_IN_COMMAND,
        )

    @classmethod
    def no_layers(cls, file: str, others: int, notes: Sequence[str] = ()) -> FileError:
        """Return the error of a file without a normalization layer that can be converted."""
        return cls(
            file,
            "a normalization layer",
            counted(others, "other array"),
            f"{'; '.join(notes)}." if notes else RECOGNIZED,
            "Check the format, and pass the network's file if there is one.",
            problem=f"{file} has no normalization layer that can be converted, only "
            f"{counted(others, 'other array')}.",
            command="Check the format, and pass --net FILE if the network has a file.",
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
            command=AGAIN_IN_COMMAND,
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
            command=AGAIN_IN_COMMAND,
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
    def empty(cls, file: str) -> FileError:
        """Return the error of a file without a byte."""
        return cls(
            file,
            "content",
            "0 bytes",
            "Its download, or the program that wrote it, may have been stopped.",
            "Download or save it again.",
            problem=f"{file} is empty.",
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
            f"a header that claims {claimed} bytes",
            "The file is damaged, or was made to do harm.",
            "Download or save it again.",
            problem=f"{place_in(file, place)} has a header that claims {claimed} bytes, but the "
            f"file has only {there} for it.",
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
    def gamma_or_beta(cls, file: str, layer: str) -> FileError:
        """Return the error of a layer with one array that may be gamma or beta."""
        place = place_in(file, f"layer {name_in(layer)}")
        setting = f"{printable(layer, one_line=True)}.scale"
        command = f"Pass --set '{setting}=true' if it has gamma, or --set '{setting}=false'; "
        command += "for the file of --like, --like-set."
        return cls(
            place,
            "the names of its arrays, or four arrays",
            "three arrays without names",
            "",
            f"Pass settings=[({layer!r}, 'scale', True)] if it has gamma, or else False.",
            problem=f"{place} has three arrays without names: the file does not tell whether the "
            "first is gamma or beta.",
            command=command,
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
            "Rename it, or pass format.",
            command="Rename it, or pass --to-format FORMAT.",
            problem=f"The format of {file} cannot be told from its name.",
        )

    @classmethod
    def no_source(cls, file: str, suffixes: Iterable[str]) -> FileError:
        """Return the error of a file of data with a suffix that is not known."""
        return cls(
            file,
            f"be named {', '.join(suffixes)}",
            "another suffix",
            "The suffix tells how the values are stored.",
            "Save the array with numpy.save, or rename the file.",
        )

    @classmethod
    def no_array(cls, name: str, files: Sequence[str]) -> FileError:
        """Return the error of a name that no array in the files has."""
        return cls(
            short(name),
            f"be an array in {', '.join(files[:3])}",
            "no array of that name",
            "",
            "Leave out --array to see all names.",
        )

    @classmethod
    def several_arrays(cls, file: str, names: Sequence[str]) -> FileError:
        """Return the error of a file for one array's moments, where there are several or none."""
        return cls(
            file,
            "hold the moments of one array",
            f"{len(names)} arrays" + (f", {', '.join(map(short, names[:3]))}" if names else ""),
            "It has no place for names.",
            "Choose one with --array NAME.",
        )

    @classmethod
    def other_content(cls, file: str, wanted: str, looks_like: str) -> FileError:
        """Return the error of a file whose content is not that of a format."""
        told = f"It looks like {looks_like}." if looks_like else ""
        problem = (
            f"{file} is not {wanted}."
            if wanted
            else f"The format of {file} cannot be told from its name or its content."
        )
        return cls(
            file,
            wanted or "a file of a known format",
            looks_like or "other content",
            told,
            "Check that it is whole, or pass format if you know it.",
            command="Check that it is whole, or pass --from-format FORMAT if you know it.",
            problem=problem,
        )

    @classmethod
    def other_format(cls, file: str, wanted: str, got: str) -> FileError:
        """Return the error of a file that cannot be read, and has the content of another format."""
        return cls(
            file,
            f"a file of the format {wanted}",
            f"one of the format {got}",
            f"It looks like a file of the format {got}.",
            f"Rename it, or pass format={got!r}.",
            command=f"Rename it, or pass --from-format {got}.",
            problem=f"{name_in(file)} is not a file of the format {wanted}.",
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

    @classmethod
    def hidden_setting(
        cls, file: str, hidden: tuple[str, str, object], later: tuple[str, str, object]
    ) -> FileError:
        """Return the error of a setting that a later one with a wider pattern overrides."""
        first, last = (
            f"'{name_in(f'{pattern}.{option}')}={str(value).lower()}'"
            for pattern, option, value in (hidden, later)
        )
        return cls(
            file,
            "settings that each have an effect",
            f"{first} and after it {last}",
            "Of several settings that fit a layer, the last counts.",
            f"Put {later} first.",
            problem=f"The setting {first} for {name_in(file)} has no effect: {last} fits the same "
            "layers, and comes after it.",
            command=f"Put --set {last} first.",
        )

    @classmethod
    def contradicted(
        cls, file: str, layer: str, option: str, got: object, there: Sequence[str]
    ) -> FileError:
        """Return the error of an option that does not fit the arrays of a layer."""
        return cls(
            place_in(file, f"layer {name_in(layer)}, {option}"),
            "agree with the arrays of the layer",
            str(got).lower(),
            f"The layer has {', '.join(there)}.",
            "Leave the option out: it follows from the arrays.",
        )
