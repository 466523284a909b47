"""Codes M01 to M08: a layer's place in a model is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PLACE"]

PLACE: Final[Mapping[str, Entry]] = {
    "M01": Entry(
        "The layer is in evaluation while the model trains: it normalizes with constants.",
        "training mode, or parameters that are frozen too",
        (
            "eval() was called on a part of the model, and train() was not called after it",
            "a train() of the model's own leaves the layer out",
            "it was frozen on purpose, and its gamma and beta were forgotten",
        ),
        "Call model.train(), or freeze gamma and beta as well (requires_grad_(False)).",
    ),
    "M02": Entry(
        "gamma and beta are frozen, while the layer normalizes with the batch's statistics.",
        "parameters that are trained, or a layer in evaluation",
        (
            "requires_grad was set to False for all parameters, which does not stop statistics",
            "the parameters were left out when others were unfrozen",
            "only the weights of the convolutions were meant to be frozen",
        ),
        "Call eval() on the layer too if it is to be frozen, or let its parameters train.",
    ),
    "M03": Entry(
        "No running statistics are kept: evaluation has none, or those of the beginning.",
        "running statistics that move towards the batch's",
        (
            "track_running_stats=False",
            "momentum is 0, or 1 where a framework means the weight of the old value",
            "the buffers were replaced or are written elsewhere",
        ),
        "Set track_running_stats=True and a momentum, or evaluate with whole batches on purpose.",
    ),
    "M04": Entry(
        "What left the layer in the model is not the derivative of its own forward pass.",
        "coefficients 1, 1, 1 with the batch's statistics, 1, 0, 0 with constants",
        (
            "a wrapper computes the statistics under no_grad, or detaches them",
            "a hook changes the gradient or the input",
            "the layer's own gradient is wrong: audit it alone",
        ),
        "Remove the hook or the detach, or audit the layer alone to see which it is.",
    ),
    "M05": Entry(
        "No gradient leaves the layer, though its output is used.",
        "a gradient at its input",
        (
            "its input is detached by a hook or a wrapper",
            "it is called under no_grad",
            "its output is taken out of the graph, as by .data or NumPy",
        ),
        "Let the graph reach the input of the layer.",
    ),
    "M06": Entry(
        "The statistics are of one or two values: y does not depend on what they are.",
        "more values per channel",
        (
            "a batch of one sample behind a global pooling",
            "the last batch of an epoch is smaller (drop_last)",
            "groups of one channel, or instance normalization of 1x1 maps",
        ),
        "Use larger batches, or a normalization over other axes.",
    ),
    "M07": Entry(
        "The variance of many channels is below eps: they come out smaller than normalized.",
        "variances above eps",
        (
            "the input is tiny: scaled twice, or weights that start near 0",
            "channels are dead or constant",
            "eps is too large for this scale",
        ),
        "Scale the input, or choose an eps well below its variance.",
    ),
    "M08": Entry(
        "The running statistics are far from the batch's: evaluation computes something else.",
        "running statistics near those of the batches",
        (
            "they come from other data, or from before fine-tuning",
            "the batches are too small or not shuffled",
            "momentum is too small for the number of steps",
        ),
        "Run some batches in training mode to renew them, or look at what the input goes through.",
    ),
}
