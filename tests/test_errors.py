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
    RangeError,
    ShapeError,
    SmallWeightWarning,
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
            "statistics are taken over the others. Pass an array such as (N, C) or (N, C, "
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
            "holds the channels. Pass a layer of that size, or say where the channels are."
        ),
    ),
    (
        ShapeError.stored("torch", "running_mean", (3,), (64,)),
        (
            "state['running_mean'] must have shape (64,), got (3,). That is what torch keeps "
            "for this layer. Check num_features, and which layer the array comes from."
        ),
    ),
    (
        DtypeError.unsupported("x", "int64", ("float16", "float32")),
        (
            "x must have one of the formats float16, float32, got int64. Normalization "
            "needs fractions, and the kernels are written for these formats. Convert it, "
            "for example x.astype(numpy.float32)."
        ),
    ),
    (
        DtypeError.same_as("residual", "float32", "x", "float64"),
        (
            "residual must have the format of x, float64, got float32. Mixed formats would "
            "hide a rounding. Convert residual to float64."
        ),
    ),
    (
        DtypeError.narrower("beta", "float16", "x", "float32"),
        (
            "beta must have the format of x, float32, or a wider one, got float16. A "
            "narrower format would limit the accuracy of the result below that of x. "
            "Convert it with beta.astype(x.dtype)."
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
            "state must be a mapping from names to values, got list. Each value goes by the "
            "framework's own name for it. Pass for example a dict."
        ),
    ),
    (
        DtypeError.not_numbers("state['mean']", [[1.0], [2.0, 3.0]]),
        (
            "state['mean'] must be an array of numbers, or what NumPy makes one of, got list. A "
            "layer's state is made of such arrays. Check that its rows are of one length, and "
            "that nothing in it is text or None."
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
        RangeError.threads(0),
        (
            "n must be a whole number, 1 or greater, got 0. It is the number of threads "
            "that share one call. Pass for example os.cpu_count()."
        ),
    ),
    (
        RangeError.cache_limit(-1),
        (
            "limit must be a whole number of bytes, 0 or greater, got -1. It bounds the "
            "output memory that lies idle. Pass for example 1 << 30, or 0 to recycle "
            "nothing."
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
            "running_var must be such that running_var + eps is not negative, got -0.5 in "
            "channel 3. Its square root is taken. Check where the running variance comes "
            "from."
        ),
    ),
    (
        RangeError.missing_buffer("dgamma"),
        (
            "into.dgamma must be an array when dgamma='add', got None. 'add' adds the "
            "gradient to what the buffer holds. Pass into=Gradients(dgamma=...), or "
            "dgamma='write'."
        ),
    ),
    (
        RangeError.useless_buffer("dbeta", "dbeta='null'"),
        (
            "into.dbeta must be None when dbeta='null', got an array. There is no such "
            "gradient, so nothing would be written to it. Leave dbeta out of into."
        ),
    ),
    (
        RangeError.no_gradients({}),
        (
            "into must be a Gradients, or None, got dict. Each buffer goes by the name of "
            "its gradient. Pass for example into=Gradients(dx=...)."
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
            "out must not share memory with x, got overlapping arrays. x is read while out "
            "is written, and again by the backward pass. Pass a buffer of its own as out."
        ),
    ),
    (
        RangeError.stale_forward(None),
        (
            "fwd must be what batch_norm returned, got NoneType. The backward pass needs "
            "the input and the statistics of the forward pass. Call fwd = batch_norm(x, "
            "...) first."
        ),
    ),
    (
        RangeError.no_further_derivative("mean"),
        (
            "through must be 'both' where the gradient is differentiated again, got 'mean'. What a "
            "detached statistic means at second order depends on where it was detached. Leave "
            "through out, or ask for first derivatives only."
        ),
    ),
    (
        RangeError.no_derivative_in_place(),
        (
            "inplace must be False where the gradient is differentiated again, got True. The "
            "output has taken the memory of the input, whose derivatives would be needed. Leave "
            "inplace out, or ask for first derivatives only."
        ),
    ),
    (
        RangeError.not_in_place("relu", ("identity", "leaky_relu"), has_residual=True),
        (
            "inplace must go with activation 'identity' or 'leaky_relu' and without a residual, "
            "got activation='relu' and a residual. The backward pass works the input out from "
            "the output that took its memory. Leave inplace out, or choose another activation."
        ),
    ),
    (
        RangeError.no_parameter("gamma_tangent", "gamma"),
        (
            "gamma_tangent must be None when batch_norm was called without gamma, got an "
            "array. There is no gamma that it could belong to. Leave gamma_tangent out, or "
            "pass gamma to batch_norm."
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
            "eps must be a finite number, 0 or greater, got -1.0. It is an option of torch. See"
            " what it means: backnorm dialects torch"
        ),
    ),
    (
        RangeError.option_missing("decay_rate", "haiku"),
        (
            "decay_rate must be given, got nothing. haiku has no default for it. Pass "
            "decay_rate=...; see backnorm dialects haiku"
        ),
    ),
    (
        RangeError.learning_rate("lr_mult", (1.0, 0.0, 0.0), "caffe"),
        (
            "lr_mult must be 0 for each of the blobs, got (1.0, 0.0, 0.0). The blobs of caffe "
            "are statistics, and a solver that moves them spoils them. Leave it out, or pass "
            "zeros."
        ),
    ),
    (
        RangeError.one_value("torch", (1, 64)),
        (
            "x must have more than one value per channel in training, got shape (1, 64). torch "
            "raises here: one value has no unbiased variance. Pass a larger batch, or call "
            "eval() first."
        ),
    ),
    (
        RangeError.no_forward(),
        (
            "backward must follow a forward pass, got a layer without one. It needs the input "
            "and the statistics of that pass. Call y = layer.forward(x) first."
        ),
    ),
    (
        RangeError.no_frozen_gradient("caffe-nvidia"),
        (
            "backward must follow a forward pass in training, got one with running statistics. "
            "caffe-nvidia has no gradient for those: it reads what an earlier pass left behind."
            " Call train() first, or take another dialect."
        ),
    ),
    (
        RangeError.stored_missing("running_mean", "torch"),
        (
            "state['running_mean'] must be given, got nothing. torch keeps it for a layer with "
            "these options. Pass it, or set the options of the layer that it comes from."
        ),
    ),
    (
        RangeError.values_per_channel(1),
        (
            "n must be a whole number, 2 or greater, got 1. It is the number of values per "
            "channel that a variance was taken over. Pass for example n=32*56*56, or leave it "
            "out."
        ),
    ),
    (
        RangeError.unknown_fact("mindspore", "one_value", "not read"),
        (
            "one_value of mindspore must be known for this, got UNKNOWN. There is no evidence: "
            "not read. Take another dialect, or add the evidence to its row."
        ),
    ),
    (
        UnknownNameError.choice("through", "bth", ("both", "mean")),
        (
            "through must be one of 'both', 'mean', got 'bth'. These are all there are. Did "
            "you mean 'both'?"
        ),
    ),
    (
        UnknownNameError.option("momentun", "mxnet", ("eps", "momentum")),
        (
            "the option momentun must be one of eps, momentum, got 'momentun'. These are the "
            "options of mxnet. Did you mean momentum?"
        ),
    ),
    (
        UnknownNameError.stored("moving_mean", "torch", ("weight", "running_mean")),
        (
            "the array moving_mean must be one of weight, running_mean, got 'moving_mean'. "
            "These are what torch keeps for a layer with these options. Did you mean "
            "running_mean?"
        ),
    ),
    (
        NotInstalledError.package("torch", "torch", "backnorm.torch"),
        (
            "torch must be installed, got no such package in this environment. "
            "backnorm.torch needs it. Install it with: pip install 'backnorm[torch]'"
        ),
    ),
    (
        NotInstalledError.framework("mxnet"),
        (
            "mxnet must be installed, got no such package in this environment. Its layers are "
            "called through it. Install it, or pass --python and an interpreter that has it."
        ),
    ),
    (
        NotInstalledError.native_kernel(),
        (
            "the native kernel must be built, got an installation without it. No C++ "
            "compiler was at hand when backnorm was installed, or the build failed. Install "
            "a compiler and reinstall backnorm, or use kernel='numpy'."
        ),
    ),
    (
        BenchmarkError.wrong_result("forward", (2, 3), 0.5, 1e-6),
        (
            "forward of (2, 3) must differ from the reference by at most 1.0e-06 of the "
            "largest value, got 5.0e-01. Only a right result is timed. Run the tests, and "
            "report this with what `backnorm env` prints."
        ),
    ),
    (
        BenchmarkError.peer_failed("mxnet", "python3.7", " no module "),
        (
            "the peer mxnet must run under python3.7, got no module. It is timed by a child "
            "process that needs that framework and nothing else. Check with: python3.7 -c "
            "'import mxnet'"
        ),
    ),
    (
        ConversionError.loss("mxnet", "torch", "an estimate", "Pass n."),
        (
            "the state of mxnet must be carried to torch without loss, got an estimate. A loss "
            "that nobody asked for would be found much later. Pass n."
        ),
    ),
    (
        ConversionError.no_statistics("torch"),
        (
            "the state of torch must hold a running mean and a running variance, got a layer "
            "that keeps none. Its eval normalizes by the batch, which no state can say. Build "
            "the target layer by hand, from gamma and beta."
        ),
    ),
    (
        ConversionError.not_finite("torch", "running_var", 2),
        (
            "running_var of torch must be finite, got NaN or infinity in channel 2. Nothing "
            "could tell afterwards where it came from. Look for the layer's last good state."
        ),
    ),
    (
        ConversionError.negative_variance("torch", "running_var", -1.0, 2),
        (
            "running_var of torch must be such that the variance + eps is not negative, got a "
            "variance of -1.0 in channel 2. Its square root is taken. Look for the layer's last "
            "good state, and check its eps."
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
            " has no other way to write it. Take another target, or other options for it."
        ),
    ),
    (
        ConversionError.of_layer("m.params", "bn0", RangeError.eps(-1.0)),
        (
            "m.params, layer bn0, eps must be a finite number, 0 or greater, got -1.0. It "
            "is added to the variance, and has its unit. Pass for example eps=1e-5."
        ),
    ),
    (
        FileError.unreadable("m.pt", FileNotFoundError("no such file")),
        (
            "m.pt must be a file that can be read, got FileNotFoundError: no such file. Its"
            " normalization layers are to be read. Check the path and the permissions."
        ),
    ),
    (
        FileError.unwritable("m.pt", PermissionError("denied")),
        (
            "m.pt must be a place that can be written to, got PermissionError: denied. A "
            "temporary file is written beside it and renamed; nothing has been changed. "
            "Check that the folder is there, the permissions, and the room on the disk."
        ),
    ),
    (
        FileError.not_regular("m.npz", "a pipe"),
        (
            "m.npz must be a regular file, or not be there yet, got a pipe. The new file is "
            "renamed to that name, and what was there would be gone. Name another file."
        ),
    ),
    (
        FileError.no_layers("m.npz", 5),
        (
            "m.npz must have a normalization layer, got none, and 5 other arrays. Layers are told "
            "by the names and shapes of their arrays, or by the network. Check the format, and the "
            "network where there is one of its own."
        ),
    ),
    (
        FileError.malformed("m.params", "the header", "begin with 0x112", "0x113"),
        (
            "m.params, the header must begin with 0x112, got 0x113. The file's format says "
            "so; it may be damaged, or of another format. Fetch or save it again, or name "
            "its format."
        ),
    ),
    (
        FileError.library("m.onnx", "onnx", ValueError("bad wire")),
        (
            "m.onnx must be a file that onnx can read, got ValueError: bad wire. onnx is the "
            "library of its format; the file may be damaged, or of another one. Fetch or save it "
            "again, or name its format."
        ),
    ),
    (
        FileError.died("m.h5", "h5py", "exit status -11"),
        (
            "m.h5 must be a file that h5py can read, got a process that ended with exit "
            "status -11. h5py reads it in a process of its own, so that no damaged file "
            "ends yours. Fetch or save it again."
        ),
    ),
    (
        FileError.truncated("m.params", "array 3", 40, 12),
        (
            "m.params, array 3 must have 40 more bytes, got 12. Its header says so; the "
            "file may have been cut off. Fetch or save it again."
        ),
    ),
    (
        FileError.too_large("m.params", "array 3", 1 << 60, 96),
        (
            "m.params, array 3 must hold no more than the 96 bytes that are there for it, "
            "got a header that claims 1152921504606846976. Nothing is reserved on the word "
            "of a header. The file is damaged, or was made to do harm: fetch or save it "
            "again."
        ),
    ),
    (
        FileError.unknown_dtype("m.npz", "layer bn1, var", "int8", ("float32", "float64")),
        (
            "m.npz, layer bn1, var must be of one of the types float32, float64, got int8. "
            "Only those can be read here. Save it as float32."
        ),
    ),
    (
        FileError.wrong_length("m.pt", "layer bn1, weight", (3,), 4),
        (
            "m.pt, layer bn1, weight must have shape (4,), got (3,). The layer's other "
            "arrays have 4 channels. Check what wrote the file."
        ),
    ),
    (
        FileError.negative_variance("m.pt", "layer bn1, running_var", -0.5, 2),
        (
            "m.pt, layer bn1, running_var must not be negative, got -0.5 in channel 2. It "
            "is a variance: its square root is taken. Check what wrote the file; training "
            "that diverged leaves such values behind."
        ),
    ),
    (
        FileError.missing_array("m.params", "layer bn1, gamma", ("beta", "moving_mean")),
        (
            "m.params, layer bn1, gamma must be in the file, got only beta, moving_mean. "
            "The normalization cannot be computed without it. Save the whole model, with "
            "its running statistics."
        ),
    ),
    (
        FileError.outside("m.onnx", "layer bn1, scale", "../w.bin"),
        (
            "m.onnx, layer bn1, scale must stay within the file's own folder, got "
            "'../w.bin'. A model file has no business elsewhere on the machine. Do not use "
            "it unless you know who made it; save the model into one file."
        ),
    ),
    (
        FileError.runs_code("m.pt", "", "GLOBAL os.system"),
        (
            "m.pt must be data and nothing else, got GLOBAL os.system. Reading such a file "
            "would run code that came with it. Save the arrays alone: a state_dict of "
            "tensors, or .safetensors."
        ),
    ),
    (
        FileError.no_format("m.bin", (".npz", ".onnx")),
        (
            "m.bin must end in one of .npz, .onnx, got another ending. The ending tells the"
            " format. Rename it, or name its format."
        ),
    ),
    (
        FileError.wrong_dialect("m.keras", "keras", "torch", ("keras",)),
        (
            "m.keras must hold layers of keras, got torch. Those are what keras files hold."
            " Pass dialect 'keras', or write another format."
        ),
    ),
    (
        FileError.needs_architecture("m.keras", ".keras", "an .h5 file"),
        (
            "m.keras must be made from another .keras file, got arrays of another format. "
            ".keras holds the network's code, and arrays do not tell it. Write an .h5 file,"
            " and load it into the network."
        ),
    ),
    (
        FileError.neighbours("n.onnx", "fc.weight", "m.onnx"),
        (
            "n.onnx, fc.weight must stay in the folder of m.onnx, got another folder. Its "
            "values are in a file beside, which is named and not copied. Write to the same "
            "folder, or save the model into one file first."
        ),
    ),
    (
        FileError.no_room("m.pt", "layer bn1, weight", "3 values for 4"),
        (
            "m.pt, layer bn1, weight must fit in the place of the array that was read, got "
            "3 values for 4. All else in the file is carried over as it is. Give the array "
            "the shape of the one that was read."
        ),
    ),
    (
        FileError.twice("m.npz", "bn.weight"),
        (
            "m.npz, bn.weight must be one array, got two of that name. Layers get the names of "
            "the target's dialect, and other arrays keep theirs. Rename the one that is no "
            "layer's, or leave it out, in the file that was read."
        ),
    ),
    (
        FileError.unknown_layer("m.pt", "bn*", ("norm1", "norm2")),
        (
            "m.pt must have a normalization layer that 'bn*' fits, got norm1, norm2. An "
            "option is set for the layers that its pattern fits. Check the spelling; '*' "
            "fits all of them."
        ),
    ),
    (
        SubjectError.raised("net:Norm", ValueError("bad  shape.")),
        (
            "net:Norm must run without an error, got ValueError: bad shape. It was given x, "
            "gamma, beta and dy of the shapes it asks for. Run it on an input of its own "
            "first; if it needs other arguments, pass --args."
        ),
    ),
    (
        SubjectError.hung("net:Norm", 60.0),
        (
            "net:Norm must be done within 60 s, got no answer. The others have to be "
            "audited too. Look for a loop without an end, or a lock that is never given "
            "back."
        ),
    ),
    (
        SubjectError.returned_none("net:Norm", "dx"),
        (
            "net:Norm must give dx, got None. There is nothing to judge without dx. Return "
            "it; if y is detached from x, let the graph reach x."
        ),
    ),
    (
        SubjectError.wrong_shape("net:Norm", "dx", (3,), (3, 2)),
        (
            "net:Norm must give dx of shape (3, 2), got (3,). Each array has the shape of "
            "what it belongs to. Check the axes of its sums; if it is of another kind, pass "
            "--kind."
        ),
    ),
    (
        SubjectError.no_array("net:Norm", "y", "text"),
        (
            "net:Norm must give y as an array, got str. Values are compared element by "
            "element. Return y as a numpy.ndarray."
        ),
    ),
    (
        SubjectError.no_tuple("net:Norm", "(y, cache)", (1, 2, 3)),
        (
            "net:Norm must return (y, cache), got tuple of 3. A pair has forward(x, gamma, "
            "beta) and backward(dy, cache). See docs/audit.md for a pair in ten lines."
        ),
    ),
    (
        SubjectError.not_finite("net:Norm", "dx", 7),
        (
            "net:Norm must give a finite dx, got 7 values that are NaN or infinite. Its "
            "input was finite and its variance was not 0. Look for uninitialized memory, "
            "and for a root of something negative."
        ),
    ),
    (
        SubjectError.died("net:Norm", "exit status -11", "Segmentation fault"),
        (
            "net:Norm must leave its process alive, got exit status -11, last words: "
            "Segmentation fault. It runs in a process of its own, so that the others are "
            "audited all the same. Run it alone under python -X faulthandler."
        ),
    ),
    (
        SubjectError.cannot_build("net:Norm", "()", TypeError("missing an argument")),
        (
            "net:Norm must accept the arguments (), got TypeError: missing an argument. A "
            "class is constructed before it is audited. Pass its arguments, for example "
            "--args '{\"num_features\": 4}' or --args '[4]'."
        ),
    ),
    (
        SubjectError.unknown_object("net:Norm", 3),
        (
            "net:Norm must be a pair of forward and backward, or a layer or function of a "
            "known framework, got int. Only those can be given an x and asked for a "
            "gradient. See docs/audit.md for a pair in ten lines."
        ),
    ),
    (
        SubjectError.model_raised("net:Net", "an input of shape (8, 3)", ValueError("bad.")),
        (
            "net:Net must run forward and backward on an input of shape (8, 3), got "
            "ValueError: bad. Each layer is audited on what it receives in that pass. Pass "
            "an input that the model takes, for example --input 8,3,64,64."
        ),
    ),
    (
        SubjectError.no_model("net:Net", 3),
        (
            "net:Net must be a torch.nn.Module, or a callable that returns one or a pair of "
            "one and its inputs, got int. --model audits the layers of a model in their "
            "places. Leave --model out to audit a layer or function by itself."
        ),
    ),
    (
        SubjectError.no_layers("net:Net", "none of its 3 modules"),
        (
            "net:Net must call a normalization layer in its forward pass, got none of its 3 "
            "modules. A layer is known by the name of its class. Let the name of its class "
            "say its kind, such as MyBatchNorm, and call it as a module."
        ),
    ),
    (
        SubjectError.no_input("net:Net", "GRU"),
        (
            "net:Net must begin with a convolution, a linear, embedding or normalization "
            "layer, got GRU. The input is guessed from that layer where it is not given. "
            "Pass its shape, for example --input 8,3,64,64, or --input 8,16:1000 for "
            "integers below 1000."
        ),
    ),
    (
        SubjectError.not_importable("nett:Norm", "No module named 'nett'", ["net:Norm"]),
        (
            "nett:Norm must be importable, got No module named 'nett'. A target is "
            "package.module:Name, package.module.Name, path/file.py:Name, or a framework. "
            "Did you mean net:Norm?"
        ),
    ),
]
"""One of each constructor in errors.py, and its text."""

MORE: list[tuple[BacknormError, str]] = [
    (
        UnknownNameError.choice("through", 3, ("both", "mean")),
        (
            "through must be one of 'both', 'mean', got 3. These are all there are. Pass for "
            "example 'both'."
        ),
    ),
    (
        SubjectError.no_tuple("net:Norm", "(y, cache)", None),
        (
            "net:Norm must return (y, cache), got NoneType. A pair has forward(x, gamma, beta) and "
            "backward(dy, cache). See docs/audit.md for a pair in ten lines."
        ),
    ),
    (
        SubjectError.died("net:Norm", "exit status 3", ""),
        (
            "net:Norm must leave its process alive, got exit status 3. It runs in a process of its "
            "own, so that the others are audited all the same. Run it alone under python -X "
            "faulthandler."
        ),
    ),
    (
        SubjectError.not_importable("nett", "x" * 400, []),
        (
            f"nett must be importable, got ...{'x' * 300}. A target is package.module:Name, "
            "package.module.Name, path/file.py:Name, or a framework. Check its spelling."
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
    """As in the table above, with its parts as attributes."""
    assert str(error) == text
    for part in (error.name, error.requirement, error.got, error.why, error.advice):
        assert part in text


def test_the_warning_stands_in_full() -> None:
    """It is no error, and has no parts."""
    assert str(SmallWeightWarning.not_in_place()) == (
        "inplace is ignored here: some weights are small beside their biases, so that the input "
        "could not be worked out from the output without losing digits. Other layers and later "
        "calls are not named again."
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
    DtypeError: TypeError,
    RangeError: ValueError,
    UnknownNameError: ValueError,
    NotInstalledError: ImportError,
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
    named = {cls.__name__ for cls in CLASSES} | {"SmallWeightWarning"}
    assert errors.__all__ == sorted(named)
