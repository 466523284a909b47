"""The probes of several ranks: each calls the layer in one process and in several, and compares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from backnorm.audit.findings import finding
from backnorm.audit.probes.examination import ProbeOutcome, failed, passed, skipped
from backnorm.audit.ranks import cuts
from backnorm.audit.ranks.laws import (
    RankStatistics,
    agrees,
    counted,
    counting,
    differing,
    extra_of,
    law_of,
    mixtures,
    used,
)
from backnorm.audit.ranks.world import FORMS
from backnorm.host.names import STATISTICS, state_role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.ranks.world import RankAnswer, RankCall, RankGroup
    from backnorm.audit.subject import Subject

__all__ = ["RANK_PROBES", "RankExamination", "RankProbe"]

WRONG: Final = {
    "equal": ("W01", "the mean of the ranks' means, and of their mean squares"),
    "equal, within": ("W01", "the mean of the ranks' means, and of their variances"),
    "within": ("W06", "the variance within the ranks: that of their means is left out"),
    "own": ("W06", "those of one rank"),
    "other": ("W06", "neither those of all ranks nor those of one"),
}
"""Of each law that is wrong its finding, and what is said of it."""

OF_ONE: Final = "y is that of one process"


@dataclass(slots=True)
class RankExamination:
    """A subject over several ranks, and what is known of it so far.

    Attributes
    ----------
    subject
        What is audited.
    ranks
        How many ranks there are.
    one, several
        A group of one process, and one of all.
    seed
        Seed of the random inputs.
    form
        The shape in which the layer takes a mask; empty where it takes none, or is not known.
    law
        Which statistics the ranks use where the batch is cut evenly; empty where that could not be
        measured.
    """

    subject: Subject
    ranks: int
    one: RankGroup
    several: RankGroup
    seed: int
    form: str = field(default="", init=False)
    law: str = field(default="", init=False)

    @property
    def alike(self) -> bool:
        """Whether all ranks must have parts of one shape, so that masks stand for other sizes."""
        return self.several.alike

    def parts(self, sizes: Sequence[int]) -> list[RankCall]:
        """Draw what each rank gets."""
        return cuts.parts_of(self.subject, np.random.default_rng([self.seed, *sizes]), sizes)

    def compared(self, parts: Sequence[RankCall]) -> Compared:
        """Call the layer in all ways in which a cut batch is compared."""
        if self.alike and len({part.x.shape for part in parts}) > 1:
            parts = cuts.padded(parts)
        whole, *alone = (
            self.one.call([call], self.form)[0]
            for call in (cuts.joined(parts), *(part for part in parts if len(part.x)))
        )
        each = iter(alone)
        own = [next(each).y if len(part.x) else part.x for part in parts]
        return Compared(list(parts), self.several.call(parts, self.form), whole, own)

    def masked(self) -> list[RankCall]:
        """Draw what each rank gets with masks that hide a part of it."""
        plain = self.parts(cuts.even(self.ranks))
        return cuts.masked(plain, np.random.default_rng([self.seed, 1]))

    def find_form(self) -> str:
        """Find the shape in which the layer takes a mask; say why if it takes none."""
        if "mask" not in self.subject.runner.can:
            return "it takes no mask"
        one, words = cuts.joined(self.masked()), []
        for form in FORMS if not self.form else ():
            answer = self.one.call([one], form)[0]
            if not answer.failed:
                self.form = form
                break
            words.append(answer.raised)
        return "" if self.form else f"it takes no mask of {' or '.join(FORMS)}: {words[0]}"

    def why_of_one_size(self) -> str:
        """Say why all ranks must have as many values; empty where some can have fewer."""
        why = self.find_form() if self.alike else ""
        return why and f"not judged, since parts of JAX have one shape and {why}"


class Compared(NamedTuple):
    """What a cut batch gave.

    Attributes
    ----------
    parts, answers
        Of each rank.
    whole
        The answer of one rank that has the whole batch.
    alone
        y of each part on a rank that has nothing else.
    """

    parts: list[RankCall]
    answers: list[RankAnswer]
    whole: RankAnswer
    alone: list[AnyArray | None]

    @property
    def trouble(self) -> str:
        """Why there is nothing to compare; empty where there is."""
        if self.whole.failed:
            return f"in a group of one process: {self.whole.raised or 'it did not answer'}"
        return troubles(self.answers)

    def of_whole(self, values: AnyArray) -> list[AnyArray]:
        """Cut what the whole batch gave as the batch is cut."""
        return np.split(values, np.cumsum([len(part.x) for part in self.parts])[:-1])

    def law(self, known_extra: Float64Array | None = None) -> str:
        """Name the statistics that the ranks used."""
        assert self.whole.y is not None  # noqa: S101 - `trouble` says so
        one = cuts.joined(self.parts)
        fitted = used(one, self.whole.y)
        extra = known_extra
        if extra is None and fitted is not None:
            extra = extra_of(fitted, one)
        known = {} if extra is None else mixtures(self.parts, extra)
        given = self.parts, self.answers, self.of_whole(self.whole.y), self.alone
        return law_of(*given, known)


class RankProbe(NamedTuple):
    """One thing that is tested over several ranks."""

    code: str
    name: str
    examine: Callable[[RankExamination], ProbeOutcome]


def troubles(answers: Sequence[RankAnswer]) -> str:
    """Say which ranks gave no result; empty where all did."""
    said = [
        f"rank {rank} {'waits for ever' if answer.hung else f'raised {answer.raised}'}"
        for rank, answer in enumerate(answers)
        if answer.failed
    ]
    return "; ".join(said)


def statistics(examination: RankExamination) -> ProbeOutcome:
    """Cut a batch evenly and unevenly, and compare y with that of one process that has it all."""
    same = examination.compared(examination.parts(cuts.even(examination.ranks)))
    if same.trouble:
        return skipped(same.trouble)
    examination.law = same.law()
    if examination.law == "own":
        return passed("each rank normalizes with its own values: nothing is synchronized")
    if examination.law != "all":
        code, what = WRONG[examination.law]
        return failed(f"equal parts: {what}", finding(code, f"with equal parts, {what}"))
    why = examination.why_of_one_size()
    if why:
        return passed(f"{OF_ONE}, for equal parts; unequal parts {why}")
    return _of_unequal(examination)


def _of_unequal(examination: RankExamination) -> ProbeOutcome:
    other = examination.compared(examination.parts(cuts.uneven(examination.ranks)))
    if other.trouble:
        return failed(other.trouble, finding("W06", f"with unequal parts, {other.trouble}"))
    law = other.law()
    if law == "all":
        return passed(f"{OF_ONE}, for equal and for unequal parts")
    code, what = WRONG[law]
    return failed(f"unequal parts: {what}", finding(code, f"with unequal parts, {what}"))


def gradient(examination: RankExamination) -> ProbeOutcome:
    """Compare dx, dgamma and dbeta of a cut batch with those of one process that has it all."""
    if examination.law != "all":
        return skipped("nothing is synchronized as in one process")
    found = examination.compared(examination.parts(cuts.even(examination.ranks)))
    if found.trouble:
        return skipped(found.trouble)
    wrong = [name for name in ("dx", "dgamma", "dbeta") if not _right(name, found)]
    if not wrong:
        return passed("dx is that of one process; dgamma and dbeta are so, or add up to it")
    text = f"another {' and another '.join(wrong)} than in one process"
    return failed(text, finding("W07", text))


def _right(name: str, found: Compared) -> bool:
    expected = getattr(found.whole, name)
    values = [getattr(answer, name) for answer in found.answers]
    if expected is None:
        return True
    if any(value is None for value in values):
        return False
    if name == "dx":
        return all(map(agrees, values, found.of_whole(expected)))
    same = all(agrees(value, expected) for value in values)
    return same or agrees(np.stack(values).sum(0), expected)


def running(examination: RankExamination) -> ProbeOutcome:
    """Compare running statistics after a call with those of one process that has all values."""
    found = examination.compared(examination.parts(cuts.even(examination.ranks)))
    if found.trouble:
        return skipped(found.trouble)
    names = _statistics_in(examination, found.whole.state)
    if not names:
        return skipped("it keeps no running statistics")
    alone = [examination.one.call([part])[0] for part in found.parts]
    local: list[str] = []
    other: list[str] = []
    for name in names:
        values = [answer.state[name] for answer in found.answers]
        if all(agrees(value, found.whole.state[name]) for value in values):
            continue
        own = [answer.state.get(name) for answer in alone]
        is_own = all(o is not None and agrees(v, o) for v, o in zip(values, own, strict=True))
        (local if is_own else other).append(name)
    if local:
        text = f"{', '.join(local)} of each rank from its own values"
        return failed(text, finding("W04", text))
    if other and examination.law == "all":
        text = f"{', '.join(other)} neither of all ranks nor of one"
        return failed(text, finding("W04", text))
    if other:
        return skipped("the statistics of y are those neither of all ranks nor of one")
    return passed(f"{', '.join(names)} are those of all ranks")


def _statistics_in(examination: RankExamination, state: Mapping[str, AnyArray]) -> list[str]:
    """Name the running statistics; in JAX a state is declared, whatever its parts are called."""
    named = [name for name in state if state_role(name) in STATISTICS]
    size = int(np.prod(examination.subject.parameter_shape))
    return named or [n for n, value in state.items() if examination.alike and value.size == size]


def masks(examination: RankExamination) -> ProbeOutcome:
    """Let masks hide values, more on some ranks than on others, and all values of one rank."""
    why = examination.find_form()
    if why:
        return skipped(why)
    plain, parts = examination.parts(cuts.even(examination.ranks)), examination.masked()
    one = cuts.joined(parts)
    found = examination.compared(parts)
    if found.trouble:
        return failed(found.trouble, finding("W06", f"with masks, {found.trouble}"))
    unmasked = cuts.joined(plain)
    usual = examination.one.call([unmasked])[0].y
    before = None if usual is None else used(unmasked, usual)
    now = None if found.whole.y is None else used(one, found.whole.y)
    if before is None or now is None:
        return skipped("y is not linear in x, so its statistics are not known")
    extra = extra_of(before, unmasked)
    hidden = differing(RankStatistics(now.mean, now.var - extra), counted(one))
    if hidden:
        text = f"another {' and another '.join(hidden)} than that of what counts"
        return failed(text, finding("W02", text))
    return _judge_masks(examination, found, extra)


def _judge_masks(
    examination: RankExamination, found: Compared, extra: Float64Array
) -> ProbeOutcome:
    """Judge the statistics that several ranks use with masks, where one process uses the right."""
    law = found.law(extra)
    if law == "own" and examination.law == "all":
        text = "with a mask, the statistics of one rank; without a mask, those of all"
        return failed(text, finding("W03", text))
    if law not in ("all", "own"):
        code, what = WRONG[law]
        return failed(f"with masks: {what}", finding(code, f"with masks, {what}"))
    return _all_hidden(examination, found.parts, law)


def _all_hidden(examination: RankExamination, parts: Sequence[RankCall], law: str) -> ProbeOutcome:
    """Let nothing count on the last rank."""
    if law != "all":
        return passed("what a mask hides is in no statistic; each rank has its own")
    found = examination.compared(cuts.with_none(parts))
    if any(answer.hung for answer in found.answers):
        return failed(found.trouble, finding("W05", f"where a mask hides all: {found.trouble}"))
    if found.trouble:
        return skipped(f"where a mask hides all: {found.trouble}")
    if found.law() != "all":
        text = f"where a mask hides all values of a rank, {_change(found)}"
        return failed(text, finding("W06", text))
    return passed("what a mask hides is in no statistic, also where it hides all of a rank")


def nothing_there(examination: RankExamination) -> ProbeOutcome:
    """Give one rank no samples: all ranks must have the result of the others, or an error."""
    why = examination.why_of_one_size()
    return skipped(why) if why else _of_empty(examination)


def _of_empty(examination: RankExamination) -> ProbeOutcome:
    what = "a rank of which a mask hides all" if examination.alike else "an empty rank"
    found = examination.compared(examination.parts(cuts.with_empty(examination.ranks)))
    if found.whole.failed:
        return skipped(found.trouble)
    if any(answer.hung for answer in found.answers):
        return failed(found.trouble, finding("W05", found.trouble))
    if found.trouble:
        return passed(f"no rank waits for ever; {what} is refused: {found.trouble}")
    if examination.law == "own":
        return passed("no rank waits for ever")
    if found.law() != "all":
        text = f"with {what}, {_change(found)}"
        return failed(text, finding("W06", text))
    return passed(f"{what} changes nothing")


def _change(found: Compared) -> str:
    """Say what a rank without values has done to the others."""
    seen = [counting(part, one.y) for part, one in zip(found.parts, found.answers, strict=True)]
    finite = all(np.isfinite(y).all() for y in seen if y is not None)
    return "the statistics of the others are changed" if finite else "y of the others is not finite"


RANK_PROBES: Final = (
    RankProbe("P70", "statistics over ranks", statistics),
    RankProbe("P71", "gradient over ranks", gradient),
    RankProbe("P72", "running statistics over ranks", running),
    RankProbe("P73", "masks over ranks", masks),
    RankProbe("P74", "a rank without values", nothing_there),
)
"""All of them, in the order in which they run."""
