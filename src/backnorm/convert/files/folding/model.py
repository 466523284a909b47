"""Fold the normalization layers of a model into the convolutions and dense layers before them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from backnorm.convert.files.registry import format_of
from backnorm.errors import FileError, FoldError, WriteError

if TYPE_CHECKING:
    import os

    from backnorm.convert.files.record import LayerFold, ModelFile

__all__ = ["fold_model"]


def fold_model(
    model: ModelFile,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word for it
    like: ModelFile | None = None,
) -> tuple[ModelFile, tuple[LayerFold, ...]]:
    """Fold each norm in eval into the layer before it: w' = w*f, b' = (b - mean)*f + beta.

    f = gamma/sqrt(var + eps). A norm that cannot be folded stays as it is.

    Parameters
    ----------
    model
        What was read.
    path
        Where the result will be written; its ending tells the format.
    format
        The target's format, where the ending does not tell it.
    like
        For a file that holds arrays alone, the same network without the norms: its names and
        shapes tell which layers get a bias.

    Returns
    -------
    tuple of ModelFile and tuple of LayerFold
        What to write, and what was done with each norm.

    Raises
    ------
    ConversionError
        If arrays or options of a layer do not fit.
    FileError
        If none can be folded, or the format does not tell what stands before a norm.
    NotInstalledError
        If the target's format needs a library that is not installed.

    Notes
    -----
    Accuracy: computed in float64, rounded once to the dtype of the weights
    (tests/files/test_fold_law.py compares with exact arithmetic).

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm.convert import files
    >>> two, w = np.full(3, 2, np.float32), np.ones((3, 4), np.float32)
    >>> state = {"weight": two, "bias": two, "running_mean": two, "running_var": 2 * two}
    >>> layer = files.NormLayer("bn1", "torch", state, {"eps": 0.0})
    >>> model = files.ModelFile("a.npz", "npz", (layer,), {"fc1.weight": w})
    >>> twin = files.ModelFile("t.npz", "npz", (), {"fc1.weight": w, "fc1.bias": two})
    >>> folded, folds = files.fold_model(model, "b.npz", like=twin)
    >>> folds[0].into, folded.others["fc1.weight"][0].tolist(), folded.others["fc1.bias"].tolist()
    ('fc1', [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    """
    file = Path(path)
    kind, source = format_of(file, format), format_of(model.path, model.format)
    if model.folded and not model.layers:
        raise FoldError.already_folded(model.path.name, model.folded)
    if not model.layers:
        raise FileError.no_layers(model.path.name, len(model.others), model.notes)
    if source.fold is None:
        raise FoldError.no_fold(model.path.name, source.name)
    folded, folds = source.fold(model, like)
    if not any(fold.into for fold in folds):
        reasons = [(fold.name, fold.why_left) for fold in folds]
        raise FoldError.none_folded(model.path.name, reasons)
    for layer in folded.layers:
        if layer.dialect not in kind.dialects:
            raise WriteError.wrong_dialect(file.name, kind.name, layer.dialect, kind.dialects)
    if kind.name != folded.format:
        folded = replace(folded, content=None, beside={})
    return replace(folded, path=file, format=kind.name), folds
