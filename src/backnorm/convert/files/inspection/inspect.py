"""The public inspection of a model that was read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from backnorm.convert.files.inspection.absent import absent_norms
from backnorm.convert.files.inspection.layers import findings_of, summary_of, values_of
from backnorm.convert.files.inspection.record import Inspection
from backnorm.errors import BacknormError, ConversionError

if TYPE_CHECKING:
    from backnorm.convert.files.inspection.record import FileFinding, LayerSummary
    from backnorm.convert.files.record import ModelFile, NormLayer

__all__ = ["inspect_model"]


def inspect_model(model: ModelFile) -> Inspection:
    """List the normalization layers of a model, and what is wrong with them.

    Parameters
    ----------
    model
        What `backnorm.convert.files.open_lazily` or `backnorm.convert.files.read` returned.

    Returns
    -------
    Inspection
        layers, findings and notes.

    Raises
    ------
    ConversionError
        If a layer's options or arrays do not fit its dialect, naming the layer.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm.convert import files
    >>> c = np.zeros(3, np.float32)
    >>> state = {"running_mean": c, "running_var": c + 1}
    >>> layer = files.NormLayer("bn", "torch", state, {"affine": False})
    >>> result = files.inspect_model(files.ModelFile("a.npz", "npz", (layer,)))
    >>> result.layers[0].var, result.findings[0].code, result.findings[0].got
    ((1.0, 1.0), 'F03', 'mean 0 and variance 1 in all channels')
    """
    file = Path(model.path).name
    pairs = [_inspected(file, layer) for layer in model.layers]
    findings = [finding for _, of_layer in pairs for finding in of_layer]
    return Inspection(
        file=file,
        format=model.format,
        layers=tuple(summary for summary, _ in pairs),
        others=len(model.others),
        findings=(*findings, *absent_norms(model)),
        notes=model.notes,
    )


def _inspected(file: str, layer: NormLayer) -> tuple[LayerSummary, list[FileFinding]]:
    try:
        values = values_of(layer)
    except BacknormError as error:
        raise ConversionError.of_layer(file, layer.name, error) from error
    return summary_of(layer, values), list(findings_of(layer, values))
