"""Errors about what a project sets: [tool.backnorm], accepted findings, and baselines."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from backnorm.errors.base import BacknormError, name_in, short, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SettingsError"]


class SettingsError(BacknormError, ValueError):
    """What a project sets for its audits cannot be read, or does not hold."""

    @classmethod
    def unreadable(cls, file: str, error: Exception) -> SettingsError:
        """Return the error of a file of settings that is not there, or that is not TOML."""
        reason = getattr(error, "strerror", None) or short(str(error))
        return cls(
            file,
            "a TOML file",
            reason,
            "",
            "Correct the file, or name another one with --config.",
            problem=f"{name_in(file)} cannot be read: {reason}.",
        )

    @classmethod
    def key(cls, where: str, got: str, known: Sequence[str]) -> SettingsError:
        """Return the error of a key that there is not."""
        near = difflib.get_close_matches(got, known, n=1)
        return cls(
            where,
            f"one of the keys {', '.join(known)}",
            shown(got),
            "",
            f"Did you mean {near[0]}?" if near else "Remove it.",
            problem=f"{where} has an unknown key: {shown(got)}. Its keys are {', '.join(known)}.",
        )

    @classmethod
    def missing(cls, where: str, key: str) -> SettingsError:
        """Return the error of a key that must be there."""
        return cls(
            where,
            f"the key {key}",
            "no such key",
            "",
            f"Add {key}.",
            problem=f"{where} lacks the key {key}.",
        )

    @classmethod
    def value(cls, where: str, requirement: str, got: object) -> SettingsError:
        """Return the error of a value of another type, or that is not one of the choices."""
        return cls(where, f"be {requirement}", shown(got), "", "Correct the value.")

    @classmethod
    def code(cls, where: str, got: str, known: Sequence[str]) -> SettingsError:
        """Return the error of a code that no finding has."""
        near = difflib.get_close_matches(got.upper(), known, n=3)
        return cls(
            where,
            "be the code of a finding, or the letter of a family",
            shown(got),
            f"Codes that are like it: {', '.join(near)}." if near else "",
            "backnorm explain lists all findings.",
        )

    @classmethod
    def undecided(cls, where: str, got: str) -> SettingsError:
        """Return the error of a code that says that something was not audited."""
        return cls(
            where,
            "be the code of a finding about a layer",
            got,
            f"{got} says that a target, or a part of it, was not audited.",
            "Correct what keeps the audit from it, or leave out the target.",
        )

    @classmethod
    def expired(
        cls, code: str, target: str, until: str, reason: str, *, found: bool
    ) -> SettingsError:
        """Return the error of an accepted finding whose last day is over."""
        whose = "" if target == "*" else f" of {name_in(target)}"
        again = "The finding is still there, and counts again." if found else "It was not found."
        return cls(
            code,
            f"no such finding after {until}",
            "the same finding",
            again,
            "Fix it, or accept it until another day." if found else "Remove the entry.",
            problem=f"{code}{whose} was accepted until {until} ({short(reason)}).",
        )

    @classmethod
    def baseline(cls, file: str, error: Exception) -> SettingsError:
        """Return the error of a baseline that is not there, or that is not a baseline."""
        reason = getattr(error, "strerror", None) or short(f"{type(error).__name__}: {error}")
        return cls(
            file,
            "a baseline",
            reason,
            "",
            f"Write it with --write-baseline {name_in(file)}.",
            problem=f"{name_in(file)} cannot be read as a baseline: {reason}.",
        )
