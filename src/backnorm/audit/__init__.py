"""The audit: it measures through which statistics a gradient goes, and whether it is right.

README.md in this folder says what each file is for.
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
    axes: str = "",
    device: str = "",
    seed: int = 0,
    quick: bool = False,
    at_work: Callable[[str], object] = lambda _: None,
) -> Record:
    """Measure through which statistics a gradient goes, and whether it is right.

    Parameters
    ----------
    subject
        A NumPy pair of forward and backward, a torch module or function, or a `Subject`; or a text
        that names one, such as "torch.nn.BatchNorm2d" or "layers.py:MyNorm".
    kind
        batch, layer, group, instance or rms; None for the kind that the subject names, or batch.
    axes
        The order of the axes of x: N for the samples, which come first, C for the channels, and
        another letter for each other axis, such as NHWC or NTC, or N...C for any number of them.
        Empty for the attribute ``axes`` of the subject, or (N, C, ...), for layer and rms
        (N, ..., C). If neither this nor the kind is known and the usual does not fit, the common
        ones are tried.
    device
        Where PyTorch or JAX makes the arrays that the subject is called with, such as cuda or
        cuda:1; empty for the CPU, or the usual device of JAX. A module is called as a copy there.
    seed
        Seed of the random inputs; a verdict does not depend on it.
    quick
        Judge only the gradient of a first call: leave out state, further derivatives, precision,
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
        If no subject can be made of the object, or what a text names cannot be imported.
    UnknownNameError
        If the kind is unknown.
    RangeError
        If the axes cannot be read.

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

    return conduct(subject, kind, seed, axes=axes, device=device, quick=quick, at_work=at_work)
