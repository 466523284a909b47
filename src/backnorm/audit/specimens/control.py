"""The negative control: the harness around a subject must recognize a dx that is known to be cut.

The subject is run with its dx replaced by its own D, D + M and D + V, and the audit must say none,
mean and variance. It proves what lies between the subject and the verdict: shapes, axes, kinds,
dtypes, and under another interpreter the pipes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backnorm.audit.conduct import GRADIENT, conduct, faulty
from backnorm.audit.kinds import has_mean
from backnorm.audit.measure.form import fit_form
from backnorm.audit.measure.forward_law import recover_forward_law
from backnorm.audit.measure.inputs import Inputs
from backnorm.audit.measure.parts import path_parts
from backnorm.audit.record import Expected
from backnorm.audit.subjects.blame import blamed
from backnorm.audit.subjects.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.kinds import Kind
    from backnorm.audit.measure.forward_law import ForwardLaw
    from backnorm.audit.measure.parts import PathParts
    from backnorm.audit.measure.row_fit import RowFit
    from backnorm.audit.record import Path, Record
    from backnorm.audit.subject import Subject

__all__ = ["Control", "controls_of"]

WITH_MEAN: Final[dict[str, tuple[Path, str]]] = {
    "D": ("none", "G03"),
    "D + M": ("mean", "G02"),
    "D + V": ("variance", "G01"),
}
"""Each control: what the audit must say of it, and with which finding."""

WITHOUT_MEAN: Final[dict[str, tuple[Path, str]]] = {"D": ("none", "G02"), "D + V": ("both", "")}
"""The same where the variance is the only statistic: D + V is then the whole gradient."""

WIDTHS: Final = (1.0, 4.0, 16.0)
"""Standard deviations of x that show the rows which an activation cuts off elsewhere."""

PARAMETERS: Final = ("G13", "G14")
"""Findings about dgamma and dbeta, which a control leaves as they are."""


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """A subject, and what replaces its dx.

    Attributes
    ----------
    subject
        The subject, named after the control.
    paths
        "D", "D + M" or "D + V".
    """

    subject: Subject
    paths: str

    @property
    def name(self) -> str:
        """What the report calls it."""
        return self.subject.name

    @property
    def kind(self) -> Kind:
        """The kind of the subject."""
        return self.subject.kind

    def record(self, at_work: Callable[[str], object], *, seed: int = 0) -> Record:
        """Audit the subject with that dx; the record has the verdict that it must get.

        Parameters
        ----------
        at_work
            Called with the name of the probe when it begins.
        seed
            Seed of the random inputs.
        """
        subject = self.subject
        at_work(GRADIENT)
        try:
            law = recover_forward_law(subject, np.random.default_rng(seed), subject.dtypes[0])
        except Exception as error:  # noqa: BLE001 - `blamed` tells whose it is
            return faulty(subject, blamed(subject.name, error))
        own = conduct(subject, None, seed, quick=True, at_work=at_work)
        if not own.audited:
            return own
        codes = [found.code for found in own.findings if found.code in PARAMETERS]
        runner = Runner(Replaced(subject, self.paths))
        expected = self._expected(law, codes)
        changed = replace(subject, runner=runner, expected=expected)
        return conduct(changed, None, seed, quick=True, at_work=at_work)

    def _expected(self, law: ForwardLaw, codes: Sequence[str]) -> Expected:
        """Return the verdict that is due, where the forward pass follows a law."""
        known = WITH_MEAN if has_mean(self.subject.kind) else WITHOUT_MEAN
        through, code = known[self.paths]
        if law.mode == "frozen":
            code = "" if through == "none" else "G04"
        if law.mode == "other" and code:
            code = "G11"
        due = (*filter(None, [code]), *codes)
        return Expected(law.mode, through, not due, due)


@dataclass(frozen=True, slots=True, eq=False)
class Replaced:
    """The inner part of a runner that returns some paths of its subject in place of dx.

    Attributes
    ----------
    subject
        The subject as it is.
    paths
        Which of its paths.
    laws
        Its forward law in each dtype, once it has been measured.
    """

    subject: Subject
    paths: str
    laws: dict[str, ForwardLaw] = field(default_factory=dict)

    def forward(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> AnyArray:
        """Return y."""
        return self.subject.forward(x, gamma, beta)

    def run(
        self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray
    ) -> dict[str, Any]:
        """Return y and the gradients, dx from the measured paths."""
        run, law = self.subject.run(x, gamma, beta, dy), self._law(x.dtype.name)
        geometry = self.subject.geometry(len(x), law.groups)
        inputs = Inputs(geometry, 1.0, x, dy, gamma, beta)
        parts = path_parts(self.subject, law, inputs, run, self._lines(law, inputs, run.y))
        dx = geometry.from_rows(_sum(parts, self.paths)).astype(x.dtype)
        return {"y": run.y, "dx": dx, "dgamma": run.dgamma, "dbeta": run.dbeta}

    def _lines(self, law: ForwardLaw, inputs: Inputs, y: AnyArray) -> RowFit:
        """Return the lines of a call.

        An activation may leave too few elements of a row to find its line. The lines of constants
        are the same for every x, so these rows are found on other x.
        """
        fit = fit_form(inputs, y, law.form)
        if law.mode != "frozen" or fit.known.all():
            return fit
        rng, shape = np.random.default_rng(0), inputs.x.shape
        known, slope, centre = fit.known, fit.slope, fit.centre
        for width in WIDTHS:
            x = (width * rng.standard_normal(shape)).astype(inputs.x.dtype)
            other = replace(inputs, x=x)
            lines = fit_form(other, other.forward(self.subject), law.form)
            new = (lines.known & ~known)[:, None]
            slope, centre = np.where(new, lines.slope, slope), np.where(new, lines.centre, centre)
            known = known | lines.known
        rows = inputs.geometry.rows(inputs.x)
        u = law.form.gamma(inputs) * slope * (rows - centre) + law.form.beta(inputs)
        gamma = law.form.gamma(inputs)
        return replace(fit, known=known, slope=slope, centre=centre, gamma=gamma, u=u)

    def _law(self, dtype: str) -> ForwardLaw:
        if dtype not in self.laws:
            self.laws[dtype] = recover_forward_law(self.subject, np.random.default_rng(0), dtype)
        return self.laws[dtype]


def controls_of(subject: Subject) -> tuple[Control, ...]:
    """Return the controls of a subject: three, or two where it has no mean."""
    known = WITH_MEAN if has_mean(subject.kind) else WITHOUT_MEAN
    return tuple(
        Control(replace(subject, name=f"{subject.name}, dx = {paths}"), paths) for paths in known
    )


def _sum(parts: PathParts, paths: str) -> Float64Array:
    named = {"D": parts.direct, "M": parts.mean, "V": parts.variance}
    return np.asarray(sum(named[path] for path in paths.split(" + ")))
