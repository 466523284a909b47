"""What an audit says about one subject: the T of the JSON schema."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.audit.kinds import Kind

__all__ = [
    "IMPOSSIBLE",
    "REMARKS",
    "Coefficients",
    "Errors",
    "Expected",
    "Finding",
    "Mode",
    "Parts",
    "Path",
    "PrecisionPoint",
    "Probe",
    "Record",
    "Result",
    "Sweep",
]

Mode: TypeAlias = Literal["batch", "frozen", "other"]
Path: TypeAlias = Literal["both", "mean", "variance", "none", "unexplained"]
Result: TypeAlias = Literal["pass", "fail", "skipped"]
Sweep: TypeAlias = Literal["offset", "scale"]

IMPOSSIBLE: Final = "not possible here: "
"""Before why a probe was skipped which the subject, or what it runs in, has no means for."""

REMARKS: Final = ("N", "R")
"""First letters of findings that are worth knowing and no reason to fail: digits that are lost, and
bits that differ."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    code
        Its name, such as G01; docs/findings.md lists them.
    what
        What was found, in a sentence.
    expected, got
        What a right subject gives, and what this one gave.
    causes
        Likely causes, the likeliest first.
    remedy
        What to do.
    """

    code: str
    what: str
    expected: str
    got: str
    causes: tuple[str, ...]
    remedy: str


@dataclass(frozen=True, slots=True)
class Coefficients:
    """How much of each path is in dx: 1 all of it, 0 nothing; None where it cannot be told."""

    direct: float | None = None
    mean: float | None = None
    variance: float | None = None


@dataclass(frozen=True, slots=True)
class Errors:
    """Largest errors, relative to the size of the exact value; None where there is none.

    Attributes
    ----------
    y
        Against the forward law that was recovered from y itself.
    dx, dgamma, dbeta
        Against the derivative of the subject's own forward pass.
    """

    y: float | None = None
    dx: float | None = None
    dgamma: float | None = None
    dbeta: float | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing that was tried, and how it went.

    Attributes
    ----------
    code
        Its name, such as P01.
    name
        What it looks at, in a few words.
    result
        Whether what it saw is as it should be; "skipped" where it could not be tried.
    what
        What it saw, with the numbers, or why it was skipped.
    seconds
        How long it took; two probes that saw the same are equal whatever this is.
    """

    code: str
    name: str
    result: Result
    what: str
    seconds: float = field(compare=False)


@dataclass(frozen=True, slots=True)
class PrecisionPoint:
    """Rounding errors on one input, relative to the scale of each channel.

    Attributes
    ----------
    sweep
        Whether the mean of x is what grows, or its scale.
    value
        The mean over the standard deviation, or the standard deviation. 1, or [x]
    dtype
        The format.
    y, dx
        Errors of the subject; None where something is not finite.
    exact_y, exact_dx
        Errors of an exact computation of the same law, rounded to the same format once. None where
        that is not finite either, and where dx is wrong anyway and was not compared.
    """

    sweep: Sweep
    value: float
    dtype: str
    y: float | None
    dx: float | None
    exact_y: float | None
    exact_dx: float | None


@dataclass(frozen=True, slots=True)
class Parts:
    """The gradient of one row of values that share their statistics, in its parts, to be drawn.

    Attributes
    ----------
    x
        The input, 64 values at most. [x]
    dx
        What the subject returned.
    direct, mean, variance
        D, M and V, built with the statistics that the subject itself used.
    """

    x: tuple[float, ...]
    dx: tuple[float, ...]
    direct: tuple[float, ...]
    mean: tuple[float, ...]
    variance: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """The verdict that a specimen must get.

    Attributes
    ----------
    mode, through, sound
        As in the record.
    codes
        Codes of all findings that it must get, in their order.
    later
        Whether this is the verdict on a later call, after others were made.
    """

    mode: Mode
    through: Path
    sound: bool
    codes: tuple[str, ...] = ()
    later: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """The verdict on one subject, with its numbers.

    Attributes
    ----------
    target
        Name of the subject.
    kind
        batch, layer, group, instance or rms.
    mode
        Whether the forward pass uses the batch's statistics, constants, or something else.
    through
        Which statistics the gradient goes through; "mean" means that only the mean takes part.
    coefficients
        Shares of the three paths in dx.
    unexplained
        What the three paths leave of dx, relative to the direct path.
    sound
        Whether the gradient is the derivative of the subject's own forward pass.
    findings
        What is wrong: with the gradient, and that makes it unsound; or with something else.
    errors
        How far the gradient is from that derivative.
    audited
        False when the subject could not be audited; then the findings say why.
    law
        The forward law in words.
    notes
        What is worth knowing and no fault.
    expected
        For specimens: the verdict they must get.
    state
        How the running statistics are updated, in words, and the dialect that does the same.
    probes
        All that was tried.
    precision
        Rounding errors over large means, and over small and large scales.
    parts
        The gradient of one channel in its parts.
    """

    target: str
    kind: Kind
    mode: Mode = "other"
    through: Path = "unexplained"
    coefficients: Coefficients = Coefficients()
    unexplained: float | None = None
    sound: bool = False
    findings: tuple[Finding, ...] = ()
    errors: Errors = Errors()
    audited: bool = True
    law: str = ""
    notes: tuple[str, ...] = ()
    expected: Expected | None = None
    state: str = ""
    probes: tuple[Probe, ...] = ()
    precision: tuple[PrecisionPoint, ...] = ()
    parts: Parts | None = None

    @property
    def clean(self) -> bool:
        """Whether it was audited, its gradient is right, and no finding is more than a remark."""
        return self.audited and self.sound and all(f.code[0] in REMARKS for f in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists and numbers, ready for JSON."""
        plain = asdict(self)
        for name in ("notes", "probes", "precision"):
            plain[name] = list(plain[name])
        if self.expected is not None:
            plain["expected"]["codes"] = list(self.expected.codes)
        plain["findings"] = [{**asdict(f), "causes": list(f.causes)} for f in self.findings]
        if self.parts is not None:
            plain["parts"] = {name: list(values) for name, values in asdict(self.parts).items()}
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Record:
        """Build a record from what `to_dict` gave."""
        expected, parts = plain["expected"], plain.get("parts")
        return cls(
            **{
                **plain,
                "coefficients": Coefficients(**plain["coefficients"]),
                "errors": Errors(**plain["errors"]),
                "findings": tuple(
                    Finding(**{**f, "causes": tuple(f["causes"])}) for f in plain["findings"]
                ),
                "notes": tuple(plain["notes"]),
                "expected": _expected(expected) if expected else None,
                "probes": tuple(Probe(**one) for one in plain.get("probes", ())),
                "precision": tuple(PrecisionPoint(**one) for one in plain.get("precision", ())),
                "parts": Parts(**{name: tuple(v) for name, v in parts.items()}) if parts else None,
            }
        )

    def as_expected(self) -> bool | None:
        """Whether a specimen got its verdict; None when the subject is no specimen.

        Where only the gradient of a first call was looked at, nothing else is expected, and None
        is returned for a verdict on a later one.
        """
        quick = len(self.probes) == 1
        if self.expected is None or (quick and self.expected.later):
            return None
        wanted, found = self.expected, tuple(finding.code for finding in self.findings)
        if quick:
            wanted = replace(wanted, codes=tuple(c for c in wanted.codes if c.startswith("G")))
        got = replace(wanted, mode=self.mode, through=self.through, sound=self.sound, codes=found)
        return self.audited and wanted == got


def _expected(plain: Mapping[str, Any]) -> Expected:
    return Expected(**{**plain, "codes": tuple(plain["codes"])})
