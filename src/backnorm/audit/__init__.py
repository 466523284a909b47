"""The audit: it measures through which statistics a gradient goes, and whether it is right.

The parts stand in `kinds`, `subject`, `registry`, `probes`, `verdict`, `checks` and `record`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.audit.kinds import Kind
    from backnorm.audit.record import Record

__all__ = ["audit"]


def audit(
    subject: object,
    kind: Kind | None = None,
    *,
    seed: int = 0,
    quick: bool = False,
    at_work: Callable[[str], object] = lambda _: None,
) -> Record:
    """Measure through which statistics a gradient goes, and whether it is right.

    Parameters
    ----------
    subject
        A NumPy pair of forward and backward, a torch module or function, or a `Subject`.
    kind
        batch, layer, group, instance or rms; None for what the subject says itself, or batch.
    seed
        Where the random inputs start; a verdict does not depend on it.
    quick
        Look at the gradient of a first call alone: not at state, further derivatives, precision,
        special inputs and repeated calls.
    at_work
        Called with the name of each probe when it begins.

    Returns
    -------
    Record
        The verdict with its numbers. A subject that raises, returns None, a wrong shape or NaN
        gets a record too, with `audited` False.

    Raises
    ------
    SubjectError
        If the object cannot be made a subject at all.
    UnknownNameError
        If there is no such kind.

    Notes
    -----
    Accuracy: docs/audit-method.md; every specimen of `backnorm.audit.specimens` gets its verdict.
    Cost: about 3,000 forward passes on small inputs.

    Examples
    --------
    >>> from backnorm.audit.specimens.plain import Plain
    >>> record = audit(Plain)
    >>> record.through, record.sound
    ('both', True)
    """
    # Imported when used: it would add half of NumPy's own time to `import backnorm`.
    from backnorm.audit.conduct import conduct  # noqa: PLC0415

    return conduct(subject, kind, seed, quick=quick, at_work=at_work)
