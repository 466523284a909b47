"""The record of an audit: all that it says about one subject, as in the JSON schema."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from backnorm._display import Displayed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.audit.kinds import Kind

__all__ = [
    "AUDIT_ERROR",
    "IMPOSSIBLE",
    "NOTE_FAMILIES",
    "OTHER_FUNCTION",
    "ChannelParts",
    "Coefficients",
    "Errors",
    "Expected",
    "Finding",
    "Mode",
    "Path",
    "PrecisionPoint",
    "ProbeResult",
    "Record",
    "Result",
    "Sweep",
]

Mode: TypeAlias = Literal["batch", "frozen", "other"]
Path: TypeAlias = Literal["both", "mean", "variance", "none", "unexplained"]
Result: TypeAlias = Literal["pass", "fail", "skipped"]
Sweep: TypeAlias = Literal["offset", "scale"]

IMPOSSIBLE: Final = "not possible here: "
"""Prefix of the reason where the subject, or what calls it, lacks the means for a probe."""

OTHER_FUNCTION: Final = "y is not a normalization of kind "
"""Beginning of the note on a program whose y is not what its facts say: summaries show it."""

AUDIT_ERROR: Final = "C03"
"""The finding which says that the audit itself raised an error."""

NOTE_FAMILIES: Final = ("N", "R", "Z")
"""First letters of the findings that are notes: lost digits, results that are not bitwise
identical, and parameters that are 0. They are worth knowing, and not a reason to fail."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    code
        Its code, such as G01; docs/findings.md lists all codes.
    what
        What was found, in a sentence.
    expected, got
        What a right subject gives, and what this subject gave.
    causes
        Likely causes, the likeliest first.
    remedy
        What to do.
    ignored
        Why it does not count, such as the reason for which it was accepted; empty where it counts.
    """

    code: str
    what: str
    expected: str
    got: str
    causes: tuple[str, ...]
    remedy: str
    ignored: str = ""

    @property
    def counts(self) -> bool:
        """Whether it is a reason to fail: neither a note nor ignored."""
        return self.code[0] not in NOTE_FAMILIES and not self.ignored


@dataclass(frozen=True, slots=True)
class Coefficients:
    """The share of each path in dx: 1 for the whole path, 0 without it; None where unknown."""

    direct: float | None = None
    mean: float | None = None
    variance: float | None = None


@dataclass(frozen=True, slots=True)
class Errors:
    """Largest errors, relative to the size of the exact value; None where nothing was compared.

    Attributes
    ----------
    y
        Against the forward law that was recovered from y.
    dx, dgamma, dbeta
        Against the derivative of the subject's own forward pass.
    """

    y: float | None = None
    dx: float | None = None
    dgamma: float | None = None
    dbeta: float | None = None


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one probe tested, and its result.

    Attributes
    ----------
    code
        Its code, such as P01.
    name
        What it tests, in a few words.
    result
        Whether all is as it should be; "skipped" where the probe could not run.
    what
        What was measured, with the numbers, or why the probe was skipped.
    seconds
        How long it took; it does not count when results are compared.
    """

    code: str
    name: str
    result: Result
    what: str
    seconds: float = field(compare=False)


@dataclass(frozen=True, slots=True)
class PrecisionPoint:
    """Rounding errors at one mean or scale of x, relative to the scale of each channel.

    Attributes
    ----------
    sweep
        Whether the mean of x varies, or its scale.
    value
        The mean over the standard deviation, or the standard deviation. 1, or [x]
    dtype
        The dtype.
    y, dx
        Errors of the subject; None where a value is not finite.
    exact_y, exact_dx
        Errors of an exact computation of the same law, rounded once to the same dtype. None where
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
class ChannelParts:
    """The gradient of one channel, split into its paths, for a drawing.

    Attributes
    ----------
    x
        The input, 64 values at most. [x]
    dx
        What the subject returned.
    direct, mean, variance
        D, M and V, built with the statistics that the subject used.
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
    sound: bool | None
    codes: tuple[str, ...] = ()
    later: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Record(Displayed):
    """The verdict on one subject, with its numbers. Print it to see a table; a notebook shows it.

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
    residual
        What the three paths leave of dx, relative to the direct path.
    sound
        Whether the gradient is the derivative of the subject's own forward pass; None where this
        was not judged: `not_judged` or `forward_only` says why, or for a subject that could not be
        audited the findings.
    not_judged
        Why the gradient of an audited subject was not judged; empty where it was.
    findings
        What is wrong with the gradient, which makes it unsound, or with anything else.
    errors
        How far the gradient is from that derivative.
    audited
        False when the subject could not be audited; then the findings say why.
    law
        The forward law in words.
    notes
        What is worth knowing, but is not a fault.
    expected
        For specimens: the verdict they must get.
    state
        How the running statistics are updated, in words, and the dialect that does the same.
    probes
        The results of all probes.
    precision
        Rounding errors over large means, and over small and large scales.
    parts
        The gradient of one channel, split into its paths.
    forward_only
        Why the subject has no gradient, so that its forward pass alone was judged: then `sound` is
        None, and `through`, coefficients and residual say nothing. Empty for others.
    """

    target: str
    kind: Kind
    mode: Mode = "other"
    through: Path = "unexplained"
    coefficients: Coefficients = Coefficients()
    residual: float | None = None
    sound: bool | None = None
    not_judged: str = ""
    findings: tuple[Finding, ...] = ()
    errors: Errors = Errors()
    audited: bool = True
    law: str = ""
    notes: tuple[str, ...] = ()
    expected: Expected | None = None
    state: str = ""
    probes: tuple[ProbeResult, ...] = ()
    precision: tuple[PrecisionPoint, ...] = ()
    parts: ChannelParts | None = None
    forward_only: str = ""

    @property
    def clean(self) -> bool:
        """Whether its gradient was judged, if there is one, and no finding counts.

        A gradient that is wrong has findings, so that this is false unless they are ignored.
        """
        excused = self.sound is False and any(found.ignored for found in self.findings)
        judged = self.sound is True or excused or bool(self.forward_only)
        return judged and self.audited and not any(f.counts for f in self.findings)

    @property
    def open(self) -> bool:
        """Whether it is not known if its gradient is right, though there is one."""
        return self.sound is None and not self.forward_only

    @property
    def complete(self) -> bool:
        """Whether no part of the audit itself failed."""
        return all(found.code != AUDIT_ERROR for found in self.findings)

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
                "probes": tuple(ProbeResult(**p) for p in plain.get("probes", ())),
                "precision": tuple(PrecisionPoint(**p) for p in plain.get("precision", ())),
                "parts": ChannelParts(**{name: tuple(v) for name, v in parts.items()})
                if parts
                else None,
            }
        )

    def as_expected(self) -> bool | None:
        """Whether a specimen got its verdict; None when the subject is not a specimen.

        A quick audit judges only the gradient of a first call: then findings of other families are
        not expected, and for a verdict on a later call None is returned.
        """
        quick = len(self.probes) == 1
        if self.expected is None or (quick and self.expected.later):
            return None
        expected, codes = self.expected, tuple(finding.code for finding in self.findings)
        if quick:
            gradient_codes = tuple(code for code in expected.codes if code.startswith("G"))
            expected = replace(expected, codes=gradient_codes)
        return self.audited and expected == replace(
            expected, mode=self.mode, through=self.through, sound=self.sound, codes=codes
        )


def _expected(plain: Mapping[str, Any]) -> Expected:
    return Expected(**{**plain, "codes": tuple(plain["codes"])})
