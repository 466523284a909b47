"""Every message, in full. That wrong arguments give them is shown in ops/test_refusals.py."""

from __future__ import annotations

import inspect
import pickle
import re
from typing import TYPE_CHECKING

import pytest

from backnorm import errors
from backnorm.errors import (
    BacknormError,
    BenchmarkError,
    ConversionError,
    DtypeError,
    FileError,
    NotInstalledError,
    NotSupportedError,
    RangeError,
    ShapeError,
    SmallWeightWarning,
    StorageError,
    SubjectError,
    UnknownNameError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGES: list[tuple[BacknormError, str]] = [
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
        ShapeError.stored("torch", "running_mean", (3,), (64,)),
        (
            "state['running_mean'] must have shape (64,), got (3,). torch keeps an array of "
            "that shape for this layer. Check num_features, and the layer that the array comes "
            "from."
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
        RangeError.negative_slope(0),
        (
            "negative_slope must be a finite number greater than 0, got 0. The backward "
            "pass reads the activation's branch from the sign of y. Pass for example "
            "negative_slope=0.01, or activation='relu' for slope 0."
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
            "axes must name each axis by another letter, N or B first and C for the channels, got "
            "'HWC'. Pass for example NHWC, NTC or N...C."
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
        FileError.unwritable("m.pt", PermissionError("denied")),
        (
            "m.pt cannot be written: PermissionError: denied. No file has been changed. Check "
            "that the folder exists, its permissions, and the free space on the disk."
        ),
    ),
    (
        FileError.not_regular("m.npz", "a pipe"),
        "m.npz is a pipe, not a regular file. A new file would replace it. Name another file.",
    ),
    (
        FileError.no_layers("m.npz", 5),
        (
            "m.npz has no normalization layer, only 5 other arrays. Layers are recognized by "
            "the names and shapes of their arrays, or by the network. Check the format, and "
            "pass the network's file if there is one."
        ),
    ),
    (
        FileError.malformed("m.params", "the header", "begin with 0x112", "0x113"),
        (
            "m.params, the header must begin with 0x112, got 0x113. The format requires it; the"
            " file may be damaged, or have another format. Download or save it again, or name "
            "its format."
        ),
    ),
    (
        FileError.library("m.onnx", "onnx", ValueError("bad wire")),
        (
            "m.onnx cannot be read by onnx: ValueError: bad wire. The file may be damaged, or "
            "have another format. Download or save it again, or name its format."
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
            "m.params, array 3 has a header that claims 1152921504606846976, but the file has "
            "only 96 bytes for it. The file is damaged, or was made to do harm. Download or "
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
        FileError.no_format("m.bin", (".npz", ".onnx")),
        (
            "The format of m.bin cannot be told from its name. Known endings are .npz, .onnx. "
            "Rename it, or name its format."
        ),
    ),
    (
        FileError.wrong_dialect("m.keras", "keras", "torch", ("keras",)),
        (
            "m.keras cannot hold layers of torch. The format keras is for layers of keras. Pass"
            " dialect 'keras', or write another format."
        ),
    ),
    (
        FileError.needs_architecture("m.keras", ".keras", "an .h5 file"),
        (
            "m.keras can be made only from another .keras file. .keras holds the network's "
            "architecture, which arrays do not tell. Write an .h5 file, and load it into the "
            "network."
        ),
    ),
    (
        FileError.neighbours("n.onnx", "fc.weight", "m.onnx"),
        (
            "n.onnx, fc.weight keeps its values in a file beside m.onnx. That file would not be"
            " copied. Write to the same folder, or save the model into one file first."
        ),
    ),
    (
        FileError.no_room("m.pt", "layer bn1, weight", "3 values for 4"),
        (
            "m.pt, layer bn1, weight must fit in the place of the array that was read, got 3 "
            "values for 4. The rest of the file is copied unchanged. Give the array the shape "
            "of the array that was read."
        ),
    ),
    (
        FileError.twice("m.npz", "bn.weight"),
        (
            "m.npz, bn.weight would be the name of two arrays. Layers get the names of the "
            "target's dialect; other arrays keep their names. Rename or remove the other array "
            "in the file that was read."
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
        (
            "net:Norm raised ValueError: bad shape. It was called with x, gamma, beta and dy of"
            " the shapes that it asks for. Call it by hand on such an input first; if it needs "
            "other arguments, pass --args."
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
            "net:Norm returned dx of shape (3,), not (3, 2). y and dx have the shape of x; a "
            "parameter's gradient has the shape of the parameter. Check the axes of its sums; "
            "if it normalizes over other axes, pass --kind."
        ),
    ),
    (
        SubjectError.no_array("net:Norm", "y", "text"),
        (
            "net:Norm returned y as str, not as an array. Values are compared element by "
            "element. Return y as a numpy.ndarray."
        ),
    ),
    (
        SubjectError.no_tuple("net:Norm", "(y, cache)", (1, 2, 3)),
        (
            "net:Norm returned a tuple of 3 in place of (y, cache). A pair has forward(x, "
            "gamma, beta) and backward(dy, cache). See docs/audit.md for a pair in ten lines."
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
        SubjectError.cannot_build("net:Norm", "()", TypeError("missing an argument")),
        (
            "net:Norm does not accept the arguments (): TypeError: missing an argument. A class"
            " is constructed before it is audited. Pass its arguments, for example --args "
            "'{\"num_features\": 4}' or --args '[4]'."
        ),
    ),
    (
        SubjectError.unknown_object("net:Norm", 3),
        (
            "net:Norm cannot be audited: its type is int. A pair of forward and backward can be"
            " audited, and so can a layer or function of a known framework. See docs/audit.md "
            "for a pair in ten lines."
        ),
    ),
    (
        SubjectError.model_raised("net:Net", "an input of shape (8, 3)", ValueError("bad.")),
        (
            "net:Net, run forward and backward on an input of shape (8, 3), raised ValueError: "
            "bad. Each layer is audited on the input that it receives in this run. Pass an "
            "input that the model accepts, for example --input 8,3,64,64."
        ),
    ),
    (
        SubjectError.no_model("net:Net", 3),
        (
            "net:Net gave an object of type int, not a model. --model audits the layers of a "
            "torch.nn.Module, or of the module that a callable returns, alone or with its "
            "inputs. Leave --model out to audit a layer or function by itself."
        ),
    ),
    (
        SubjectError.no_layers("net:Net", "none of its 3 modules"),
        (
            "net:Net calls no normalization layer in its forward pass (none of its 3 modules). "
            "A layer is recognized by the name of its class. Name its class after its kind, "
            "such as MyBatchNorm, and call it as a module."
        ),
    ),
    (
        SubjectError.axes("layers.py:Norm", RangeError.axes("channel")),
        (
            "layers.py:Norm.axes must name each axis by another letter, N or B first and C for "
            "the channels, got 'channel'. Pass for example NHWC, NTC or N...C."
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
]
"""One of each constructor in errors.py, and its text."""

MORE: list[tuple[BacknormError, str]] = [
    (
        UnknownNameError.choice("through", 3, ("both", "mean")),
        "through must be one of 'both', 'mean', got 3. Pass for example 'both'.",
    ),
    (
        SubjectError.no_tuple("net:Norm", "(y, cache)", None),
        (
            "net:Norm returned NoneType in place of (y, cache). A pair has forward(x, gamma, "
            "beta) and backward(dy, cache). See docs/audit.md for a pair in ten lines."
        ),
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
    ConversionError: ValueError,
    FileError: ValueError,
    SubjectError: RuntimeError,
    BenchmarkError: RuntimeError,
}


def test_each_error_is_one_of_pythons_own() -> None:
    """Code that catches ValueError or ImportError catches ours as well."""
    assert set(BASES) == set(CLASSES) - {BacknormError}
    assert all(issubclass(cls, BacknormError) for cls in BASES)
    assert all(issubclass(cls, base) for cls, base in BASES.items())
    named = {cls.__name__ for cls in CLASSES} | {"NothingConvertedWarning", "SmallWeightWarning"}
    assert errors.__all__ == sorted(named)
