"""The numbers of the fields in Caffe's messages, as ``caffe.proto`` has them."""

from __future__ import annotations

from typing import Final

__all__ = [
    "AXIS",
    "BIAS_TERM",
    "BLOBS",
    "BOTTOM",
    "CONVOLUTION",
    "CONVOLUTION_AXIS",
    "DENSE",
    "DENSE_AXIS",
    "EPS",
    "FIELDS",
    "FRACTION",
    "GLOBAL",
    "GROUP",
    "HAS_BIAS",
    "LAYER",
    "NAME",
    "NORM",
    "NUM_AXES",
    "PARAM",
    "SCALE",
    "SHARED_NAME",
    "TOP",
    "TRANSPOSE",
    "TYPE",
    "V1_BLOBS",
    "V1_BOTTOM",
    "V1_CONVOLUTION",
    "V1_FIELDS",
    "V1_LAYER",
    "V1_NAME",
    "V1_TOP",
    "V1_TYPE",
]

V1_LAYER: Final = 2
"""``NetParameter.layers``."""

LAYER: Final = 100
"""``NetParameter.layer``."""

NAME, TYPE, BOTTOM, TOP, PARAM, BLOBS = 1, 2, 3, 4, 6, 7
CONVOLUTION, DENSE, NORM, SCALE = 106, 117, 139, 142
"""Fields of ``LayerParameter``."""

V1_NAME, V1_BOTTOM, V1_TOP, V1_TYPE, V1_BLOBS, V1_CONVOLUTION = 4, 2, 3, 5, 6, 10
"""Fields of ``V1LayerParameter``."""

FIELDS: Final = {
    field: field
    for field in (NAME, TYPE, BOTTOM, TOP, PARAM, BLOBS, CONVOLUTION, DENSE, NORM, SCALE)
}
V1_FIELDS: Final = {
    V1_NAME: NAME,
    V1_TYPE: TYPE,
    V1_BOTTOM: BOTTOM,
    V1_TOP: TOP,
    V1_BLOBS: BLOBS,
    V1_CONVOLUTION: CONVOLUTION,
}
"""By their numbers in V1, what they are in ``LayerParameter``."""

HAS_BIAS: Final = 2
"""``bias_term`` of ``ConvolutionParameter`` and of ``InnerProductParameter``; true by default."""

GROUP, CONVOLUTION_AXIS = 5, 16
"""Fields of ``ConvolutionParameter``."""

DENSE_AXIS, TRANSPOSE = 5, 6
"""Fields of ``InnerProductParameter``."""

SHARED_NAME: Final = 1
"""``ParamSpec.name``: layers whose weights have one name share them."""

GLOBAL, FRACTION, EPS = 1, 2, 3
"""Fields of ``BatchNormParameter``."""

AXIS, NUM_AXES, BIAS_TERM = 1, 2, 4
"""Fields of ``ScaleParameter``."""
