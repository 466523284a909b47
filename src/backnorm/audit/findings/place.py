"""Codes M01 and on: a layer's place in a model is wrong."""

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
            "the model overrides train() and leaves the layer out",
            "it was frozen on purpose, and its gamma and beta were forgotten",
        ),
        "Call model.train(), or freeze gamma and beta as well (requires_grad_(False)).",
    ),
    "M02": Entry(
        "gamma and beta are frozen, while the layer normalizes with the batch's statistics.",
        "parameters that are trained, or a layer in evaluation",
        (
            "requires_grad was set to False for all parameters, which does not stop statistics",
            "the parameters were left out when other parameters were unfrozen",
            "only the weights of the convolutions were meant to be frozen",
        ),
        "Call eval() on the layer too if it is to be frozen, or train its parameters.",
    ),
    "M03": Entry(
        "The layer does not update running statistics: evaluation has none, or the initial values.",
        "running statistics that move towards the batch's",
        (
            "track_running_stats=False",
            "momentum is 0, or 1 where it is the weight of the old value",
            "the buffers were replaced, or are updated in another place",
        ),
        "Set track_running_stats=True and a momentum, or evaluate with whole batches on purpose.",
    ),
    "M04": Entry(
        "The gradient at the layer's input is not the derivative of the layer's forward pass.",
        "coefficients 1, 1, 1 with the batch's statistics, 1, 0, 0 with constants",
        (
            "a wrapper computes the statistics under no_grad, or detaches them",
            "a hook changes the gradient or the input",
            "the layer itself has a wrong gradient",
        ),
        "Audit the layer alone; if it is sound, remove the hook or the detach around it.",
    ),
    "M05": Entry(
        "No gradient reaches the layer's input, though its output is used.",
        "a gradient at its input",
        (
            "its input is detached by a hook or a wrapper",
            "it is called under no_grad",
            "its output leaves the graph, as through .data or NumPy",
        ),
        "Keep the graph connected to the layer's input.",
    ),
    "M06": Entry(
        "Each channel has one or two values: y does not depend on their size.",
        "more values per channel",
        (
            "a batch of one sample behind a global pooling",
            "the last batch of an epoch is smaller (drop_last)",
            "groups of one channel, or instance normalization of 1x1 maps",
        ),
        "Use larger batches, or a normalization over other axes.",
    ),
    "M07": Entry(
        "The variance of many channels is below eps: their output has a variance far below 1.",
        "variances above eps",
        (
            "the input is tiny: it is scaled twice, or the weights start near 0",
            "channels are dead or constant",
            "eps is too large for this scale",
        ),
        "Scale the input, or choose an eps far below its variance.",
    ),
    "M08": Entry(
        "The running statistics are far from the batch's: evaluation differs from training.",
        "running statistics near the batch's",
        (
            "they come from other data, or from before fine-tuning",
            "the batches are too small or not shuffled",
            "momentum is too small for the number of steps",
        ),
        "Run some batches in training mode to renew them, or check how the input is prepared.",
    ),
    "M09": Entry(
        "The layer is dead: no gradient passes it.",
        "a gradient that is not 0",
        (
            "beta is far below 0, so that the activation clips all values",
            "a factor behind the layer is 0 and does not train, or the mask of a loss is empty",
            "gamma is 0 and does not train",
        ),
        "Find what stops the gradient, and start this layer anew: it cannot recover by itself.",
    ),
    "M10": Entry(
        "The running statistics hold values that no batch has: not finite, or a negative variance.",
        "finite means, and variances of 0 or more",
        (
            "a batch with an overflow or NaN was averaged into them: they keep it for ever",
            "they were loaded from a damaged file, or from one with other names",
            "the update extrapolates: a momentum outside 0 to 1",
        ),
        "Reset them (reset_running_stats) and run some batches in training mode; guard the step "
        "that made them.",
    ),
    "M11": Entry(
        "Evaluation uses running statistics that were never updated: means of 0, variances of 1.",
        "running statistics of the training data",
        (
            "the weights were loaded without the buffers",
            "the model was never trained, or was trained with another copy of the layer",
            "the layer was in evaluation all the time",
        ),
        "Load the buffers too, or run some batches in training mode before evaluation.",
    ),
    "M12": Entry(
        "The layer trains while the model evaluates: it uses and stores the batch's statistics.",
        "evaluation mode, as the model is in",
        (
            "train() was called on a part of the model after eval()",
            "the model overrides train() or eval() and leaves the layer out",
            "the layer was replaced after eval(): a new module starts in training mode",
        ),
        "Call model.eval() last.",
    ),
}
