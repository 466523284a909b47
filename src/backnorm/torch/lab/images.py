"""Scikit-learn's handwritten digits as tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from backnorm.errors import NotInstalledError

__all__ = ["Digits", "digits"]


@dataclass(frozen=True)
class Digits:
    """Images with their digits.

    Attributes
    ----------
    x
        Pixels from 0 to 1; shape (N, 1, 8, 8).
    digit
        The digit of each image; shape (N,).
    """

    x: Tensor
    digit: Tensor


def digits() -> tuple[Digits, Digits]:
    """Return 1437 images to train with and 360 to test with, the same every time.

    Returns
    -------
    tuple of Digits
        Every fifth image is for the test. The dtype is PyTorch's default.

    Raises
    ------
    NotInstalledError
        If scikit-learn, which has the images, is not installed.
    """
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 - only for these images
    except ImportError:
        raise NotInstalledError.package("scikit-learn", "lab", "Training on digits") from None
    pixels, numbers = load_digits(return_X_y=True)
    x = torch.as_tensor(pixels / 16, dtype=torch.get_default_dtype()).reshape(-1, 1, 8, 8)
    digit = torch.as_tensor(numbers)
    test = torch.arange(len(x)) % 5 == 0
    return Digits(x[~test], digit[~test]), Digits(x[test], digit[test])
