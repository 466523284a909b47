"""Codes S01 and on: the state between calls is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STATE"]

STATE: Final[Mapping[str, Entry]] = {
    "S01": Entry(
        "The running statistics require a gradient or hold a graph.",
        "statistics that are plain values",
        (
            "they are blended with the batch's statistics without detach or no_grad",
            "they are parameters and not buffers",
        ),
        "Update them under no_grad or from detached statistics, or the graph grows with each step.",
    ),
    "S02": Entry(
        "Training does not change the running statistics, though it normalizes with the batch's.",
        "statistics that move towards those of the batches",
        (
            "the update is missing, or writes to a copy",
            "momentum is 0, or 1 where it is the weight of the old value",
            "a flag for tracking was switched off after the layer was built",
        ),
        "Update them in training, or remove them if evaluation is not to use them.",
    ),
    "S03": Entry(
        "One training step changes the running statistics twice.",
        "one update for each step",
        (
            "the forward pass runs twice, as under gradient checkpointing",
            "both a wrapper and the wrapped layer update them",
            "a hook or a metric calls the layer once more",
            "it is meant: ghost batch normalization updates once for each part of the batch",
        ),
        "Update in one place; where the forward pass runs twice, or the batch falls into two parts "
        "by design, use a weight of 1 - sqrt(1 - weight) for the new statistics.",
    ),
    "S04": Entry(
        "A call in evaluation changes the layer's state.",
        "an unchanged state, and an unchanged next call",
        (
            "the update ignores the training flag",
            "the flag is read once, when the layer is built",
            "evaluation stores values that later calls use, such as folded parameters",
        ),
        "Update in training only, and discard values that evaluation stored when training resumes.",
    ),
    "S05": Entry(
        "The running statistics change in the backward pass.",
        "statistics that are up to date after the forward pass",
        (
            "the update is in the backward pass, as in MXNet",
            "the backward pass runs the forward pass again",
        ),
        "Update in the forward pass: today each backward pass updates once, and a step without a "
        "backward pass does not update.",
    ),
    "S06": Entry(
        "Evaluation does not use the running statistics that training updates.",
        "evaluation with the current running statistics",
        (
            "it uses an older copy, such as folded parameters that are not renewed",
            "training updates the statistics under another name",
            "it takes the batch's statistics whatever the training flag is",
        ),
        "Let evaluation read the statistics of training, or renew the copy when the mode changes.",
    ),
    "S07": Entry(
        "In evaluation y of a sample depends on the other samples, or on how many there are.",
        "the same y of a sample, whatever is evaluated with it",
        (
            "running statistics are blended with the batch's",
            "n/(n - 1) of the batch at hand corrects the running variance",
            "statistics of the whole batch are used, with a special case for one sample",
        ),
        "Use nothing but running statistics and parameters in evaluation.",
    ),
    "S08": Entry(
        "A running statistic is NaN or infinite, or a running variance is negative.",
        "finite means, and variances of 0 or more",
        (
            "E[x^2] - E[x]^2 became negative by rounding, or its root NaN",
            "a batch with one value was divided by n - 1 = 0, or an empty batch was averaged",
            "the sign or the weights of the update are wrong",
            "training diverged, and the statistics were saved after it",
        ),
        "Correct the update, then estimate the statistics anew: NaN never leaves an average.",
    ),
    "S09": Entry(
        "A call overwrites an array that it was given: x, dy or a parameter.",
        "unchanged x, gamma, beta and dy",
        (
            "the mean is subtracted in place (x -= mean)",
            "dy is multiplied by gamma in place",
            "a buffer is reused, and is the caller's",
        ),
        "Work on a copy, or in PyTorch return y in the memory of x and mark x as changed "
        "(mark_dirty): another layer may still need x, and another branch dy.",
    ),
    "S10": Entry(
        "A call changes global state: random numbers, NumPy's error state or a default dtype.",
        "unchanged global state",
        (
            "a seed is set inside the layer",
            "numbers are drawn from the global generator",
            "np.seterr or torch.set_default_dtype is called and not undone",
        ),
        "Use a generator that belongs to the layer, and np.errstate as a context manager.",
    ),
    "S11": Entry(
        "The backward pass belongs to the last forward pass: after two, the gradient of the first "
        "is wrong.",
        "the gradient of the pass that dy belongs to",
        (
            "what the backward pass needs is kept on the layer or in a global variable",
            "the cache that is returned shares memory with the layer's",
        ),
        "Return what the backward pass needs with y (cache, ctx.save_for_backward).",
    ),
    "S12": Entry(
        "A later call fails: it raises an error, or returns NaN or no array.",
        "the answer that a first call gives with the same arrays",
        (
            "it keeps the batch before, which does not fit a smaller last batch of an epoch",
            "a graph of the call before is kept, and is differentiated again",
            "a counter or a limit of calls",
            "the state diverges in training",
        ),
        "Call it several times by hand, with batches of these sizes, and keep nothing of a batch "
        "but its detached statistics.",
    ),
}
