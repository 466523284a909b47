"""Every message, in full. That wrong arguments give them is shown in ops/test_refusals.py."""

from __future__ import annotations

import inspect
import pickle
import re
from typing import TYPE_CHECKING

import pytest

from backnorm import errors
from backnorm.errors import (
    ArrayNameError,
    BacknormError,
    BenchmarkError,
    ConversionError,
    DtypeError,
    FileError,
    FoldError,
    KernelError,
    NotInstalledError,
    NotSupportedError,
    ProgramError,
    RangeError,
    RankError,
    SettingsError,
    ShapeError,
    SmallWeightWarning,
    StorageError,
    SubjectError,
    UnknownNameError,
    WriteError,
)
from backnorm.errors.causes import FailedCall
from backnorm.errors.programs import FailedRequest

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGES: list[tuple[BacknormError, str]] = [
    (
        RankError.failed_elsewhere(1),
        (
            "1 other rank of the group could not compute this pass. Statistics are those of all "
            "ranks, so that no rank can go on without the others. Read the error of the other "
            "ranks."
        ),
    ),
    (
        RankError.pass_failed("OSError: no memory."),
        (
            "A pass of this rank has failed since the last merge_statistics: OSError: no memory. "
            "All ranks drop the sums of this step, and the running "
            "statistics stay as they were. Mend the error of the pass."
        ),
    ),
    (
        RankError.not_merged("evaluate"),
        (
            "SyncBatchNorm cannot evaluate: it has sums that are not merged. Its running "
            "statistics lack the passes since the last merge_statistics. Call "
            "backnorm.torch.merge_statistics(model) once a step, on every rank."
        ),
    ),
    (
        RankError.layers(3, 9, [(2, 3), (6, 9)]),
        (
            "model must have the same synchronized layers, in one order, on every rank, got 3 "
            "layers with 9 channels here, and from 2 to 3 layers with 6 to 9 channels in the "
            "group. Statistics of each channel are those of all ranks. Build the same model on "
            "every rank."
        ),
    ),
    (
        RangeError.group_size(0),
        (
            "group_size must be a whole number, 1 or greater, with synchronize='group', got 0. So "
            "many ranks normalize together. Pass for example group_size=8."
        ),
    ),
    (
        RangeError.size_without_groups("step", 8),
        (
            "group_size must be None with synchronize='step', got 8. Only groups have a size. "
            "Pass synchronize='group', or leave out group_size."
        ),
    ),
    (
        RangeError.reduces_in_layers("step"),
        (
            "reduce_parameters must be False with synchronize='step', got True. Gradients of "
            "weight and bias are those of all ranks only if each pass asks them. Let "
            "DistributedDataParallel average them, or pass synchronize='layer'."
        ),
    ),
    (
        NotSupportedError.groups_of_some_ranks(2, 4),
        (
            "SyncBatchNorm cannot make groups within a process_group of 2 of 4 ranks. PyTorch "
            "makes a group in a call of all ranks. Leave out process_group, or pass "
            "synchronize='step'."
        ),
    ),
    (
        RankError.channels(5, 4, 5),
        (
            "num_features must be the same on every rank, got 5 here, and from 4 to 5 in the "
            "group. Statistics of each channel are those of all ranks. Build the same model on "
            "every rank."
        ),
    ),
    (
        RangeError.one_value_on_all_ranks(1),
        (
            "input must have two values a channel or more, on all ranks together, got 1. The "
            "unbiased variance of the running statistics divides by n - 1. Use a larger batch; "
            "one rank may have an empty one."
        ),
    ),
    (
        NotSupportedError.third_synchronized(),
        (
            "SyncBatchNorm has no third derivative on several ranks. Its third derivative would "
            "need sums over all ranks that it does not take. Differentiate twice, or use a layer "
            "of one process."
        ),
    ),
    (
        NotSupportedError.keras_backend("tensorflow", ("jax", "torch")),
        (
            "backnorm.keras does not support the backend tensorflow of Keras. The engine computes "
            "on the backends jax and torch. Set KERAS_BACKEND=jax before Keras is imported."
        ),
    ),
    (
        NotSupportedError.synchronized_without_axis(),
        (
            "BatchNormalization cannot synchronize on JAX without the name of an axis. Under jit "
            "the statistics are those of the whole batch, on all devices. Within shard_map, pmap "
            "or vmap they are those of one part. Pass axis_name, or leave synchronized out."
        ),
    ),
    (
        NotSupportedError.named_axis("torch"),
        (
            "BatchNormalization takes an axis_name on JAX only. Axes have no names on the backend "
            "torch. Pass synchronized=True, which takes the default group of torch.distributed."
        ),
    ),
    (
        ConversionError.synchronized_in_keras("norm"),
        (
            "norm cannot become a layer of Keras: it synchronizes. The layer of Keras takes the "
            "statistics of one process. Set its synchronized to False and its axis_name to None "
            "first."
        ),
    ),
    (
        DtypeError.not_of_keras([]),
        "model must be a keras.Model or a keras.layers.Layer, got list. Pass the model.",
    ),
    (
        NotSupportedError.unknown_forward("Own"),
        (
            "Own cannot become a SyncBatchNorm: its class defines its forward. What its forward "
            "computes would be lost. Put a SyncBatchNorm in its place by hand."
        ),
    ),
    (
        NotSupportedError.pooled_weights(),
        (
            "The inputs of a layer cannot be pooled with weights that differ. Statistics of all "
            "batches are exact sums, which have no weights. Pass mask > 0."
        ),
    ),
    (
        NotSupportedError.synchronized("accumulate", "1"),
        (
            "accumulate does not know the samples of other ranks: 1 synchronizes. The statistics "
            "of this rank would be taken for those of all ranks. Give its layers a process_group "
            "of one rank."
        ),
    ),
    (
        NotSupportedError.parametrized("BatchNorm2d"),
        (
            "BatchNorm2d cannot become a SyncBatchNorm: its parameters are parametrized. PyTorch "
            "gives such a layer another class, which would be lost. Convert the model first, "
            "and parametrize its layers then."
        ),
    ),
    (
        NotSupportedError.lazy("LazyBatchNorm2d"),
        (
            "LazyBatchNorm2d cannot become a SyncBatchNorm: it has no parameters yet. A "
            "SyncBatchNorm needs the number of channels. Call the model once, and convert it then."
        ),
    ),
    (
        NotSupportedError.other_device("meta"),
        (
            "SyncBatchNorm of backnorm.torch cannot synchronize an input on meta. The engine "
            "computes on the CPU. Use torch.nn.SyncBatchNorm there."
        ),
    ),
    (
        ShapeError.axes_of_batch((2,), 8),
        "input must have 2 to 8 axes, got shape (2,). It is a batch (N, C, ...). Reshape it.",
    ),
    (
        DtypeError.not_synchronized("torch.float64", ["torch.float16", "torch.float32"]),
        (
            "input must have one of the dtypes torch.float16, torch.float32 on several ranks, got "
            "torch.float64. Their exact sums are integers, which do not depend on the order of "
            "ranks. Convert it, for example input.float()."
        ),
    ),
    (
        ShapeError.per_channel("gamma", (32,), 64, 1),
        (
            "gamma must have shape (64,), got (32,). 64 is x.shape[1], since "
            "channel_axis=1. Pass one value per channel, or set channel_axis."
        ),
    ),
    (
        ShapeError.same_as("dy", (2, 3), "fwd.y", (3, 2)),
        (
            "dy must have the shape of fwd.y, (3, 2), got (2, 3). Each element of dy "
            "belongs to one element of fwd.y. Reshape dy, or pass the fwd.y it belongs to."
        ),
    ),
    (
        ShapeError.axes("x", ()),
        (
            "x must have at least 1 axis, got shape (). One axis holds the channels; the "
            "statistics are taken over the other axes. Pass an array such as (N, C) or (N, C, "
            "H, W)."
        ),
    ),
    (
        ShapeError.empty((0, 3), 1),
        (
            "x must have at least one value per channel, got shape (0, 3) with "
            "channel_axis=1. The mean of no values is undefined. Skip empty batches, or "
            "pass running_mean and running_var."
        ),
    ),
    (
        ShapeError.features(3, 64, 1),
        (
            "x must have 64 channels, got 3. The layer has num_features=64, and x.shape[1] "
            "holds the channels. Build a layer of that size, or name the axis that holds the "
            "channels."
        ),
    ),
    (
        ShapeError.channels(4, 3),
        (
            "x must have 3 channels, got 4. Moments are those of the same channels in every part. "
            "Name the axis that holds the channels, or use a second Moments()."
        ),
    ),
    (
        ShapeError.mask((2, 3), (2, 4), (2, 3, 4)),
        (
            "mask must have shape (2, 4), that of x without its channels, got (2, 3). x has shape "
            "(2, 3, 4); a position counts in every channel, or in none. Leave out the axis of the "
            "channels."
        ),
    ),
    (
        ShapeError.nothing_counts((2, 3, 4)),
        (
            "mask must let at least one position count, got False or 0 everywhere, for an x of "
            "shape (2, 3, 4). The mean of no values is undefined. Skip empty batches, or pass "
            "running_mean and running_var."
        ),
    ),
    (
        ShapeError.stored("torch", "running_mean", (3,), (64,)),
        (
            "state['running_mean'] must have shape (64,), got (3,). torch keeps an array of "
            "that shape for this layer. Check num_features, and the layer that the array comes "
            "from."
        ),
    ),
    (
        DtypeError.no_weights("int64"),
        (
            "mask must have dtype bool, or a float dtype for weights, got int64. It tells which "
            "positions count, or how much. Pass a comparison, for example mask > 0."
        ),
    ),
    (
        RangeError.weight(-1.0),
        (
            "mask must hold weights of 0 or greater with a finite sum, got -1.0. They are shares "
            "of the mean and of the variance. Clip them, and replace NaN by 0, which leaves a "
            "position out."
        ),
    ),
    (
        RangeError.exact_weights(),
        (
            "mask must hold weights that are 0 or equal with sums='exact', got weights that "
            "differ. Products of weights and values are not among the exact sums. Pass "
            "sums='float64'."
        ),
    ),
    (
        DtypeError.not_a_mask("float32"),
        (
            "mask must have dtype bool, got float32. It tells which positions count; weights are "
            "not supported here. Pass a comparison, for example mask > 0."
        ),
    ),
    (
        DtypeError.unsupported("x", "int64", ("float16", "float32")),
        (
            "x must have one of the dtypes float16, float32, got int64. Normalization needs "
            "fractions, and the kernels are written for these dtypes. Convert it, for example "
            "x.astype(numpy.float32)."
        ),
    ),
    (
        DtypeError.same_as("residual", "float32", "x", "float64"),
        (
            "residual must have the dtype of x, float64, got float32. A mix of dtypes would "
            "hide a rounding. Convert residual to float64."
        ),
    ),
    (
        DtypeError.narrower("beta", "float16", "x", "float32"),
        (
            "beta must have the dtype of x, float32, or a wider dtype, got float16. A narrower "
            "dtype would limit the accuracy of the result below that of x. Convert it with "
            "beta.astype(x.dtype)."
        ),
    ),
    (
        DtypeError.not_an_array("x", [1.0]),
        (
            "x must be a numpy.ndarray, got list. The functions of backnorm work on NumPy "
            "arrays; backnorm.torch works on tensors. Convert it with numpy.asarray(x)."
        ),
    ),
    (
        DtypeError.not_a_mapping("state", [1.0]),
        (
            "state must be a mapping from names to values, got list. Each value has the "
            "framework's name for it. Pass for example a dict."
        ),
    ),
    (
        DtypeError.not_numbers("state['mean']", [[1.0], [2.0, 3.0]]),
        (
            "state['mean'] must be an array of numbers, or a value that NumPy makes an array "
            "of, got list. A layer's state consists of such arrays. Check that its rows have "
            "the same length, and that it holds no text and no None."
        ),
    ),
    (
        RangeError.eps(-1.0),
        (
            "eps must be a finite number, 0 or greater, got -1.0. It is added to the "
            "variance, and has its unit. Pass for example eps=1e-5."
        ),
    ),
    (
        RangeError.no_batch(),
        (
            "loader must yield at least one batch, got none. The statistics are those of its "
            "batches. Pass a list or a DataLoader; a generator that was read before yields nothing "
            "more."
        ),
    ),
    (
        RangeError.read_once(2),
        (
            "loader must be read as often as there are layers, got an iterator, which is read "
            "once, for 2 layers. Each layer is measured when those before it have their "
            "statistics. Pass a DataLoader or list(loader), or variance='within', which takes one "
            "pass."
        ),
    ),
    (
        RangeError.no_variance("stem.bn", 1, 1),
        (
            "loader must have more values in each channel than batches, and two or more, got 1 in "
            "1 for stem.bn. One value has no variance. Pass more data, or larger batches."
        ),
    ),
    (
        RangeError.micro_batches(0),
        (
            "k must be a whole number, 1 or greater, or None, got 0. After so many forward passes "
            "of the model its running statistics are updated. Pass the number of micro-batches in "
            "an optimizer step."
        ),
    ),
    (
        RankError.failed([1]),
        (
            "The process group has no result: rank 1 failed. A result needs the data of all "
            "ranks, so it is an error on each of them. Read the exception of rank 1."
        ),
    ),
    (
        RangeError.virtual_batch_size(0),
        (
            "virtual_batch_size must be a whole number, 1 or greater, got 0. It is the number of "
            "samples that share statistics. Pass for example 32."
        ),
    ),
    (
        RangeError.renorm_bound("rmax", 1.0, 0.5),
        (
            "rmax must be a finite number, 1 or greater, got 0.5. The warm-up begins with rmax=1, "
            "which is batch normalization. Pass rmax=1 for no correction."
        ),
    ),
    (
        RangeError.renorm_steps("rmax_steps", 5000, 10),
        (
            "rmax_steps must be a whole number, 5000 or greater, got 10. It is a number of "
            "batches; no bound is reached before warmup_steps. Pass 5000 for a bound that holds "
            "from there."
        ),
    ),
    (
        RangeError.renorm_without_statistics(),
        (
            "track_running_stats must be True, got False. Batch renormalization corrects by "
            "running statistics. Leave it out, or build a BatchNorm layer."
        ),
    ),
    (
        RangeError.equal_values(3),
        (
            "x must have two different values if eps is 0, got 3 equal values. "
            "inv_std = 1/sqrt(var + eps) would be infinite. Pass different values, or an eps "
            "greater than 0."
        ),
    ),
    (
        RangeError.underflow(),
        (
            "x must have a variance, with eps, of at least 2.3e-308, got different values with a "
            "smaller variance. The square of a deviation underflows in float64. Multiply the "
            "values, or pass an eps greater than 0."
        ),
    ),
    (
        RangeError.not_finite("x", float("nan")),
        (
            "x must hold finite numbers, got nan. One value that is not finite makes the mean and "
            "every output so. Pass other numbers."
        ),
    ),
    (
        RangeError.not_below("dy", 1e100, 1e101),
        (
            "dy must hold numbers between -1e+100 and 1e+100, got 1e+101. The variance is a sum of "
            "squares, which must be finite. Pass smaller numbers."
        ),
    ),
    (
        RangeError.negative_slope(0),
        (
            "negative_slope must be a finite number greater than 0, got 0. The backward "
            "pass reads the activation's branch from the sign of y. Pass for example "
            "negative_slope=0.01, or activation='relu' for slope 0."
        ),
    ),
    (
        RangeError.exact_in_parts("a mask"),
        (
            "sums must be \"float64\" with a mask, got 'exact'. Exact sums are those of an "
            'array on one CPU, or of parts within jax.shard_map. Pass sums="float64", or leave '
            "it out."
        ),
    ),
    (
        RangeError.channel_axis(4, 4),
        (
            "channel_axis must be an integer from -4 to 3, got 4. x has 4 axes. Use 1 for "
            "(N, C, ...) and -1 for (N, ..., C)."
        ),
    ),
    (
        RangeError.axes("HWC"),
        (
            "axes must have a letter for each axis and none twice, with N or B first and C for the "
            "channels, got 'HWC'. Pass for example NHWC, NTC or N...C."
        ),
    ),
    (
        RangeError.threads(0),
        (
            "n must be a whole number, 1 or greater, got 0. It is the number of threads that "
            "share a call. Pass for example os.cpu_count()."
        ),
    ),
    (
        RangeError.cache_limit(-1),
        (
            "limit must be a whole number of bytes, 0 or greater, got -1. It limits the unused "
            "output memory that is kept for later calls. Pass for example 1 << 30, or 0 to keep"
            " no memory."
        ),
    ),
    (
        RangeError.running_pair("running_var", "running_mean"),
        (
            "running_var must be given together with running_mean, got None. Frozen "
            "statistics are a mean and a variance. Pass running_var, or leave running_mean "
            "out to use the statistics of the batch."
        ),
    ),
    (
        RangeError.negative_variance(-0.5, 3),
        (
            "running_var must be at least -eps, got -0.5 in channel 3. The square root of "
            "running_var + eps is taken. Check the source of the running variance."
        ),
    ),
    (
        RangeError.missing_buffer("dgamma"),
        (
            "into.dgamma must be an array when dgamma='add', got None. 'add' adds the gradient "
            "to the values in the buffer. Pass into=Gradients(dgamma=...), or dgamma='write'."
        ),
    ),
    (
        RangeError.useless_buffer("dbeta", "dbeta='null'"),
        (
            "into.dbeta must be None when dbeta='null', got an array. That gradient is not "
            "computed, so nothing would be written to the buffer. Leave dbeta out of into."
        ),
    ),
    (
        RangeError.no_gradients({}),
        (
            "into must be a Gradients, or None, got dict. Each buffer has the name of its "
            "gradient. Pass for example into=Gradients(dx=...)."
        ),
    ),
    (
        RangeError.read_only("out"),
        (
            "out must be writeable, got a read-only array. The result is stored in it. Pass "
            "a copy, out.copy()."
        ),
    ),
    (
        RangeError.overlap("out", "x"),
        (
            "out must not share memory with x, got overlapping arrays. x is read while out is "
            "written, and again by the backward pass. Pass a separate buffer as out."
        ),
    ),
    (
        RangeError.overlap_with_itself("into.dx", (0, 20, 4)),
        (
            "into.dx must hold each value in separate memory, got strides (0, 20, 4), with which "
            "values overlap. The last value that is written would replace the others. Pass an "
            "array that was allocated in full as into.dx, not a broadcast or a window."
        ),
    ),
    (
        RangeError.count_too_large("n", 2**40, 2**31 - 1),
        (
            "n must be at most 2147483647, got 1099511627776. The C++ part holds it in a variable "
            "of fixed size. Pass a smaller number."
        ),
    ),
    (
        StorageError.too_small("weight", 256, 0),
        (
            "weight must have its values in memory, 256 bytes, got a storage of 0 bytes. The "
            "storage was freed or made smaller, as offloading and sharding do between two uses "
            "(untyped_storage().resize_). Bring the values of weight back before this call."
        ),
    ),
    (
        RangeError.stale_forward(None),
        (
            "fwd must be the result of batch_norm, got NoneType. The backward pass needs the "
            "input and the statistics of the forward pass. Call fwd = batch_norm(x, ...) first."
        ),
    ),
    (
        RangeError.no_further_derivative("mean"),
        (
            "through must be 'both' where the gradient is differentiated again, got 'mean'. The"
            " second derivative would depend on the place where the statistic was detached. "
            "Leave through out, or ask for first derivatives only."
        ),
    ),
    (
        RangeError.no_derivative_in_place(),
        (
            "inplace must be False where the gradient is differentiated again, got True. The "
            "output has overwritten the input, which the second derivative needs. Leave inplace"
            " out, or ask for first derivatives only."
        ),
    ),
    (
        RangeError.not_in_place("relu", ("identity", "leaky_relu"), has_residual=True),
        (
            "inplace must be used with activation 'identity' or 'leaky_relu' and without a "
            "residual, got activation='relu' and a residual. The backward pass recomputes the "
            "input from the output that has overwritten it. Leave inplace out, or choose "
            "another activation."
        ),
    ),
    (
        RangeError.no_parameter("gamma_tangent", "gamma"),
        (
            "gamma_tangent must be None when batch_norm was called without gamma, got an array."
            " The call had no gamma that it could belong to. Leave gamma_tangent out, or pass "
            "gamma to batch_norm."
        ),
    ),
    (
        RangeError.integer_size("x", 9007199254740993),
        (
            "x must hold integers of at most 53 bits, got one as large as 9007199254740993. float64"
            " holds no larger integer exactly. Divide them, or round them yourself with "
            "x.astype(numpy.float64)."
        ),
    ),
    (
        RangeError.moments("end too early"),
        (
            "data must be the bytes that Moments.to_bytes returned, all of them, got bytes that end"
            " too early. Other bytes would give a wrong mean without notice. Write them again, as "
            "binary, with to_bytes() of this version of backnorm."
        ),
    ),
    (
        RangeError.features(0),
        (
            "num_features must be a whole number, 1 or greater, got 0. It is the number of "
            "channels. Pass for example num_features=64."
        ),
    ),
    (
        RangeError.option("eps", "be a finite number, 0 or greater", -1.0, "torch"),
        (
            "eps must be a finite number, 0 or greater, got -1.0. It is an option of torch. Its"
            " meaning is shown by: backnorm dialects torch"
        ),
    ),
    (
        RangeError.option_missing("decay_rate", "haiku"),
        (
            "decay_rate is missing. haiku has no default for it. Pass decay_rate=...; see "
            "backnorm dialects haiku"
        ),
    ),
    (
        RangeError.learning_rate("lr_mult", (1.0, 0.0, 0.0), "caffe"),
        (
            "lr_mult must be 0 for each of the blobs, got (1.0, 0.0, 0.0). The blobs of caffe "
            "are statistics, which a solver must not change. Leave it out, or pass zeros."
        ),
    ),
    (
        RangeError.one_value("torch", (1, 64)),
        (
            "x must have more than one value per channel in training, got shape (1, 64). torch "
            "raises in this case: one value has no unbiased variance. Pass a larger batch, or "
            "call eval() first."
        ),
    ),
    (
        RangeError.no_forward(),
        (
            "backward was called before forward. It needs the input and the statistics of that "
            "pass. Call y = layer.forward(x) first."
        ),
    ),
    (
        RangeError.no_frozen_gradient("caffe-nvidia"),
        (
            "backward was called after a forward pass with running statistics. caffe-nvidia has"
            " no gradient in eval: its backward reads the statistics of an earlier pass. Call "
            "train() first, or choose another dialect."
        ),
    ),
    (
        RangeError.stored_missing("running_mean", "torch"),
        (
            "state['running_mean'] is missing. torch keeps it for a layer with these options. "
            "Pass it, or set the options of the layer that the state comes from."
        ),
    ),
    (
        RangeError.values_per_channel(1),
        (
            "n must be a whole number, 2 or greater, got 1. It is the number of values per "
            "channel from which a variance was computed. Pass for example n=32*56*56, or leave "
            "it out."
        ),
    ),
    (
        RangeError.unknown_fact("mindspore", "one_value", "not read"),
        (
            "one_value of mindspore is unknown. Evidence is missing: not read. Choose "
            "another dialect, or add the evidence to its row."
        ),
    ),
    (
        UnknownNameError.choice("through", "bth", ("both", "mean")),
        "through must be one of 'both', 'mean', got 'bth'. Did you mean 'both'?",
    ),
    (
        UnknownNameError.finding("G0", ["G01", "G02"]),
        (
            "CODE must be the code of a finding or a probe, got 'G0'. Codes that are like it: G02, "
            "G01. backnorm explain lists all findings."
        ),
    ),
    (
        UnknownNameError.option("momentun", "mxnet", ("eps", "momentum")),
        (
            "mxnet does not have the option momentun. Its options are eps, momentum. Did you "
            "mean momentum?"
        ),
    ),
    (
        UnknownNameError.stored("moving_mean", "torch", ("weight", "running_mean")),
        (
            "torch does not keep the array moving_mean. With these options it keeps weight, "
            "running_mean. Did you mean running_mean?"
        ),
    ),
    (
        NotInstalledError.package("torch", "torch", "backnorm.torch"),
        (
            "torch is not installed. backnorm.torch needs it. Install it with: pip install "
            "'backnorm[torch]'"
        ),
    ),
    (
        NotInstalledError.framework("mxnet"),
        "mxnet is not installed. Install it, or pass --python and an interpreter that has it.",
    ),
    (
        NotSupportedError.script("BatchNorm2d"),
        (
            "torch.jit.script cannot compile BatchNorm2d of backnorm.torch. The compiler of "
            "TorchScript does not read calls of the engine. Call backnorm.torch.revert(model) "
            "first, and for layers built by hand backnorm.torch.unfused(layer), or use "
            "torch.export or torch.jit.trace."
        ),
    ),
    (
        NotSupportedError.trace("BatchNorm2d"),
        (
            "torch.fx cannot trace BatchNorm2d of backnorm.torch by itself. A graph calls the "
            "layers of a model by their names. Trace the model, or torch.nn.Sequential(layer)."
        ),
    ),
    (
        DtypeError.not_a_model({}),
        (
            "model must be a torch.nn.Module, got dict. Its layers are modules of PyTorch. Load a "
            "state_dict into a model, and pass the model."
        ),
    ),
    (
        DtypeError.not_a_jax_model({}),
        (
            "model must be an nnx.Module, or a tree with modules of Equinox, got dict. Its layers "
            "are objects of these frameworks. Pass the model."
        ),
    ),
    (
        NotSupportedError.layers_in_methods("ResNet", "flax.linen"),
        (
            "ResNet cannot be converted: it is a module of flax.linen. Modules of flax.linen build "
            "their layers in their methods. Call it within flax.linen.intercept_methods("
            "backnorm.jax.layers.linen.interceptor), or build it from "
            "backnorm.jax.layers.linen.BatchNorm."
        ),
    ),
    (
        DtypeError.script(3),
        (
            "model must consist of Python modules, got the TorchScript module int. Its layers are "
            "compiled and have no class that could change. Convert the model that it was made of."
        ),
    ),
    (
        DtypeError.not_a_tensor("residual", 3.0),
        (
            "residual must be a torch.Tensor, got float. It is added to the normalized input. Pass "
            "a tensor with the shape and dtype of input."
        ),
    ),
    (
        DtypeError.not_of_classes("layer", 3, ["BatchNormAct1d", "BatchNormAct2d"]),
        (
            "layer must be a BatchNormAct1d or BatchNormAct2d, got int. Those layers compute an "
            "activation too. Use other layers as they are."
        ),
    ),
    (
        NotInstalledError.other_build("Saved", ("x", "gamma"), ("x", "gamma", "sums")),
        (
            "The C++ extension was built from other sources than the Python files. In the "
            "extension Saved has x, gamma, in Python x, gamma, sums. Reinstall backnorm, so that "
            "the extension is built anew."
        ),
    ),
    (
        NotInstalledError.native_kernel(),
        (
            "The C++ extension is not installed, so kernel='native' is not available. No "
            "compiler was found when backnorm was installed, or the build failed. Install a "
            "compiler and reinstall backnorm, or use kernel='numpy'."
        ),
    ),
    (
        BenchmarkError.wrong_result("forward", (2, 3), 0.5, 1e-6),
        (
            "forward of (2, 3) must differ from the reference by at most 1.0e-06 of the largest"
            " value, got 5.0e-01. Only a correct result is timed. Run the tests, and report "
            "this with the output of `backnorm env`."
        ),
    ),
    (
        BenchmarkError.peer_failed("mxnet", "python3.7", " no module "),
        (
            "mxnet cannot be timed under python3.7: no module. A child process times it, and "
            "needs that framework alone. Check with: python3.7 -c 'import mxnet'"
        ),
    ),
    (
        BenchmarkError.no_onednn("fatal error: dnnl.hpp: No such file or directory\n"),
        (
            "oneDNN is not timed: fatal error: dnnl.hpp: No such file or directory. On Debian both "
            "come with: apt-get install g++ libdnnl-dev"
        ),
    ),
    (
        BenchmarkError.no_recording("run.json"),
        (
            "run.json does not hold a recording of the lab. Trainings are added to the file if it "
            "is there. Pass another file with --json."
        ),
    ),
    (
        SettingsError.unreadable(
            "pyproject.toml", FileNotFoundError(2, "No such file or directory")
        ),
        (
            "pyproject.toml cannot be read: No such file or directory. Correct the file, or name "
            "another one with --config."
        ),
    ),
    (
        SettingsError.key("[tool.backnorm]", "target", ("accepted", "targets")),
        (
            "[tool.backnorm] has an unknown key: 'target'. Its keys are accepted, targets. Did "
            "you mean targets?"
        ),
    ),
    (
        SettingsError.missing("[tool.backnorm], accepted[0]", "until"),
        "[tool.backnorm], accepted[0] lacks the key until. Add until.",
    ),
    (
        SettingsError.value("[tool.backnorm], quick", "true or false", "yes"),
        "[tool.backnorm], quick must be true or false, got 'yes'. Correct the value.",
    ),
    (
        SettingsError.code("--ignore", "D0", ["D01", "D02", "G01"]),
        (
            "--ignore must be the code of a finding, or the letter of a family, got 'D0'. Codes "
            "that are like it: D02, D01. backnorm explain lists all findings."
        ),
    ),
    (
        SettingsError.undecided("--ignore", "G27"),
        (
            "--ignore must be the code of a finding about a layer, got G27. G27 says that a "
            "target, or a part of it, was not audited. Correct what keeps the audit from it, or "
            "leave out the target."
        ),
    ),
    (
        SettingsError.expired("D03", "a.py:Norm", "2030-01-31", "upstream", found=True),
        (
            "D03 of a.py:Norm was accepted until 2030-01-31 (upstream). The finding is still "
            "there, and counts again. Fix it, or accept it until another day."
        ),
    ),
    (
        SettingsError.baseline("old.json", FileNotFoundError(2, "No such file or directory")),
        (
            "old.json cannot be read as a baseline: No such file or directory. Write it with "
            "--write-baseline old.json."
        ),
    ),
    (
        BenchmarkError.other_recording("run.json", "backnorm lab experiment --seeds 3"),
        (
            "run.json has trainings that this command does not ask for. The file was written by "
            "`backnorm lab experiment --seeds 3`, whose trainings would be lost. Pass another "
            "file with --json."
        ),
    ),
    (
        BenchmarkError.other_environment("run.json", {"torch": "2.0"}, {"torch": "2.1"}),
        (
            "run.json was begun in another environment. It was begun with torch 2.0; here is "
            "torch 2.1. Pass another file with --json."
        ),
    ),
    (
        BenchmarkError.rate_not_recorded(0.3, (0.1, 0.5)),
        (
            "The recorded run does not have the learning rate 0.3. It has 0.1, 0.5. Pass one of "
            "these with --rate, or leave --recorded out to train."
        ),
    ),
    (
        BenchmarkError.training_died(),
        (
            "A process ended during its training. The system may have ended it for want of "
            "memory. Run the command again with fewer --processes: finished trainings are kept."
        ),
    ),
    (
        ConversionError.loss("mxnet", "torch", "an estimate", "Pass n."),
        "mxnet's state cannot be converted to torch without loss: an estimate. Pass n.",
    ),
    (
        ConversionError.no_statistics("torch"),
        (
            "torch's state has no running mean and no running variance. In eval the layer "
            "normalizes by the batch, which a state cannot express. Build the target layer by "
            "hand, from gamma and beta."
        ),
    ),
    (
        ConversionError.not_finite("torch", "running_var", 2),
        (
            "running_var of torch must be finite, got NaN or infinity in channel 2. After the "
            "conversion nobody could tell where it came from. Look for the layer's last good "
            "state."
        ),
    ),
    (
        ConversionError.negative_variance("torch", "running_var", -1.0, 2),
        (
            "running_var of torch must give a variance of at least -eps, got -1.0 in channel 2."
            " The square root of var + eps is taken. Look for the layer's last good state, and "
            "check its eps."
        ),
    ),
    (
        ConversionError.negative_divisor("caffe", "scale_factor", -2.0),
        (
            "scale_factor of caffe must be 0 or greater, got -2.0. It is a sum of weights, and "
            "divides mean and variance. Look for the layer's last good state."
        ),
    ),
    (
        ConversionError.cannot_hold("inplace-abn", "gamma", "be 1e-05 or greater", -0.5, 3),
        (
            "gamma for inplace-abn must be 1e-05 or greater, got -0.5 in channel 3. inplace-abn"
            " cannot represent other values. Choose another target, or other options for it."
        ),
    ),
    (
        ConversionError.of_layer("m.params", "bn0", RangeError.eps(-1.0)),
        (
            "m.params, layer bn0, eps must be a finite number, 0 or greater, got -1.0. It is "
            "added to the variance, and has its unit. Pass for example eps=1e-5."
        ),
    ),
    (
        FileError.unreadable("m.pt", FileNotFoundError("no such file")),
        (
            "m.pt cannot be read: FileNotFoundError: no such file. Check the path and the "
            "permissions."
        ),
    ),
    (
        WriteError.unwritable("m.pt", PermissionError("denied")),
        (
            "m.pt cannot be written: PermissionError: denied. No file has been changed. Check "
            "that the folder exists, its permissions, and the free space on the disk."
        ),
    ),
    (
        WriteError.unsynchronized("m.pt", OSError("input/output error")),
        (
            "m.pt has been written, but its folder cannot be synchronized: OSError: input/output "
            "error. The new file is there, whole; after a power failure the old one could be "
            "back. Check the disk, and write the file again."
        ),
    ),
    (
        WriteError.not_regular("m.npz", "a pipe"),
        "m.npz is a pipe, not a regular file. A new file would replace it. Name another file.",
    ),
    (
        FileError.irregular_source("m.npz", "a pipe"),
        (
            "m.npz is a pipe, not a regular file. A pipe or a device may never end. Copy its "
            "content into a file, and name that file."
        ),
    ),
    (
        FileError.folder("models"),
        (
            "models is a directory, not a regular file. Only the folders of a SavedModel and of a "
            "TensorFlow.js model are read. Name a file in it."
        ),
    ),
    (
        FileError.empty("m.pt"),
        (
            "m.pt is empty. Its download, or the program that wrote it, may have been stopped. "
            "Download or save it again."
        ),
    ),
    (
        FileError.over_budget("m.npz", "member a.npy", 1 << 30, 1000, 4, 16),
        (
            "m.npz, member a.npy needs 1073741824 bytes of memory, and 1000 are left for the "
            "file. A file may take 4 times its size and 16 MiB of memory. If you trust the file, "
            "pass memory, in bytes."
        ),
    ),
    (
        FileError.compressed("m.npz", "member a.npy", 12),
        (
            "m.npz, member a.npy must be stored or deflated, got compression method 12. NumPy, "
            "Keras and PyTorch write no other; a few bytes of another unpack to gigabytes. "
            "Download or save it again, or pass format."
        ),
    ),
    (
        FileError.no_layers("m.npz", 5),
        (
            "m.npz has no normalization layer that can be converted, only 5 other arrays. Layers "
            "are recognized by the names and shapes of their arrays, or by the network. Check the "
            "format, and pass the network's file if there is one."
        ),
    ),
    (
        FoldError.no_fold("m.h5", "h5"),
        (
            "The norms of m.h5 cannot be folded: the format h5 is not supported. ONNX and Caffe "
            "tell what stands before a norm; for a state_dict a target tells it. Export the "
            "network to ONNX, and fold there."
        ),
    ),
    (
        FoldError.no_graph("m.onnx", "onnx"),
        (
            "m.onnx has no network, so its norms cannot be folded. The network tells which layer "
            "stands before a norm. Read the network's file, and fold that."
        ),
    ),
    (
        FoldError.needs_like("m.pt"),
        (
            "m.pt is a state_dict: its norms can be folded only for a given target. A state_dict "
            "does not tell which layers get a bias and which norms go. Pass like, the state_dict "
            "of the network without norms, as files.read returns it."
        ),
    ),
    (
        FoldError.unfoldable("m.pt", "bn1", "", ["a", "b", "c", "d"]),
        (
            "m.pt, layer bn1 cannot be folded: names and order do not tell which layer it follows "
            "(of its size: a, b, c and 1 more). The target has no such norm. Export the network to "
            "ONNX, whose graph tells it, and fold there."
        ),
    ),
    (
        FoldError.none_folded("m.onnx", [(f"bn{i}", "it reads x") for i in range(5)]),
        (
            "None of the 5 norms of m.onnx can be folded. bn0: it reads x; bn1: it reads x; bn2: "
            "it reads x; 2 more. Convert the file without folding, or change the network."
        ),
    ),
    (
        FoldError.already_folded("m.onnx", "convolutions have a bias (3)"),
        (
            "m.onnx has no normalization layer left to fold (F06 of backnorm inspect). "
            "Convolutions have a bias (3). If the network has batch norm, it is folded already, "
            "and nothing is left to do."
        ),
    ),
    (
        KernelError.flattened("m.pt", {"fc": 3136, "head": 64}),
        (
            "m.pt does not tell whether a map is flattened before fc (3136 inputs), head (64 "
            "inputs). Keras and Flax flatten a map channels last, other frameworks channels first, "
            "so the weights would be in the wrong order. Read the file with settings=[('fc', "
            "'flatten', C)], where C is the number of channels of the map that is flattened before "
            "it, or False if no map is."
        ),
    ),
    (
        KernelError.square("m.pt", ["q"]),
        (
            "m.pt does not tell whether q is the kernel of a dense layer. The kernel of a dense "
            "layer is transposed, an embedding is not, and the shape would be the same. Read the "
            "file with settings=[('q', 'kind', 'dense')], or 'other'."
        ),
    ),
    (
        KernelError.wrong_channels("m.pt", "fc", 5, 64),
        (
            "m.pt, fc, flatten must be false or a divisor of 64, got 5. The layer has 64 inputs. "
            "Give the number of channels of the map that is flattened before the layer."
        ),
    ),
    (
        KernelError.wrong_kind("m.pt", "q", "conv", (4, 4), ["dense", "other"]),
        (
            "m.pt, q, kind must be dense or other, got conv. The array has the shape (4, 4). Give "
            "the kind of the layer that has the array."
        ),
    ),
    (
        KernelError.unknown("m.pt", "fd", "flatten", ["fc"]),
        (
            "m.pt has no dense layer that matches 'fd'. There are: fc. Check the spelling; '*' "
            "matches all."
        ),
    ),
    (
        FileError.contradicted("m.h5", "bn", "scale", "true", ["beta", "moving_mean"]),
        (
            "m.h5, layer bn, scale must agree with the arrays of the layer, got true. The layer "
            "has beta, moving_mean. Leave the option out: it follows from the arrays."
        ),
    ),
    (
        FileError.other_format("m.h5", "h5", "keras"),
        (
            "m.h5 is not a file of the format h5. It looks like a file of the format keras. "
            "Rename it, or pass format='keras'."
        ),
    ),
    (
        FileError.hidden_setting("m.h5", ("fc", "flatten", 8), ("*", "flatten", False)),
        (
            "The setting 'fc.flatten=8' for m.h5 has no effect: '*.flatten=false' fits the same "
            "layers, and comes after it. Of several settings that fit a layer, the last counts. "
            "Put ('*', 'flatten', False) first."
        ),
    ),
    (
        ArrayNameError.other_eps("g.keras", "bn", "epsilon", 1e-5, 1e-3),
        (
            "g.keras, layer bn, epsilon must be 1e-05, as in the converted layer, got 0.001. The "
            "file that is written keeps the options of this network. Build the network with "
            "epsilon=1e-05, and save it again. If the file that is converted does not tell eps, "
            "pass settings."
        ),
    ),
    (
        WriteError.other_opset("m.onnx", 15, "fc.weight has its values in another file"),
        (
            "m.onnx cannot be written in opset 15: fc.weight has its values in another file. "
            "onnx.version_converter converts a whole model; the batch norm alone could differ. "
            "Pass the dialect 'onnx' to keep the opset, or export the model in that opset."
        ),
    ),
    (
        FileError.malformed("m.params", "the header", "begin with 0x112", "0x113"),
        (
            "m.params, the header must begin with 0x112, got 0x113. The format requires it; the"
            " file may be damaged, or have another format. Download or save it again, or pass "
            "format."
        ),
    ),
    (
        FileError.library("m.onnx", "onnx", ValueError("bad wire")),
        (
            "m.onnx cannot be read by onnx: ValueError: bad wire. The file may be damaged, or "
            "have another format. Download or save it again, or pass format."
        ),
    ),
    (
        FileError.died("m.h5", "h5py", "exit status -11"),
        (
            "h5py failed on m.h5: exit status -11. h5py runs in a separate process, so that a "
            "damaged file cannot end yours. Download or save the file again."
        ),
    ),
    (
        FileError.truncated("m.params", "array 3", 40, 12),
        (
            "m.params, array 3 must have 40 more bytes, got 12. The header says so; the file "
            "may have been cut off. Download or save it again."
        ),
    ),
    (
        FileError.too_large("m.params", "array 3", 1 << 60, 96),
        (
            "m.params, array 3 has a header that claims 1152921504606846976 bytes, but the file "
            "has only 96 for it. The file is damaged, or was made to do harm. Download or "
            "save it again."
        ),
    ),
    (
        FileError.unknown_dtype("m.npz", "layer bn1, var", "int8", ("float32", "float64")),
        (
            "m.npz, layer bn1, var must have one of the dtypes float32, float64, got int8. "
            "Other dtypes cannot be read here. Save it as float32."
        ),
    ),
    (
        FileError.wrong_length("m.pt", "layer bn1, weight", (3,), 4),
        (
            "m.pt, layer bn1, weight must have shape (4,), got (3,). The layer's other arrays "
            "have 4 channels. Check the program that wrote the file."
        ),
    ),
    (
        FileError.negative_variance("m.pt", "layer bn1, running_var", -0.5, 2),
        (
            "m.pt, layer bn1, running_var must not be negative, got -0.5 in channel 2. It is a "
            "variance: its square root is taken. Check the program that wrote the file; "
            "training that diverged leaves such values."
        ),
    ),
    (
        FileError.missing_array("m.params", "layer bn1, gamma", ("beta", "moving_mean")),
        (
            "m.params, layer bn1, gamma is not in the file, which has only beta, moving_mean. "
            "The normalization cannot be computed without it. Save the whole model, with its "
            "running statistics."
        ),
    ),
    (
        FileError.gamma_or_beta("m.weights.h5", "layers/bn"),
        (
            "m.weights.h5, layer layers/bn has three arrays without names: the file does not tell "
            "whether the first is gamma or beta. Pass settings=[('layers/bn', 'scale', True)] if "
            "it has gamma, or else False."
        ),
    ),
    (
        FileError.outside("m.onnx", "layer bn1, scale", "../w.bin"),
        (
            "m.onnx, layer bn1, scale leads out of the file's folder: '../w.bin'. A model file "
            "may not reach other files of the machine. Do not use it unless you know who made "
            "it; save the model into one file."
        ),
    ),
    (
        FileError.runs_code("m.pt", "", "GLOBAL os.system"),
        (
            "m.pt could run code when it is read: GLOBAL os.system. Only data is read and "
            "written here. Save the arrays alone: a state_dict of tensors, or .safetensors."
        ),
    ),
    (
        FileError.no_source("x.csv", (".npy", ".npz")),
        (
            "x.csv must be named .npy, .npz, got another suffix. The suffix tells how the values "
            "are stored. Save the array with numpy.save, or rename the file."
        ),
    ),
    (
        FileError.no_array("w", ["a.npz", "b.npz"]),
        (
            "w must be an array in a.npz, b.npz, got no array of that name. Leave out --array to "
            "see all names."
        ),
    ),
    (
        FileError.several_arrays("x.moments", ["u", "v"]),
        (
            "x.moments must hold the moments of one array, got 2 arrays, u, v. It has no place for "
            "names. Choose one with --array NAME."
        ),
    ),
    (
        FileError.other_content("m.bin", "", "a tar archive: unpack it"),
        (
            "The format of m.bin cannot be told from its name or its content. It looks like a tar "
            "archive: unpack it. Check that it is whole, or pass format if you know it."
        ),
    ),
    (
        FileError.no_format("m.bin", (".npz", ".onnx")),
        (
            "The format of m.bin cannot be told from its name. Known endings are .npz, .onnx. "
            "Rename it, or pass format."
        ),
    ),
    (
        WriteError.wrong_dialect("m.keras", "keras", "torch", ("keras",)),
        (
            "m.keras cannot hold layers of torch. The format keras is for layers of keras. Pass"
            " dialect 'keras', or write another format."
        ),
    ),
    (
        WriteError.several_versions("m.onnx", ["onnx-14", "onnx-15"]),
        (
            "m.onnx cannot hold layers of onnx-14 and onnx-15. The file says once which version all"
            " of its layers have. Convert all layers to onnx-15."
        ),
    ),
    (
        WriteError.needs_architecture("m.keras", ".keras", "an .h5 file"),
        (
            "m.keras can be made only from another .keras file. .keras holds the network's "
            "architecture, which arrays do not tell. Write an .h5 file, and load it into the "
            "network."
        ),
    ),
    (
        WriteError.read_only("a.tflite", "tflite"),
        (
            "a.tflite cannot be written: files of the format tflite are only read. The format "
            "tflite holds a program beside the arrays, which arrays do not tell. Write another "
            "format, such as .safetensors, and load it into the network."
        ),
    ),
    (
        WriteError.neighbours("n.onnx", "fc.weight", "m.onnx"),
        (
            "n.onnx, fc.weight keeps its values in a file beside m.onnx. That file would not be"
            " copied. Write to the same folder, or save the model into one file first."
        ),
    ),
    (
        WriteError.no_room("m.pt", "layer bn1, weight", "3 values for 4"),
        (
            "m.pt, layer bn1, weight must fit in the place of the array that was read, got 3 "
            "values for 4. The rest of the file is copied unchanged. Give the array the shape "
            "of the array that was read."
        ),
    ),
    (
        WriteError.twice("m.npz", "bn.weight"),
        (
            "m.npz, bn.weight would be the name of two arrays. Layers get the names of the "
            "target's dialect; other arrays keep their names. Rename or remove the other array "
            "in the file that was read."
        ),
    ),
    (
        WriteError.within_array("m.h5", "a/b", "a"),
        (
            "m.h5, a/b would be in a, which is an array. The format keeps arrays in groups, and "
            "an array cannot be a group too. Rename or remove one of the two in the file that "
            "was read."
        ),
    ),
    (
        WriteError.unwritable_name("m.npz", "a\x00b", "not contain '\\x00'"),
        (
            "an array's name in m.npz must not contain '\\x00', got 'a\\x00b'. The format cannot "
            "hold other names. Rename or remove the array in the file that was read, or write "
            "another format."
        ),
    ),
    (
        WriteError.unwritable_dtype("m.h5", "names", "<U3", ("whole numbers", "real numbers")),
        (
            "m.h5, names is an array of <U3, which the format cannot hold. The format can hold "
            "whole numbers, real numbers. Remove the array from the file that was read, or write "
            "another format."
        ),
    ),
    (
        WriteError.unwritable_axes("m.params", "a", 40, 32),
        (
            "m.params, a must have at most 32 axes, got 40. The format cannot hold more. Remove "
            "the array from the file that was read, or write another format."
        ),
    ),
    (
        ArrayNameError.no_pair("conv1"),
        (
            "a pair of names must be OLD=NEW, got conv1. Each pair renames arrays. Write one pair "
            "in a line; NEW may be empty, which leaves the array out."
        ),
    ),
    (
        ArrayNameError.asterisks("conv1.0", "body.*"),
        (
            "the new name body.* must have at most as many '*' as the old name, got conv1.0. Each "
            "'*' stands for what one '*' of the old name matched. Write the new name out."
        ),
    ),
    (
        ArrayNameError.unknown_array("m.pt", "conv.*", ("conv1.0", "fc.0")),
        (
            "m.pt has no array whose name matches 'conv.*'. Its arrays: conv1.0, fc.0. Did you "
            "mean 'conv1.0'?"
        ),
    ),
    (
        ArrayNameError.renamed_alike("m.pt", "body.weight", "conv1.0", "conv2.0"),
        (
            "m.pt, body.weight would be the name of both conv1.0 and conv2.0. A file has each "
            "name once. Give them different names, or leave one out: an empty new name does that."
        ),
    ),
    (
        ArrayNameError.torn_layer("m.pt", "bn", {"weight": "a.weight", "bias": "b.bias"}),
        (
            "m.pt, layer bn must have arrays that are renamed as those of one layer, got weight "
            "to a.weight, bias to b.bias. The target's framework looks for them under one name. "
            "Rename them by one pair, such as 'bn1.*=body.1.*'."
        ),
    ),
    (
        ArrayNameError.network_names("m.onnx", "onnx"),
        (
            "The arrays of m.onnx cannot be renamed: it holds the network too. The network refers "
            "to its arrays by their names. Write another format, or leave the names."
        ),
    ),
    (
        ArrayNameError.unlike("t.h5", "keras", ["torch"]),
        (
            "t.h5 must have layers of torch, got keras. Its names are given to the file that is "
            "written. Pass a file of the framework that is converted to."
        ),
    ),
    (
        ArrayNameError.unlike_shape("t.pt", "fc.weight", "(3, 2)", "(2, 3)"),
        (
            "t.pt, fc.weight must have the shape of the converted array, (3, 2), got (2, 3). Both "
            "have this name. Rename the converted array, or check that both are the same network."
        ),
    ),
    (
        ArrayNameError.unmatched("m.pt", "t.pt", ["conv1.0", "conv2.0"], ["body.0.weight"]),
        (
            "The arrays of m.pt and of t.pt do not correspond: m.pt has conv1.0, conv2.0, and t.pt "
            "has body.0.weight of that shape. Pass rename with pairs for these, such as "
            "('conv1.0', 'body.0.weight'); an empty new name leaves an array out."
        ),
    ),
    (
        ArrayNameError.ambiguous(
            "m.pt", "t.npz", [("a", "c"), ("b", "d")], [("a", "c"), ("b", "d")], order=False
        ),
        (
            "Which of a, b in m.pt is which of c, d in t.npz cannot be told: they have one shape. "
            "At least one of the two files does not keep the order of the network. Rename them "
            "first. If their numbers tell the order, the pairs are [('a', 'c'), ('b', 'd')]."
        ),
    ),
    (
        ArrayNameError.other_arrays("t.pt", "bn", ["weight", "bias"], []),
        (
            "t.pt, layer bn must have the arrays weight, bias, got no array. The converted layer "
            "has them. Build the network with the options that the table shows, and save it "
            "again."
        ),
    ),
    (
        FileError.unknown_layer("m.pt", "bn*", ("norm1", "norm2")),
        (
            "m.pt has no normalization layer that matches 'bn*'. Its normalization layers: "
            "norm1, norm2. Check the spelling; '*' matches all layers."
        ),
    ),
    (
        SubjectError.raised("net:Norm", ValueError("bad  shape.")),
        ("net:Norm raised ValueError: bad shape. Run it by hand on the same input."),
    ),
    (
        SubjectError.failed_later(
            SubjectError.raised("net:Norm", ValueError("bad."), FailedCall(place="net.py:7")),
            (4, 4),
        ),
        (
            "net:Norm fails in a later call: call 2 raised (net.py:7): ValueError: bad. A first "
            "call with the same arrays is answered. Call it again by hand."
        ),
    ),
    (
        SubjectError.hung("net:Norm", 60.0),
        (
            "net:Norm did not finish within 60 s. It was stopped; the other targets are "
            "audited. Look for a loop that does not end or a lock that is not released, or "
            "raise --limit."
        ),
    ),
    (
        SubjectError.returned_none("net:Norm", "dx"),
        (
            "net:Norm returned None in place of dx. Without dx the gradient cannot be judged. "
            "Return it, and check that y is not detached from x."
        ),
    ),
    (
        SubjectError.wrong_shape("net:Norm", "dx", (3,), (3, 2)),
        (
            "net:Norm returned dx of shape (3,), not (3, 2). y and dx have the shape of x; "
            "a parameter's gradient has the shape of the parameter. Check the axes of its "
            "sums; if it normalizes over other axes, pass --kind or --axes."
        ),
    ),
    (
        SubjectError.no_array("net:Norm", "y", "text"),
        (
            "net:Norm returned y as str, not as an array. Values are compared element by "
            "element. Return y as an array of NumPy or of its framework."
        ),
    ),
    (
        SubjectError.no_tuple("net:Norm", "(y, cache)", "a tuple of 3", "tuple"),
        (
            "net:Norm returned a tuple of 3 in place of (y, cache). A pair has forward(x, "
            "gamma, beta) and backward(dy, cache). Return y and the cache, which backward "
            "gets; without a cache return (y, None)."
        ),
    ),
    (
        SubjectError.not_finite("net:Norm", "dx", 7),
        (
            "net:Norm returned NaN or infinity in 7 values of dx. Its input was finite and its "
            "variance was not 0. Look for uninitialized memory, a division by 0, and the root "
            "of a negative number."
        ),
    ),
    (
        SubjectError.died("net:Norm", "exit status -11", "Segmentation fault"),
        (
            "The process that ran net:Norm ended with exit status -11, last output: "
            "Segmentation fault. The other targets are audited, in a new process. Run it alone "
            "under python -X faulthandler."
        ),
    ),
    (
        SubjectError.garbled("net:Norm"),
        (
            "The process that ran net:Norm wrote to a pipe of the audit. It was ended; the other "
            "targets are audited, in a new process. Write to the files that it has opened itself, "
            "or to stdout and stderr."
        ),
    ),
    (
        SubjectError.audit_raised("net:Norm", ValueError("bad."), "trace.py, line 3, in path"),
        (
            "The audit of net:Norm raised ValueError: bad (trace.py, line 3, in path). The subject "
            "is not at fault. Report it with the target and the output of backnorm env."
        ),
    ),
    (
        SubjectError.not_constructed(
            "net:Norm",
            "TypeError: no size",
            arguments="[4]",
            guessed=True,
            takes=["size", "axes"],
            place="net.py:7",
        ),
        (
            "net:Norm cannot be constructed with [4], which the audit guessed: TypeError: "
            "no size (net.py:7). Its arguments without a default: size, axes. Pass its "
            'arguments: --args \'{"size": ..., "axes": ...}\'; for an object, make an instance in '
            "the module and audit it by its name."
        ),
    ),
    (
        SubjectError.no_value("net:norm", "flavour"),
        (
            "net:norm cannot be called: its argument flavour has no default. The audit "
            "passes x, gamma and beta, and what it knows by its name. Pass the value: "
            "--args '{\"flavour\": ...}'."
        ),
    ),
    (
        SubjectError.no_x("net:norm"),
        (
            "net:norm cannot be audited: it takes no arguments. A function is called with "
            "x, gamma and beta. Name a function of x; for a function that builds a model "
            "pass --model."
        ),
    ),
    (
        SubjectError.no_signature("net:norm", "ValueError: no signature found"),
        (
            "net:norm cannot be called: its arguments cannot be read (ValueError: no "
            "signature found). The audit tells gamma and beta by the names of the "
            "arguments. Wrap it in a Python function: def my_norm(x, gamma, beta)."
        ),
    ),
    (
        SubjectError.unreadable("net.onnx", "DecodeError: Error parsing message"),
        (
            "net.onnx cannot be read: DecodeError: Error parsing message. Check it with "
            "onnx.checker.check_model."
        ),
    ),
    (
        SubjectError.no_norms("net.onnx"),
        (
            "net.onnx has no normalization. It has neither a normalization node nor the nodes that "
            "exporters write in its place. If the network has batch norm, the exporter has folded "
            "it into the convolutions: export without folding (PyTorch: "
            "training=TrainingMode.PRESERVE, do_constant_folding=False)."
        ),
    ),
    (
        SubjectError.no_norm("net.onnx:/bn", "/bn", ["/bn1", "/bn2"]),
        (
            "net.onnx:/bn is not there: no normalization of the file has the name /bn. It has "
            "/bn1, /bn2. Name one of them, or the file alone."
        ),
    ),
    (
        SubjectError.half_a_pair("net:Norm", "forward"),
        (
            "net:Norm cannot be audited: it has forward, but not backward. It is not a "
            "layer of a known framework, and a NumPy pair has both functions. Add "
            "backward(dy, cache), which returns dx, dgamma and dbeta; see docs/audit.md for"
            " a pair in ten lines."
        ),
    ),
    (
        SubjectError.whole_module("net.py", ["Norm", "norm", "..."]),
        (
            "net.py cannot be audited: it is a whole file or module. The audit needs the "
            "name of a class, function or pair in it. It has Norm, norm and others. Add a "
            "name: net.py:Norm."
        ),
    ),
    (
        SubjectError.unknown_class("net:Norm"),
        (
            "net:Norm cannot be audited: it is a class without forward and backward. It is "
            "not a layer of a known framework either. See docs/audit.md for a pair in ten "
            "lines."
        ),
    ),
    (
        SubjectError.unknown_object("net:Norm", "int"),
        (
            "net:Norm cannot be audited: its type is int. A pair of forward and backward "
            "can be audited, and so can a layer or function of a known framework. Name a "
            "class, a function or a pair. See docs/audit.md for a pair in ten lines."
        ),
    ),
    (
        SubjectError.model_raised(
            "net:Net", "an input of shape (8, 3)", ValueError("bad."), "forward", "net.py:7"
        ),
        (
            "net:Net raised in its forward pass (net.py:7): ValueError: bad. It was called "
            "with an input of shape (8, 3); each layer is audited on what it receives in "
            "this run. Pass an input that the model accepts, for example --input 8,3,64,64, or a "
            "function that returns the model and its inputs, which may be a dictionary."
        ),
    ),
    (
        SubjectError.no_ranks("norms:Norm", "of kind layer"),
        (
            "norms:Norm is of kind layer, so that --ranks cannot run it. --ranks runs a target in "
            "a group of torch.distributed, or in an axis of JAX. Leave --ranks out to audit it in "
            "one process."
        ),
    ),
    (
        SubjectError.no_model("net:Net", 3),
        (
            "net:Net gave an object of type int, not a model. --model audits the layers of "
            "a torch.nn.Module, or of the module that a callable returns, alone or with its"
            " inputs. Name or return a torch.nn.Module; leave --model out to audit a layer "
            "or function by itself."
        ),
    ),
    (
        SubjectError.scripted("net:Net", "RecursiveScriptModule"),
        (
            "net:Net is compiled by TorchScript (RecursiveScriptModule). TorchScript calls the "
            "layers itself, so that the audit cannot record their calls. Return the model as it is "
            "before torch.jit.script or torch.jit.trace."
        ),
    ),
    (
        SubjectError.not_initialized("net:Net", "0.weight"),
        (
            "net:Net has a lazy module that was never called: 0.weight. A lazy module makes its "
            "parameters in its first call. Call the model once with an input before you return it."
        ),
    ),
    (
        SubjectError.no_layers("net:Net", "none of its 3 modules"),
        (
            "net:Net calls no normalization layer in its forward pass (none of its 3 modules). "
            "A layer is recognized by the name of its class, by running statistics, or by an "
            "output that is normalized. Name its class after its kind, such as MyBatchNorm, and "
            "call it as a module."
        ),
    ),
    (
        SubjectError.axes("layers.py:Norm", RangeError.axes("channel")),
        (
            "layers.py:Norm.axes must have a letter for each axis and none twice, with N or B "
            "first and C for the channels, got 'channel'. Pass for example NHWC, NTC or N...C."
        ),
    ),
    (
        SubjectError.no_input("net:Net", "GRU"),
        (
            "Cannot guess the input of net:Net, which begins with GRU. The input is guessed for"
            " models that begin with a convolution, a linear, an embedding or a normalization "
            "layer. Pass its shape, for example --input 8,3,64,64, or --input 8,16:1000 for "
            "integers below 1000."
        ),
    ),
    (
        SubjectError.not_importable("nett:Norm", "No module named 'nett'", ["net:Norm"]),
        "Cannot import nett:Norm: No module named 'nett'. Did you mean net:Norm?",
    ),
    (
        SubjectError.not_installed("mxnet", NotInstalledError.framework("mxnet")),
        "mxnet is not installed. Install it, or pass --python and an interpreter that has it.",
    ),
    (
        SubjectError.not_built("net:build", "[4]", ValueError("bad."), "net.py:7"),
        (
            "net:build raised while it built the model (net.py:7): ValueError: bad. It was "
            "called with [4] to build the model. Pass its arguments, if it needs others, "
            "such as --args '{\"classes\": 10}'; otherwise call it by hand."
        ),
    ),
    (
        SubjectError.no_device(
            "net:Norm", "AssertionError: Torch not compiled with CUDA enabled", "cuda", "torch 2.13"
        ),
        (
            "No cuda for net:Norm: torch 2.13 says AssertionError: Torch not compiled with CUDA "
            "enabled. Install a build of the framework for this device, with its driver, or leave "
            "out --device."
        ),
    ),
    (
        SubjectError.no_devices("engine", "a pair of NumPy", "cpu"),
        (
            "The device of engine cannot be chosen: it is a pair of NumPy. The audit makes arrays "
            "on a device for layers and functions of PyTorch and JAX. Leave out --device cpu."
        ),
    ),
    (
        SubjectError.two_colons("net.py::Norm", "net.py:Norm"),
        (
            "Cannot import net.py::Norm: one colon stands between a file and a name. Pass "
            "net.py:Norm."
        ),
    ),
    (
        SubjectError.relative_import(
            "pkg/net.py:Norm", "ImportError: attempted relative import", "pkg.net", ""
        ),
        (
            "Cannot import pkg/net.py:Norm: ImportError: attempted relative import. It is imported "
            "by itself, without the package around it. Pass it as a module: pkg.net:Norm."
        ),
    ),
    (
        SubjectError.no_backend(
            "net.py:Norm",
            "ModuleNotFoundError: No module named 'tensorflow'",
            "keras",
            "KERAS_BACKEND",
            ["jax", "torch"],
        ),
        (
            "Cannot import net.py:Norm: ModuleNotFoundError: No module named 'tensorflow'. "
            "KERAS_BACKEND is not set, so that keras looks for its default backend. Set it to a "
            "backend that is installed: KERAS_BACKEND=jax or torch."
        ),
    ),
    (
        SubjectError.import_ended("net.py:Norm", "SystemExit: 2", "net.py:3: `parse_args()`"),
        (
            "Cannot import net.py:Norm: its import ends Python with SystemExit: 2 (net.py:3: "
            "`parse_args()`). A module that is imported must not read the arguments of a command, "
            'nor exit. Move what it does as a script below if __name__ == "__main__".'
        ),
    ),
    (
        SubjectError.import_raised("net:Norm", "ZeroDivisionError: division by zero"),
        (
            "Cannot import net:Norm: ZeroDivisionError: division by zero. The module is "
            "there, and its own code raises. Import it by hand to see the whole traceback."
        ),
    ),
    (
        SubjectError.missing_module(
            "net:Norm", "ModuleNotFoundError: No module named 'torch'", "torch.nn", "env/bin/python"
        ),
        (
            "Cannot import net:Norm: ModuleNotFoundError: No module named 'torch'. It was "
            "imported with env/bin/python. Install it there, with env/bin/python -m pip "
            "install torch or as its makers say, or pass --python with an interpreter that "
            "has it."
        ),
    ),
    (
        SubjectError.no_file("nett.py:Norm", "no file nett.py", ["net.py"], "/home"),
        (
            "Cannot import nett.py:Norm: no file nett.py. The current folder is /home. Did "
            "you mean net.py?"
        ),
    ),
    (
        SubjectError.no_name("net:Nomr", "no Nomr in net", ["Norm"], ["Norm", "norm"]),
        ("Cannot import net:Nomr: no Nomr in net. Did you mean Norm?"),
    ),
    (
        NotInstalledError.interpreter("pyhton"),
        ("'pyhton' is not a program. Pass the path of a Python, or its name if it is on PATH."),
    ),
    (
        NotInstalledError.numpy(
            "env/bin/python",
            "Traceback (most recent call last):\n  at line 1\nNo module named 'numpy'",
        ),
        (
            "env/bin/python cannot import NumPy: No module named 'numpy'. The audit sends "
            "arrays to the targets that it runs. Install NumPy there: env/bin/python -m pip"
            " install numpy"
        ),
    ),
    (
        NotSupportedError.no_python("/bin/true", "exit status 0"),
        (
            "/bin/true is not a Python. It did not tell its version (exit status 0). Pass "
            "the path of a Python, such as that of a virtual environment: env/bin/python."
        ),
    ),
    (
        NotSupportedError.old_python("/usr/bin/python2", "2.7"),
        (
            "/usr/bin/python2 is too old: it is Python 2.7. Targets run under Python 3.6 or"
            " newer. Pass another interpreter."
        ),
    ),
    (
        ProgramError.not_found("./norm"),
        (
            "Cannot start ./norm: there is no such program, or it cannot be executed. A "
            "command is split as a shell splits it, and is run without a shell. Check the "
            "path; a program in the current folder needs ./ before its name, and a script an "
            "interpreter before it, such as 'node norm.mjs'."
        ),
    ),
    (
        ProgramError.not_started("norm", "Exec format error"),
        (
            "norm cannot be started: Exec format error. It is run without a shell. Name the "
            "interpreter before it, such as 'sh norm.sh', or build it for this machine."
        ),
    ),
    (
        ProgramError.other_facts("norm", "version=2", "version=1"),
        (
            "norm was started again, and answered hello with version=2, not version=1. It ended in "
            "place of an answer, and was started again. Answer hello with the same facts in every "
            "start, or keep it from ending."
        ),
    ),
    (
        ProgramError.surplus("norm", "another answer", FailedRequest("call train")),
        (
            "norm wrote another answer after its answer to `call train`. It was ended. Write "
            "nothing after the bytes of the arrays. See docs/programs.md, or take a helper from "
            "backnorm program."
        ),
    ),
    (
        ProgramError.out_of_order("norm", 3, 1, 24),
        (
            "norm answered 24 requests in another order: in place 3 came the answer to request 1. "
            "Requests are sent before earlier ones are answered. Answer each request before the "
            "next one is read."
        ),
    ),
    (
        ProgramError.lacks("norm", "dx", ("y",)),
        (
            "norm answered without dx: its answer has y. Without dx the gradient cannot be judged. "
            "Name dx in the line of the answer to a request with dy, and write its bytes. See "
            "docs/programs.md, or take a helper from backnorm program."
        ),
    ),
    (
        ProgramError.not_split("./norm 'x", ValueError("No closing quotation")),
        (
            "The command ./norm 'x cannot be read: No closing quotation. It is split as a "
            "shell splits it, and is run without a shell. Quote it once as a whole, for "
            "example --program './norm --seed 1'."
        ),
    ),
    (
        ProgramError.not_a_library("libnorm.so"),
        (
            "libnorm.so must be FILE:FUNCTION with a file that is there, got libnorm.so. A "
            "shared library is loaded from a file, and has its functions by name. Pass for "
            "example --library ./libnorm.so:norm."
        ),
    ),
    (
        ProgramError.refused("norm", "no license", ["Loading"]),
        (
            "norm answered hello with an error: no license. Before that it wrote: Loading. "
            "See docs/programs.md, or take a helper from backnorm program."
        ),
    ),
    (
        ProgramError.fact("norm", "sample=, a shape such as 3,2,2", "no sample"),
        (
            "norm must answer hello with sample=, a shape such as 3,2,2, got no sample. An "
            "example: ok kind=batch sample=3,2,2 params=3 dtypes=float32,float64. See "
            "docs/programs.md, or take a helper from backnorm program."
        ),
    ),
    (
        ProgramError.ended(
            "norm",
            "signal SIGABRT",
            "sorry",
            FailedRequest("hello 1", "`ok`, without the end of the line", 1),
        ),
        (
            "norm ended with signal SIGABRT, after `ok`, without the end of the line, last "
            "output: sorry, in place of an answer to `hello 1`. It is started again for the "
            "next request. A process that it had started was ended too. Send it this request "
            "by hand, or run it under a debugger. See docs/programs.md, or take a helper from"
            " backnorm program."
        ),
    ),
    (
        ProgramError.late("norm", 5.0, FailedRequest("hello 1")),
        (
            "norm did not answer `hello 1` within 5 s: no answer. It was stopped. Flush "
            "stdout after each answer, and write as many bytes as its line announces; or "
            "raise --limit."
        ),
    ),
    (
        ProgramError.out_of_step(
            "norm", "`hi`, where an answer begins with ok or error,", FailedRequest("hello 1")
        ),
        (
            "norm wrote `hi`, where an answer begins with ok or error, in place of an answer "
            "to `hello 1`. It was ended. Print to stderr, and write as many bytes as its line"
            " announces. See docs/programs.md, or take a helper from backnorm program."
        ),
    ),
    (
        ProgramError.not_a_number("norm", "y", "int64"),
        (
            "norm returned y as int64, not in the dtype of x. y and gradients are float32 or "
            "float64, unless x was sent in half precision. Write y in the dtype of x."
        ),
    ),
    (
        ProgramError.big_endian("norm", "y"),
        (
            "norm returned y in big-endian order: it makes sense only so. The protocol is little "
            "endian, on every machine. Write the bytes of y in little-endian order."
        ),
    ),
    (
        ProgramError.other_state("norm", "state.mean", "float64[4]", "float64[3]"),
        (
            "norm returned state.mean as float64[4]; its answer to hello has float64[3]. The "
            "state after a call has the names and shapes of the state in hello. Write "
            "state.mean as float64[3], or leave it out if it has not changed."
        ),
    ),
    (
        SubjectError.other_file("./audit", "./audit", "program"),
        (
            "Cannot import ./audit: ./audit is a program, not a Python file. Pass it as one: "
            "backnorm audit --program ./audit."
        ),
    ),
]
"""One of each constructor in errors.py, and its text."""

MORE: list[tuple[BacknormError, str]] = [
    (
        ProgramError.lacks("norm", "y", ()),
        (
            "norm answered without y: its answer has no arrays. Without y the gradient cannot be "
            "judged. Name y in the line of the answer, and write its bytes. See docs/programs.md, "
            "or take a helper from backnorm program."
        ),
    ),
    (
        ProgramError.ended(
            "norm",
            "exit status 101",
            "thread 'main' panicked at r.rs:2:5:\nindex out of bounds\nstack backtrace:\n 0: main",
            FailedRequest("hello 1"),
        ),
        (
            "norm ended with exit status 101, last output: thread 'main' panicked at r.rs:2:5: "
            "index out of bounds, in place of an answer to `hello 1`. It is started again for the "
            "next request. Send it this request by hand, or run it under a debugger. See "
            "docs/programs.md, or take a helper from backnorm program."
        ),
    ),
    (
        SubjectError.raised("norm", ValueError("no"), FailedCall("forward", answered=True)),
        (
            "norm raised in its forward pass: ValueError: no. If it takes other shapes, correct "
            "its answer to hello; if it has one mode, pass --mode."
        ),
    ),
    (
        SubjectError.raised(
            "norm",
            ValueError("state.mean has 4 values, and state.mean has 3"),
            FailedCall("forward", answered=True),
        ),
        (
            "norm raised in its forward pass: ValueError: state.mean has 4 values, and state.mean "
            "has 3. Correct the array, or the shapes in its answer to hello."
        ),
    ),
    (
        SubjectError.raised(
            "norm",
            ValueError("y has 3 values, not shape 2,3"),
            FailedCall("backward", answered=True),
        ),
        (
            "norm raised in its backward pass: ValueError: y has 3 values, not shape 2,3. Correct "
            "the array, or the shapes in its answer to hello."
        ),
    ),
    (
        DtypeError.not_a_jax_model(dict),
        (
            "model must be an nnx.Module, or a tree with modules of Equinox, got the class dict. "
            "Its layers are objects of these frameworks. Pass an instance, dict(...)."
        ),
    ),
    (
        ProgramError.late("norm", 5.0, FailedRequest("call train", answered=90)),
        (
            "norm did not answer `call train` within 5 s: no answer, after 90 answers in that time."
            " It was stopped. Flush stdout after each answer, and write as many bytes as its line "
            "announces; or raise --limit."
        ),
    ),
    (
        ArrayNameError.unmatched("k.h5", "t.h5", ["dw/kernel"], [], ["dw"]),
        (
            "The arrays of k.h5 and of t.h5 do not correspond: k.h5 has dw/kernel, and t.h5 has no "
            "array of that shape. If the file that is converted does not tell the kind of a "
            "kernel, read it with settings=[('dw', 'kind', KIND)] where KIND is 'depthwise', "
            "'transposed', 'dense' or 'conv'. Pass rename with pairs for these, such as "
            "('dw/kernel', ''); an empty new name leaves an array out."
        ),
    ),
    (
        FoldError.none_folded("m.onnx", [("bn", "it reads x")]),
        (
            "The norm of m.onnx cannot be folded. bn: it reads x. Convert the file without "
            "folding, or change the network."
        ),
    ),
    (
        SubjectError.relative_import(
            "pkg/net.py:Norm", "ImportError: no parent", "pkg.net", "/src"
        ),
        (
            "Cannot import pkg/net.py:Norm: ImportError: no parent. It is imported by itself, "
            "without the package around it. Pass it as a module, in the folder /src: pkg.net:Norm."
        ),
    ),
    (
        SubjectError.other_file("my norm:f", "my norm", "program"),
        (
            "Cannot import my norm:f: my norm is a program, not a Python file. Pass it as one: "
            """backnorm audit --program ''"'"'./my norm'"'"''."""
        ),
    ),
    (
        SubjectError.other_file("libnorm.so:norm", "libnorm.so", "library"),
        (
            "Cannot import libnorm.so:norm: libnorm.so is a shared library, not a Python file. "
            "Pass a function of it: backnorm audit --library ./libnorm.so:FUNCTION."
        ),
    ),
    (
        SubjectError.other_file("norm.hpp", "norm.hpp", "other"),
        (
            "Cannot import norm.hpp: norm.hpp is not a Python file. Audit code of another language "
            "as a program: see docs/programs.md."
        ),
    ),
    (
        SubjectError.no_backend("net.py:Norm", "ImportError: none", "keras", "KERAS_BACKEND", []),
        (
            "Cannot import net.py:Norm: ImportError: none. KERAS_BACKEND is not set, so that keras "
            "looks for its default backend. Install a backend of keras, and set KERAS_BACKEND to "
            "it."
        ),
    ),
    (
        SubjectError.import_raised(
            "net:Norm", "RuntimeError: No CUDA GPUs are available", "net.py:3: `x.cuda()`"
        ),
        (
            "Cannot import net:Norm: RuntimeError: No CUDA GPUs are available (net.py:3: "
            "`x.cuda()`). The module is there, and its own code raises. Leave out .cuda(), "
            '.to("cuda") and device="cuda" in the layer: the audit calls it on the CPU.'
        ),
    ),
    (
        SubjectError.not_constructed(
            "net:Norm",
            "AssertionError: Torch not compiled with CUDA enabled",
            arguments="[4]",
            guessed=True,
            takes=["n"],
            place="net.py:7: `self.cuda()`",
        ),
        (
            "net:Norm cannot be constructed with [4], which the audit guessed: AssertionError: "
            "Torch not compiled with CUDA enabled (net.py:7: `self.cuda()`). Its arguments without "
            'a default: n. Leave out .cuda(), .to("cuda") and device="cuda" in the layer: the '
            "audit calls it on the CPU."
        ),
    ),
    (
        SubjectError.raised("net:Norm", RuntimeError("Expected all tensors on the same device")),
        (
            "net:Norm raised RuntimeError: Expected all tensors on the same device. Leave out "
            '.cuda(), .to("cuda") and device="cuda" in the layer: the audit calls it on the CPU.'
        ),
    ),
    (
        UnknownNameError.finding("X99", []),
        (
            "CODE must be the code of a finding or a probe, got 'X99'. backnorm explain lists all "
            "findings."
        ),
    ),
    (
        FileError.other_content("m.pt", "a file of torch.save", ""),
        (
            "m.pt is not a file of torch.save. Check that it is whole, or pass format if you "
            "know it."
        ),
    ),
    (
        SubjectError.raised(
            "net 1",
            ValueError("bad."),
            FailedCall("forward", "net.py:7", "training", {"x": (1, 4)}, in_model=True),
        ),
        (
            "net 1 raised in its forward pass (net.py:7): ValueError: bad. It was called in "
            "training with x of shape (1, 4). Correct what the model does before this layer, or "
            "pass an input with more samples or of another shape, for example --input 8,3,64,64."
        ),
    ),
    (
        SubjectError.raised(
            "net:Norm", KeyError("Parameter containing: tensor([1.])"), FailedCall("backward")
        ),
        (
            "net:Norm raised in its backward pass: KeyError: 'Parameter containing: tensor([1.])'. "
            "Look the parameter up by its name, keep the table as an attribute of the layer, "
            "which is copied with it, or audit the layer within its model with --model."
        ),
    ),
    (
        SubjectError.raised("net:Norm", TypeError("cannot pickle '_thread.lock' object")),
        (
            "net:Norm raised TypeError: cannot pickle '_thread.lock' object. Create what cannot be "
            "copied, such as a lock or an open file, in forward or outside of the layer, or give "
            "the layer a __deepcopy__."
        ),
    ),
    (
        SubjectError.raised(
            "net:Norm",
            TypeError("Norm.forward() missing 1 required positional argument: 'label'"),
            FailedCall("forward", "", "", {"x": (5, 3)}),
        ),
        (
            "net:Norm raised in its forward pass: TypeError: Norm.forward() missing 1 required "
            "positional argument: 'label'. It was called with x of shape (5, 3). Wrap it in a "
            "layer or a function that fills these arguments: --args reaches the constructor of a "
            "layer only. Within a model that calls it, pass --model."
        ),
    ),
    (
        SubjectError.failed_later(SubjectError.not_finite("net:Norm", "y", 7), (4, 5, 2)),
        (
            "net:Norm fails in a later call: call 3 (of 2 samples, after one of 5) returned NaN or "
            "infinity in 7 values of y. A first call with the same arrays is answered. Call it "
            "again by hand."
        ),
    ),
    (
        UnknownNameError.choice("through", 3, ("both", "mean")),
        "through must be one of 'both', 'mean', got 3. Pass for example 'both'.",
    ),
    (
        SubjectError.died("net:Norm", "exit status 3", ""),
        (
            "The process that ran net:Norm ended with exit status 3. The other targets are "
            "audited, in a new process. Run it alone under python -X faulthandler."
        ),
    ),
    (
        SubjectError.died("net:Norm", "exit status 3", "", 1),
        (
            "The process that ran net:Norm ended with exit status 3. The other targets are "
            "audited, in a new process. A process that it had started was ended too. Run it alone "
            "under python -X faulthandler."
        ),
    ),
    (
        SubjectError.hung("net:Norm", 60.0, 2),
        (
            "net:Norm did not finish within 60 s. It was stopped; the other targets are "
            "audited. 2 processes that it had started were ended too. Look for a loop that does "
            "not end or a lock that is not released, or raise --limit."
        ),
    ),
    (
        SubjectError.not_importable("nett", "x" * 400, []),
        (f"Cannot import nett: ...{'x' * 300}. Check the spelling; install it, or pass --python."),
    ),
    (
        SubjectError.raised(
            "net:Norm",
            ValueError("shape."),
            FailedCall(
                "forward", "net.py:7", "evaluation", {"x": (5, 3), "gamma": (3,)}, refused=True
            ),
        ),
        (
            "net:Norm raised in its forward pass (net.py:7): ValueError: shape. It was "
            "called in evaluation with x of shape (5, 3) and gamma of shape (3,). Pass the "
            "order of its axes, such as --axes NHWC, its kind, such as --kind layer, or "
            "other arguments with --args; for a whole block or model pass --model."
        ),
    ),
    (
        SubjectError.raised(
            "net:Norm",
            ValueError("shape."),
            FailedCall("forward", "net.py:7", "", {"x": (5, 3)}, refused=True, parts=2),
        ),
        (
            "net:Norm raised in its forward pass (net.py:7): ValueError: shape. It was "
            "called with x of shape (5, 3). Pass --model to audit each of its layers in its"
            " place, with --input for the shape of x, such as --input 8,3,64,64; for other "
            "arguments pass --args."
        ),
    ),
    (
        SubjectError.raised(
            "net:Norm",
            KeyError("a"),
            FailedCall("forward", "net.py:7", "training", {"x": (5, 3), "dy": (5, 3)}),
        ),
        (
            "net:Norm raised in its forward pass (net.py:7): KeyError: 'a'. It was called "
            "in training with x of shape (5, 3) and dy of shape (5, 3). Run it by hand on "
            "the same input. If it needs other arguments, pass --args."
        ),
    ),
    (
        SubjectError.raised(
            "net:Norm",
            KeyError("a"),
            FailedCall("backward", "", "", {"x": (5, 3), "gamma": (3,), "dy": (5, 3)}),
        ),
        (
            "net:Norm raised in its backward pass: KeyError: 'a'. It was called with x of "
            "shape (5, 3), gamma of shape (3,) and dy of shape (5, 3). Run it by hand on "
            "the same input."
        ),
    ),
    (
        SubjectError.no_tuple(
            "net:Norm", "(dx, dgamma, dbeta)", "an array of shape (5, 3)", "array"
        ),
        (
            "net:Norm returned an array of shape (5, 3) in place of (dx, dgamma, dbeta). A "
            "pair has forward(x, gamma, beta) and backward(dy, cache). Return dx, dgamma "
            "and dbeta; for a parameter that it lacks return None."
        ),
    ),
    (
        SubjectError.not_constructed(
            "net:Norm",
            "OSError: no file",
            arguments="{'size': 4}",
            guessed=False,
            takes=[],
            place="",
        ),
        (
            "net:Norm cannot be constructed with the arguments {'size': 4}: OSError: no "
            "file. Pass others with --args; for an object, make an instance in the module and "
            "audit it by its name."
        ),
    ),
    (
        SubjectError.half_a_pair("net:Norm", "backward"),
        (
            "net:Norm cannot be audited: it has backward, but not forward. It is not a "
            "layer of a known framework, and a NumPy pair has both functions. Add "
            "forward(x, gamma, beta), which returns y and the cache; see docs/audit.md for "
            "a pair in ten lines."
        ),
    ),
    (
        SubjectError.whole_module("net.py", []),
        (
            "net.py cannot be audited: it is a whole file or module. The audit needs the "
            "name of a class, function or pair in it. Add a name: net.py:NAME."
        ),
    ),
    (
        SubjectError.whole_module("net.py:", ["Norm"]),
        (
            "net.py cannot be audited: it is a whole file or module. The audit needs the "
            "name of a class, function or pair in it. It has Norm. Add a name: net.py:Norm."
        ),
    ),
    (
        SubjectError.whole_module("net.py:np", []),
        (
            "net.py:np cannot be audited: it is a whole file or module. The audit needs the "
            "name of a class, function or pair in it. Name one of them."
        ),
    ),
    (
        SubjectError.unknown_object("net.py:batchnorm_forward", "function"),
        (
            "net.py:batchnorm_forward cannot be audited: its type is function. A pair of "
            "forward and backward can be audited, and so can a layer or function of a known "
            "framework. Name a class. Two functions of NumPy arrays are audited as "
            "forward(x, gamma, beta) and backward(dy, cache) of one class or module: give them "
            "these names. See docs/audit.md for a pair in ten lines."
        ),
    ),
    (
        SubjectError.unknown_object("net.py:norm", "builtin_function_or_method"),
        (
            "net.py:norm cannot be audited: its type is builtin_function_or_method. A pair "
            "of forward and backward can be audited, and so can a layer or function of a "
            "known framework. For Function.apply of PyTorch, name the class of the Function. "
            "See docs/audit.md for a pair in ten lines."
        ),
    ),
    (
        SubjectError.model_raised(
            "net:Net", "an input of shape (8, 3)", ValueError("bad."), "backward", ""
        ),
        (
            "net:Net raised in its backward pass: ValueError: bad. It was called with an "
            "input of shape (8, 3); each layer is audited on what it receives in this run. "
            "Run its backward pass by hand on an input of this shape."
        ),
    ),
    (
        SubjectError.not_importable("nett:Norm", "no module nett", [], "/src"),
        (
            "Cannot import nett:Norm: no module nett. The current folder is /src. Run the command "
            "in the folder that holds it; install it, or pass --python."
        ),
    ),
    (
        SubjectError.no_file("nett.py:Norm", "no file nett.py", [], "/home"),
        (
            "Cannot import nett.py:Norm: no file nett.py. The current folder is /home. "
            "Check the path."
        ),
    ),
    (
        SubjectError.no_name("net:Nomr", "no Nomr in net", [], ["Norm", "norm"]),
        ("Cannot import net:Nomr: no Nomr in net. It has Norm, norm. Check the spelling."),
    ),
    (
        SubjectError.died(
            "net:Norm",
            "exit status 1",
            "Traceback (most recent call last):\n  at line 1\nKeyboardInterrupt",
        ),
        (
            "The process that ran net:Norm ended with exit status 1, last output: "
            "KeyboardInterrupt. The other targets are audited, in a new process. Run it "
            "alone under python -X faulthandler."
        ),
    ),
    (
        WriteError.unwritable("out/a.json", OSError(2, "No such file or directory", "out/tmp1234")),
        (
            "out/a.json cannot be written: FileNotFoundError: No such file or directory. No"
            " file has been changed. Check that the folder exists, its permissions, and the"
            " free space on the disk."
        ),
    ),
]
"""What the same constructors say where there is less to say, or more."""

CLASSES: list[type[BacknormError]] = [
    cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, BacknormError)
]


def words_of(error: BacknormError) -> str:
    """The first words of a message, as the name of a test."""
    return f"{type(error).__name__}-{error.name}-{error.requirement[:20]}"


@pytest.mark.parametrize(
    ("error", "text"),
    MESSAGES + MORE,
    ids=lambda value: words_of(value) if isinstance(value, BacknormError) else "",
)
def test_the_message_stands_in_full(error: BacknormError, text: str) -> None:
    """As in the table above; its parts are attributes."""
    assert str(error) == text
    for part in (error.name, error.problem, error.why, error.advice):
        assert part in text
    assert all((error.name, error.requirement, error.got, error.advice))


@pytest.mark.parametrize("error", [error for error, _ in MESSAGES + MORE], ids=words_of)
def test_a_message_about_an_argument_has_the_requirement(error: BacknormError) -> None:
    """An error without a `problem` makes its first sentence of three attributes."""
    if " must " in error.problem:
        assert f"{error.name} must {error.requirement}, got {error.got}." in error.problem
    else:
        assert not error.requirement.startswith(("be ", "have "))


def test_the_warning_stands_in_full() -> None:
    """It is a warning, without parts."""
    assert str(SmallWeightWarning.not_in_place()) == (
        "inplace is ignored in this call: some weights are so small beside their biases that the "
        "input could not be recomputed from the output without loss of precision. Other layers and "
        "later calls do not repeat this warning."
    )


@pytest.mark.parametrize(
    "error", [RangeError.eps, lambda got: RangeError.option("eps", "", got, "")]
)
def test_a_number_that_python_does_not_write_out_has_a_message(
    error: Callable[[object], BacknormError],
) -> None:
    """Its digits are more than Python turns into text."""
    assert "got a number too long to write out. " in str(error(10**5000))


def test_no_message_is_missing_above() -> None:
    """Every constructor of every error class made exactly one line of the table."""
    there = [
        f"{cls.__name__}.{name}"
        for cls in CLASSES
        for name, value in vars(cls).items()
        if isinstance(value, classmethod) and not name.startswith("_")
    ]
    source = inspect.getsource(inspect.getmodule(test_no_message_is_missing_above))
    table = source[source.index("MESSAGES") : source.index("MORE")]
    made = re.findall(r"^        (\w+Error\.\w+)\(", table, re.MULTILINE)
    assert sorted(made) == sorted(there)
    assert len(there) == len(MESSAGES)


@pytest.mark.parametrize("error", [error for error, _ in MESSAGES], ids=words_of)
def test_errors_survive_pickling(error: BacknormError) -> None:
    """They cross from a worker process to its parent whole."""
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - what it has just made itself
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


BASES = {
    ShapeError: ValueError,
    StorageError: RuntimeError,
    DtypeError: TypeError,
    RangeError: ValueError,
    UnknownNameError: ValueError,
    NotInstalledError: ImportError,
    NotSupportedError: RuntimeError,
    ArrayNameError: ValueError,
    KernelError: ValueError,
    ConversionError: ValueError,
    FileError: ValueError,
    FoldError: ValueError,
    WriteError: ValueError,
    SubjectError: RuntimeError,
    RankError: RuntimeError,
    ProgramError: RuntimeError,
    BenchmarkError: RuntimeError,
    SettingsError: ValueError,
}


def test_each_error_is_one_of_pythons_own() -> None:
    """Code that catches ValueError or ImportError catches ours as well."""
    assert set(BASES) == set(CLASSES) - {BacknormError}
    assert all(issubclass(cls, BacknormError) for cls in BASES)
    assert all(issubclass(cls, base) for cls, base in BASES.items())
    named = {cls.__name__ for cls in CLASSES} | {"NothingConvertedWarning", "SmallWeightWarning"}
    assert errors.__all__ == sorted(named)
