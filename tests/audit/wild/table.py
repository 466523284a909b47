"""In the wild: layers as people write them, how each is audited, and the verdict it must get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from audit.wild.entry import (
    BOTH,
    BOTH_CUT,
    CONSTANT,
    MEAN_CUT,
    OTHER,
    OTHER_CUT,
    RMS_CUT,
    SIDE_CUT,
    VARIANCE_CUT,
    Verdict,
    Wild,
    beside,
    grouped,
    images,
    last,
    plus,
    rows,
    series,
    speech,
    tokens,
    unjudged,
    wrong,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AREAS", "WILD"]

NATIVE: Final = "D03"
"""PyTorch's own batch, layer and instance normalization are wrong at the third order
(docs/frameworks.md), and so is what is built of them."""

SAVED: Final = "D02"
"""The backward pass takes what the forward pass saved for constants, and can be differentiated."""

TIME_SERIES: Final[Mapping[str, Wild]] = {
    # The time series libraries detach on purpose; the gradient still is not the derivative.
    "RevIN": series(BOTH_CUT, over=(1,)),
    "LiveRevIN": series(BOTH, over=(1,)),
    "LastValueNorm": series(OTHER),
    "LastValueNormCut": series(OTHER_CUT),
    "stationarize": series(VARIANCE_CUT, over=(1,)),
    # The deviation is that of n - 1 values, and nothing is added to it.
    "standardize": series(plus(BOTH, "I02"), over=(1,)),
    "center_and_scale": series(MEAN_CUT, over=(1,)),
    "cmvn": series(BOTH, over=(1,)),
    # Nothing leads from y to x, and a gradient of nothing is not a gradient of 0.
    "cmvn_features": series(unjudged("G22")),
    "TokenBatchNorm": series(plus(BOTH, NATIVE), CONSTANT, over=(0, 1)),
    "SeriesBatchNorm": series(VARIANCE_CUT, CONSTANT, over=(0, 1)),
    "MeanScaler": series(OTHER),
    "MeanScalerCut": series(OTHER_CUT),
    "SeriesLayerNorm": series(plus(OTHER, NATIVE)),
    # The detached mean over time holds gamma and beta too.
    "SeriesLayerNormCut": series(OTHER_CUT),
}

VISION: Final[Mapping[str, Wild]] = {
    "ChannelsFirstNorm": images(BOTH, over=(1,)),
    "ChannelsFirstNormCut": images(VARIANCE_CUT, over=(1,)),
    "LayerNorm2d": images(plus(BOTH, NATIVE), over=(1,)),
    "ChannelsLastBatchNorm": last(BOTH, over=(0, 1, 2)),
    "ChannelsLastBatchNormCut": last(MEAN_CUT, over=(0, 1, 2)),
    # The small factor is a constant: it scales every path alike.
    "NormScale": tokens(plus(BOTH, NATIVE), over=(2,)),
    "NormScaleCut": tokens(BOTH_CUT, over=(2,)),
    "BatchNormAct2d": images(plus(BOTH, NATIVE), CONSTANT, over=(0, 2, 3)),
    "BatchNormSiLU": images(plus(BOTH, NATIVE), CONSTANT, over=(0, 2, 3)),
    "BatchNormHardtanh": images(plus(BOTH, NATIVE), CONSTANT, over=(0, 2, 3)),
    "BatchNormReLU6": images(plus(BOTH, NATIVE), CONSTANT, over=(0, 2, 3)),
    "BatchNormHardtanhCut": images(BOTH_CUT, CONSTANT, over=(0, 2, 3)),
    "BatchNormActCut": images(BOTH_CUT, CONSTANT, over=(0, 2, 3)),
    "BatchNormPReLU": images(plus(BOTH, NATIVE), CONSTANT, over=(0, 2, 3)),
    # The slope of the activation gets no gradient.
    "BatchNormPReLUCut": images(
        beside("G19"),
        Verdict(sound=False, through="none", codes=("G19",)),
        over=(0, 2, 3),
    ),
    "BatchNormSwishCut": images(VARIANCE_CUT, CONSTANT, over=(0, 2, 3)),
    "GRN": last(OTHER),
    "GRNCut": last(OTHER_CUT),
    "DyT": tokens(OTHER),
    "EvoNormS0": images(OTHER),
    "FilterResponseNorm": images(OTHER),
    "FilterResponseNormCut": images(OTHER_CUT),
    # y takes few values: its derivative is 0 or infinite, and the gradient is meant to differ.
    "QuantNorm": tokens(unjudged("G15")),
}

GAN: Final[Mapping[str, Wild]] = {
    # gamma and beta of each sample are not known to the audit, so that it cannot undo them.
    "ConditionalBatchNorm": images(plus(OTHER, NATIVE), OTHER),
    "ConditionalBatchNormCut": images(OTHER_CUT, OTHER),
    "VirtualBatchNorm": images(OTHER),
    "VirtualBatchNormCut": images(OTHER_CUT),
    "AdaIN": images(BOTH, over=(2, 3)),
    "AdaINCut": images(BOTH_CUT, over=(2, 3)),
    "PixelNorm": Wild((3, 4, 3, 2), BOTH, over=(1,), centred=False),
    "PixelNormCut": Wild((3, 4, 3, 2), RMS_CUT, over=(1,), centred=False),
    # y has one channel more than x.
    "MinibatchStd": images(unjudged("G23")),
    # The noise is the same in each call, since torch's own generator is set back.
    "NoisyBatchNorm": images(plus(OTHER, NATIVE), OTHER),
    "OwnNoiseNorm": images(unjudged("G16")),
    "SpadeLike": images(plus(OTHER, NATIVE)),
    "SpadeLikeCut": images(OTHER_CUT),
}

RL: Final[Mapping[str, Wild]] = {
    # y uses the statistics that x has just changed.
    "ObsNormalizer": rows(Verdict(sound=False, through="none", codes=("G03",)), CONSTANT, (0,)),
    # y uses those of earlier batches.
    "LateObsNormalizer": rows(CONSTANT, over=(0,)),
    # Its statistics are parameters that do not train.
    "ValueNorm": rows(CONSTANT, over=(0,)),
    "EarlyValueNorm": rows(Verdict(sound=False, through="none", codes=("G03",)), CONSTANT, (0,)),
    "EmaObsNorm": rows(OTHER, CONSTANT),
    "EmaObsNormCut": rows(OTHER_CUT, CONSTANT),
    "whiten": rows(OTHER),
    "whiten_cut": rows(OTHER_CUT),
    "TanhTrunk": tokens(plus(BOTH, NATIVE), over=(2,)),
    "TanhTrunkCut": tokens(VARIANCE_CUT, over=(2,)),
    # Constants by design, as a note says.
    "BatchRenorm": rows(wrong("G11"), CONSTANT),
    "MeanOnlyBatchNorm": rows(Verdict(sound=True, through="mean"), over=(0,)),
}

STYLE: Final[Mapping[str, Wild]] = {
    "FlatInstanceNorm": images(BOTH, over=(2, 3)),
    "FlatInstanceNormCut": images(BOTH_CUT, over=(2, 3)),
    "StdInstanceNorm": images(BOTH, over=(2, 3)),
    "BatchInstanceNorm": images(OTHER),
    "BatchInstanceNormCut": images(OTHER_CUT),
    "SwitchNorm": images(OTHER),
    "SwitchNormCut": images(OTHER_CUT),
    # The instance half takes the statistics of x in evaluation too.
    "IBN": images(plus(OTHER, NATIVE)),
    "IBNCut": images(OTHER_CUT, OTHER_CUT),
    "FusedInstanceNorm": images(wrong("G07")),
    # Two weights for each channel, which no name tells from gamma.
    "SelfNorm": images(OTHER),
    "SelfNormCut": images(OTHER_CUT),
}

SPEECH: Final[Mapping[str, Wild]] = {
    "MaskedBatchNorm": speech(OTHER),
    "MaskedBatchNormCut": speech(OTHER_CUT),
    # Other statistics than one would want, and the derivative of just these.
    "MaskedBatchNormAll": speech(OTHER),
    "MaskedFunction": speech(OTHER_CUT),
    "CumulativeLayerNorm": speech(OTHER),
    "CumulativeLayerNormCut": speech(OTHER_CUT),
    "GlobalLayerNorm": speech(BOTH, over=(1, 2)),
    "GlobalLayerNormCut": speech(VARIANCE_CUT, over=(1, 2)),
    "FrameNorm": speech(plus(BOTH, NATIVE), over=(1,)),
    "FrameNormCut": speech(MEAN_CUT, over=(1,)),
}

VARIANTS: Final[Mapping[str, Wild]] = {
    "GhostBatchNorm": rows(plus(OTHER, NATIVE)),
    "GhostBatchNormCut": rows(OTHER_CUT),
    "HandGroupNorm": grouped(BOTH, [2, 4]),
    "HandGroupNormCut": grouped(BOTH_CUT, [2, 4]),
    "PerGroupAffine": grouped(plus(BOTH, NATIVE), [2, 4]),
    "PerGroupAffineCut": grouped(VARIANCE_CUT, [2, 4]),
    "LlamaNorm": tokens(BOTH, over=(2,), centred=False),
    "LlamaNormCut": tokens(RMS_CUT, over=(2,), centred=False),
    "T5LayerNorm": tokens(BOTH, over=(2,), centred=False),
    "PartialRMSNorm": tokens(OTHER),
    "PartialRMSNormCut": tokens(OTHER_CUT),
    "ScaleNorm": tokens(BOTH, over=(2,), centred=False),
    "ScaleNormCut": tokens(RMS_CUT, over=(2,), centred=False),
    # Not normalizations of x: the gradient can be compared, and there are no paths.
    "WSConv2d": images(OTHER),
    "CosineConv2d": images(OTHER_CUT),
    # dx is right in both, and the gradient of the convolution's weight is not.
    "ScaledStdConv2d": images(OTHER),
    "ScaledStdConv2dCut": images(SIDE_CUT),
    # A weight is a choice: the audit says which, and finds nothing wrong.
    "SwappedMomentum": images(BOTH, CONSTANT, over=(0, 2, 3)),
    "LeakyRunning": images(Verdict(True, "both", ("S01",)), CONSTANT, over=(0, 2, 3)),
    "FrozenAffine": images(CONSTANT, over=(0, 2, 3)),
}

FUNCTIONS: Final[Mapping[str, Wild]] = {
    "FusedBatchNorm": rows(plus(BOTH, SAVED), over=(0,)),
    "MeanForgotten": rows(MEAN_CUT, over=(0,)),
    "VarianceForgotten": rows(VARIANCE_CUT, over=(0,)),
    "SumForMean": rows(wrong("G09")),
    "GammaForgotten": rows(wrong("G08")),
    "InputForDgamma": rows(beside("G13"), over=(0,)),
    "MeanForDbeta": rows(beside("G14"), over=(0,)),
    # dgamma takes the x_hat of the other eps as well.
    "EpsMoved": rows(beside("G10", "G13"), over=(0,)),
    "UnbiasedForward": rows(wrong("G07")),
    "UnbiasedBoth": rows(plus(BOTH, SAVED), over=(0,)),
    "TextbookStages": images(BOTH, over=(0, 2, 3)),
    "HalfForgotten": images(wrong("G05")),
    "ChannelSum": images(wrong("G09")),
    "FusedRMSNorm": tokens(plus(BOTH, SAVED), over=(2,), centred=False),
    "FusedRMSNormCut": tokens(RMS_CUT, over=(2,), centred=False),
    "TrainingGradient": rows(plus(BOTH, SAVED), beside("G04"), over=(0,)),
    "ModeGradient": rows(plus(BOTH, SAVED), CONSTANT, over=(0,)),
}

NUMPY_PAIRS: Final[Mapping[str, Wild]] = {
    "CourseBatchNorm": Wild((8, 3), BOTH, over=(0,)),
    "CourseShort": Wild((8, 3), BOTH, over=(0,)),
    "CourseMeanLost": Wild((8, 3), MEAN_CUT, over=(0,)),
    "CourseSignFlipped": Wild((8, 3), wrong("G05")),
    "SpatialBatchNorm": Wild((3, 3, 2, 2), BOTH, over=(0, 2, 3)),
    "SpatialShuffled": Wild((3, 3, 2, 2), wrong("G05")),
    "LayerPair": Wild((4, 6), BOTH, over=(1,)),
    "LayerPairBatchAxis": Wild((4, 6), wrong("G05")),
    "LayerPairGammaMean": Wild((4, 6), beside("G13"), over=(1,)),
    "GroupPair": grouped(BOTH),
    "GroupPairGammaLate": images(wrong("G05")),
    "RMSPair": Wild((4, 6), BOTH, over=(1,), centred=False),
    "RMSPairSum": Wild((4, 6), wrong("G09"), centred=False),
    "RunningPair": Wild((8, 3), BOTH, CONSTANT, over=(0,)),
    "RunningPairOneGradient": Wild((8, 3), BOTH, beside("G04"), over=(0,)),
    "RunningPairEverywhere": Wild((8, 3), wrong("G11"), CONSTANT),
}

AREAS: Final[Mapping[str, Mapping[str, Wild]]] = {
    "time_series": TIME_SERIES,
    "vision": VISION,
    "gan": GAN,
    "rl": RL,
    "style": STYLE,
    "speech": SPEECH,
    "variants": VARIANTS,
    "functions": FUNCTIONS,
    "numpy_pairs": NUMPY_PAIRS,
}

WILD: Final[Mapping[str, Wild]] = {
    f"{area}:{name}": wild for area, table in AREAS.items() for name, wild in table.items()
}
"""By the file in this folder and the name in it."""
