"""Architectures of torchvision and timm: one or a few of each family with batch normalization."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any

import torch
from torch import nn

SHORT = (
    "torchvision resnet18",
    "torchvision mobilenet_v2",
    "torchvision shufflenet_v2_x0_5",
    "timm efficientnet_b0",
    "timm test_byobnet",
    "timm test_coatnet",
)
"""What `.ci/run` trains."""

TORCHVISION = tuple(
    f"torchvision {name}"
    for name in [
        "deeplabv3_mobilenet_v3_large",
        "densenet121",
        "efficientnet_b0",
        "efficientnet_v2_s",
        "fcn_resnet50",
        "googlenet",
        "inception_v3",
        "lraspp_mobilenet_v3_large",
        "maxvit_t",
        "mc3_18",
        "mnasnet0_5",
        "mnasnet1_0",
        "mobilenet_v2",
        "mobilenet_v3_large",
        "mobilenet_v3_small",
        "r3d_18",
        "regnet_x_400mf",
        "regnet_y_400mf",
        "resnet18",
        "resnet34",
        "resnet50",
        "resnext50_32x4d",
        "s3d",
        "shufflenet_v2_x0_5",
        "shufflenet_v2_x1_0",
        "vgg11_bn",
        "wide_resnet50_2",
    ]
)

TIMM = tuple(
    f"timm {name}"
    for name in [
        "botnet26t_256",
        "convmixer_768_32",
        "cpubone_nano",
        "cs3darknet_focus_s",
        "cspnext_tiny",
        "cspresnet50",
        "darknet53",
        "densenet121",
        "dla46x_c",
        "dpn48b",
        "efficientformer_l1",
        "efficientformerv2_s0",
        "efficientnet_b0",
        "efficientvim_m1",
        "efficientvit_b0",
        "efficientvit_m0",
        "ese_vovnet19b_slim_dw",
        "fasternet_t0",
        "fastvit_t8",
        "fbnetc_100",
        "gernet_s",
        "ghostnet_050",
        "ghostnetv2_100",
        "halonet_h1",
        "hardcorenas_b",
        "hgnetv2_b0",
        "hrnet_w18_small",
        "iformer_t",
        "inception_next_atto",
        "inception_resnet_v2",
        "inception_v3",
        "inception_v4",
        "lcnetv2_small",
        "legacy_seresnet18",
        "legacy_xception",
        "levit_128s",
        "lowformer_b0",
        "mnasnet_100",
        "mobilenetv2_100",
        "mobilenetv3_small_050",
        "mobileone_s0",
        "mobilevit_xxs",
        "nasnetalarge",
        "nextvit_small",
        "pnasnet5large",
        "regnetx_002",
        "repghostnet_050",
        "repvgg_a0",
        "repvit_m1",
        "res2net50_26w_4s",
        "res2next50",
        "resnest14d",
        "resnet26d",
        "resnetv2_18",
        "resnext50_32x4d",
        "rexnet_100",
        "selecsls42",
        "seresnext26d_32x4d",
        "shvit_s1",
        "skresnet18",
        "spnasnet_100",
        "starnet_s050",
        "swiftformer_xs",
        "test_byobnet",
        "test_coatnet",
        "test_efficientnet",
        "test_resnet",
        "tiny_vit_5m_224",
        "tinynet_e",
        "tresnet_m",
        "vgg11_bn",
        "visformer_tiny",
        "vit_small_resnet50d_s16_224",
        "volo_d1_224",
        "wide_resnet50_2",
        "xception41p",
        "xcit_nano_12_p8_224",
    ]
)

SIDES = {
    "efficientvim": 224,
    "inception": 192,
    "legacy_xception": 96,
    "maxvit": 224,
    "mobileone": 128,
    "nasnet": 96,
    "pnasnet": 96,
    "selecsls": 128,
    "shvit": 224,
}
"""Pixels of a side, by the beginning of the name, where 64 are too few.

A layer whose statistics have two values amplifies the rounding: x_hat is then 1 or -1, and the
derivative a difference of nearly equal numbers.
"""

FIXED = ("levit", "tiny_vit", "visformer", "xcit", "volo", "vit_", "efficientformer", "halonet")
FIXED += ("botnet", "iformer", "test_coatnet", "fastvit", "mobilevit", "efficientvit_m")
"""Beginnings of names whose models take images of one size."""

SAMPLES = {"rexnet": 6}
"""Images, by the beginning of the name, where 2 are too few: one value a sample is normalized."""

LIBRARIES = ("torchvision", "timm")


def installed() -> bool:
    """Whether both libraries are there."""
    return all(importlib.util.find_spec(name) for name in LIBRARIES)


@cache
def make_torchvision_importable() -> None:
    """Let torchvision be imported where its compiled part cannot be loaded.

    The packaged one is built for GPUs. The models need none of its operators, but the import
    describes these two.
    """
    try:
        import torchvision  # noqa: F401, PLC0415 - where it is installed
    except RuntimeError:
        arguments = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", arguments)


def model(name: str) -> nn.Module:
    """Return an architecture with random weights, in float64; the same each time."""
    make_torchvision_importable()
    library, _, short = name.partition(" ")
    torch.manual_seed(0)
    if library == "timm":
        import timm  # noqa: PLC0415 - where it is installed

        return timm.create_model(short, num_classes=10).double()
    from torchvision import models  # noqa: PLC0415 - where it is installed

    options: dict[str, Any] = {"weights": None, "num_classes": 10}
    if short.startswith(("deeplab", "fcn", "lraspp")):
        options["weights_backbone"] = None
    if short in ("googlenet", "inception_v3"):
        options |= {"init_weights": False, "aux_logits": False}
    return models.get_model(short, **options).double()


def inputs(name: str, network: nn.Module) -> torch.Tensor:
    """Return some images, or films, that the architecture takes."""
    short = name.partition(" ")[2]
    side = next((side for begin, side in SIDES.items() if short.startswith(begin)), 64)
    if name.startswith("timm") and short.startswith(FIXED):
        side = network.default_cfg["input_size"][-1]  # type: ignore[index,union-attr]
    generator = torch.Generator().manual_seed(1)
    samples = next((n for begin, n in SAMPLES.items() if short.startswith(begin)), 2)
    shape = (2, 3, 8, 32, 32) if short in ("r3d_18", "mc3_18") else (samples, 3, side, side)
    if short == "s3d":
        shape = (2, 3, 16, 224, 224)
    return torch.randn(shape, generator=generator, dtype=torch.float64)
