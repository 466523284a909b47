"""Notes about layers and arrays: a sentence once, with the names that it is about."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backnorm.convert.files.record import ModelFile

__all__ = ["MOST_NAMES", "few", "grouped", "with_notes_about"]

MOST_NAMES: Final = 3
"""In a note; 53 layers of a network are usually alike."""


def grouped(notes: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Write each sentence once.

    Parameters
    ----------
    notes
        A name, and a sentence about it.

    Returns
    -------
    tuple of str
        Such as "bn1, bn2, bn3 and 50 more: training_mode is 1".
    """
    names: dict[str, list[str]] = {}
    for name, sentence in notes:
        names.setdefault(sentence, []).append(name)
    return tuple(f"{few(group)}: {sentence}" for sentence, group in names.items())


def with_notes_about(model: ModelFile, about: Iterable[tuple[str, str]]) -> ModelFile:
    """Replace the notes of a model that are about one array each; its other notes stay.

    Parameters
    ----------
    model
        The model.
    about
        A name, and a sentence about it.

    Returns
    -------
    ModelFile
        With these notes first.
    """
    pairs, before = tuple(about), grouped(model.about)
    others = (note for note in model.notes if note not in before)
    return replace(model, about=pairs, notes=(*grouped(pairs), *others))


def few(names: list[str]) -> str:
    """List some names, and say how many more there are."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
