"""Errors about the names that arrays of a model file are to get."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from backnorm.errors.base import name_in, place_in, short
from backnorm.errors.files import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ArrayNameError"]

MOST_NAMES: Final = 8
"""In a message."""


class ArrayNameError(FileError):
    """Arrays cannot get the names that were asked for."""

    @classmethod
    def no_pair(cls, got: str) -> ArrayNameError:
        """Return the error of a line that is not a pair of names."""
        return cls(
            "a pair of names",
            "be OLD=NEW",
            short(got),
            "Each pair renames arrays.",
            "Write one pair in a line; NEW may be empty, which leaves the array out.",
        )

    @classmethod
    def asterisks(cls, old: str, new: str) -> ArrayNameError:
        """Return the error of a new name with more asterisks than the old one."""
        return cls(
            f"the new name {name_in(new)}",
            "have at most as many '*' as the old name",
            name_in(old),
            "Each '*' stands for what one '*' of the old name matched.",
            "Write the new name out.",
        )

    @classmethod
    def unknown_array(cls, file: str, pattern: str, names: Sequence[str]) -> ArrayNameError:
        """Return the error of a pattern that matches no array's name."""
        near = difflib.get_close_matches(pattern, names, n=1)
        known = ", ".join(map(name_in, names[:MOST_NAMES]))
        known += ", ..." if len(names) > MOST_NAMES else ""
        return cls(
            file,
            f"an array whose name matches {pattern!r}",
            known,
            f"Its arrays: {known}.",
            f"Did you mean {near[0]!r}?" if near else "Check the spelling; '*' matches any text.",
            problem=f"{name_in(file)} has no array whose name matches {pattern!r}.",
        )

    @classmethod
    def renamed_alike(cls, file: str, name: str, first: str, second: str) -> ArrayNameError:
        """Return the error of two arrays that would get one name."""
        return cls(
            place_in(file, name),
            "the new name of one array",
            f"{name_in(first)} and {name_in(second)}",
            "A file has each name once.",
            "Give them different names, or leave one out: an empty new name does that.",
            problem=f"{place_in(file, name)} would be the name of both {name_in(first)} and "
            f"{name_in(second)}.",
        )

    @classmethod
    def torn_layer(cls, file: str, layer: str, names: Mapping[str, str]) -> ArrayNameError:
        """Return the error of a normalization layer whose arrays get names that do not fit."""
        got = ", ".join(
            f"{field} to {name_in(to) if to else 'nothing'}" for field, to in names.items()
        )
        return cls(
            place_in(file, f"layer {layer}"),
            "have arrays that are renamed as those of one layer",
            got,
            "The target's framework looks for them under one name.",
            "Rename them by one pair, such as 'bn1.*=body.1.*'.",
        )

    @classmethod
    def network_names(cls, file: str, format_: str) -> ArrayNameError:
        """Return the error of names in a file that holds a network, which refers to them."""
        return cls(
            file,
            "a file of arrays alone",
            f"a network of the format {format_}",
            "The network refers to its arrays by their names.",
            "Write another format, or leave the names.",
            problem=f"The arrays of {name_in(file)} cannot be renamed: it holds the network too.",
        )

    @classmethod
    def unlike(cls, file: str, got: str, wanted: Sequence[str]) -> ArrayNameError:
        """Return the error of a file to take names from that is of another framework."""
        return cls(
            file,
            f"have layers of {' or '.join(wanted)}",
            got,
            "Its names are given to the file that is written.",
            "Pass a file of the framework that is converted to.",
        )

    @classmethod
    def unlike_shape(cls, file: str, name: str, got: str, wanted: str) -> ArrayNameError:
        """Return the error of an array that has the name of one with another shape."""
        return cls(
            place_in(file, name),
            f"have the shape of the converted array, {got}",
            wanted,
            "Both have this name.",
            "Rename the converted array, or check that both are the same network.",
        )

    @classmethod
    def unmatched(
        cls,
        file: str,
        other: str,
        ours: Sequence[str],
        theirs: Sequence[str],
        doubtful: Sequence[str] = (),
    ) -> ArrayNameError:
        """Return the error of arrays of one shape that two files have in different numbers.

        `doubtful` are the layers whose kernels would have another shape if they were of another
        kind than their names and shapes tell.
        """
        there, here = (", ".join(map(name_in, names)) or "no array" for names in (theirs, ours))
        old = name_in(ours[0]) if ours else "OLD"
        new = name_in(theirs[0]) if theirs and ours else ""
        advice = (
            f"Pass rename with pairs for these, such as ({old!r}, {new!r}); an empty new name "
            "leaves an array out."
        )
        command = (
            f"Pass --rename for these, such as --rename '{old}={new}'; an empty new name leaves an "
            "array out."
        )
        if doubtful:
            layers = " or ".join(map(name_in, doubtful))
            why = "If the file that is converted does not tell the kind of a kernel, "
            advice = (
                f"{why}read it with settings=[({doubtful[0]!r}, 'kind', KIND)] where KIND is "
                f"'depthwise', 'transposed', 'dense' or 'conv'. {advice}"
            )
            command = (
                f"{why}pass --set 'LAYER.kind=KIND' where LAYER is {layers}, and KIND is "
                f"depthwise, transposed, dense or conv. {command}"
            )
        return cls(
            file,
            f"the arrays of {other}",
            here,
            "",
            advice,
            problem=f"The arrays of {name_in(file)} and of {name_in(other)} do not correspond: "
            f"{name_in(file)} has {here}, and {name_in(other)} has {there} of that shape.",
            command=command,
        )

    @classmethod
    def ambiguous(
        cls,
        file: str,
        other: str,
        names: Sequence[tuple[str, str]],
        pairs: Sequence[tuple[str, str]],
        *,
        order: bool,
    ) -> ArrayNameError:
        """Return the error of arrays of one shape that neither names nor order tell apart.

        `names` are those of the first shape, and `pairs` rename the arrays of all such shapes.
        """
        why = (
            "Their names contradict their order."
            if order
            else "At least one of the two files does not keep the order of the network."
        )
        texts = [f"--rename '{name_in(old)}={name_in(new)}'" for old, new in pairs]
        here, there = (", ".join(name_in(pair[at]) for pair in names) for at in (0, 1))
        return cls(
            file,
            f"arrays that correspond to those of {other}",
            f"{here} for {there}",
            why,
            f"Rename them first. If their numbers tell the order, the pairs are {list(pairs)}.",
            problem=f"Which of {here} in {name_in(file)} is which of {there} in {name_in(other)} "
            "cannot be told: they have one shape.",
            command=f"Pass --rename. If their numbers tell the order: {' '.join(texts)}",
        )

    @classmethod
    def other_arrays(
        cls, file: str, layer: str, ours: Sequence[str], theirs: Sequence[str]
    ) -> ArrayNameError:
        """Return the error of a layer that has other arrays in the file to take names from."""
        return cls(
            place_in(file, f"layer {layer}"),
            f"have the arrays {', '.join(ours)}",
            ", ".join(theirs) or "no array",
            "The converted layer has them.",
            "Build the network with the options that the table shows, and save it again.",
        )

    @classmethod
    def other_eps(
        cls, file: str, layer: str, option: str, ours: object, theirs: object
    ) -> ArrayNameError:
        """Return the error of a network to fill whose layer adds another eps."""
        return cls(
            place_in(file, f"layer {layer}, {option}"),
            f"be {ours}, as in the converted layer",
            str(theirs),
            "The file that is written keeps the options of this network.",
            f"Build the network with {option}={ours}, and save it again. If the file that is "
            "converted does not tell eps, pass settings.",
            command=f"Build the network with {option}={ours}, and save it again. If the file that "
            "is converted does not tell eps, pass --set.",
        )
