"""What a check is given, and what it comes to."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from backnorm.audit.record import IMPOSSIBLE

if TYPE_CHECKING:
    from backnorm.audit.measure.gradient import Measurement
    from backnorm.audit.record import Finding, PrecisionPoint, Record, Result
    from backnorm.audit.subject import Subject

__all__ = ["Case", "Check", "Examine", "Outcome", "failed", "impossible", "passed", "skipped"]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A subject whose gradient has been judged.

    Attributes
    ----------
    subject
        The black box.
    measurements
        What was measured of its gradient, in each of its formats.
    record
        The verdict so far.
    seed
        Where random inputs start.
    """

    subject: Subject
    measurements: tuple[Measurement, ...]
    record: Record
    seed: int

    @property
    def finest(self) -> Measurement:
        """What was measured in the finest format."""
        return self.measurements[-1]

    def rng(self, name: str) -> np.random.Generator:
        """Return the random numbers of one check: another check more changes none of them."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check came to.

    Attributes
    ----------
    result
        Whether what it saw is as it should be; "skipped" where it could not be tried.
    what
        What it saw, with the numbers, or why it was skipped.
    findings
        What is wrong.
    notes
        What is worth knowing and no fault.
    state
        The law of the running statistics in words.
    precision
        Rounding errors.
    verdict
        A verdict on the gradient which replaces the one so far, since it is worse.
    """

    result: Result
    what: str
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    state: str = ""
    precision: tuple[PrecisionPoint, ...] = ()
    verdict: Record | None = None


class Examine(Protocol):
    """A function that tries one thing."""

    def __call__(self, case: Case) -> Outcome:
        """Return what was seen."""
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is tried.

    Attributes
    ----------
    code
        Its name in reports, such as P02.
    name
        What it looks at, in a few words.
    examine
        The function that does it.
    """

    code: str
    name: str
    examine: Examine


def passed(what: str) -> Outcome:
    """All is as it should be."""
    return Outcome("pass", what)


def failed(what: str, *findings: Finding) -> Outcome:
    """Something is not; `findings` say what."""
    return Outcome("fail", what, findings)


def impossible(what: str) -> Outcome:
    """It cannot be tried with this subject, whatever its gradient is."""
    return Outcome("skipped", f"{IMPOSSIBLE}{what}")


def skipped(why: str) -> Outcome:
    """It could not be tried."""
    return Outcome("skipped", why)
