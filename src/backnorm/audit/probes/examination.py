"""What a probe receives, and what it returns."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from backnorm.audit.record import IMPOSSIBLE

if TYPE_CHECKING:
    from backnorm.audit.measure.forward_law import ForwardLaw
    from backnorm.audit.measure.gradient import Measurement
    from backnorm.audit.record import Finding, PrecisionPoint, Record, Result
    from backnorm.audit.subject import Subject

__all__ = [
    "Examination",
    "Examine",
    "Probe",
    "ProbeOutcome",
    "failed",
    "impossible",
    "passed",
    "skipped",
]


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """A subject whose gradient has been judged, and what is known of it so far.

    Attributes
    ----------
    subject
        The black box.
    measurements
        What was measured of its gradient, in each of its dtypes.
    record
        The verdict and the results of earlier probes.
    seed
        Seed of the random inputs.
    laws
        The forward law in each dtype.
    """

    subject: Subject
    measurements: tuple[Measurement, ...]
    record: Record
    seed: int
    laws: tuple[ForwardLaw, ...]

    @property
    def finest(self) -> Measurement:
        """What was measured in the finest dtype."""
        return self.measurements[-1]

    def rng(self, name: str) -> np.random.Generator:
        """Return the random generator of one probe: another probe does not change its numbers."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """What a probe found.

    Attributes
    ----------
    result
        Whether all is as it should be; "skipped" where the probe could not run.
    what
        What was measured, with the numbers, or why the probe was skipped.
    findings
        What is wrong.
    notes
        What is worth knowing, but is not a fault.
    state
        The law of the running statistics in words.
    precision
        Rounding errors.
    verdict
        A worse verdict on the gradient, which replaces the verdict so far.
    """

    result: Result
    what: str
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    state: str = ""
    precision: tuple[PrecisionPoint, ...] = ()
    verdict: Record | None = None


class Examine(Protocol):
    """A function that tests one thing."""

    def __call__(self, examination: Examination) -> ProbeOutcome:
        """Return what was found."""
        ...


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing that is tested.

    Attributes
    ----------
    code
        Its code in reports, such as P02.
    name
        What it tests, in a few words.
    examine
        The function that tests it.
    """

    code: str
    name: str
    examine: Examine


def passed(what: str) -> ProbeOutcome:
    """Return the outcome of a probe that found nothing wrong."""
    return ProbeOutcome("pass", what)


def failed(what: str, *findings: Finding) -> ProbeOutcome:
    """Return the outcome of a probe that found a fault; `findings` say which."""
    return ProbeOutcome("fail", what, findings)


def impossible(why: str) -> ProbeOutcome:
    """Return the outcome of a probe that cannot run on this subject, whatever its gradient is."""
    return ProbeOutcome("skipped", f"{IMPOSSIBLE}{why}")


def skipped(why: str) -> ProbeOutcome:
    """Return the outcome of a probe that could not run."""
    return ProbeOutcome("skipped", why)
