"""How layers of Caffe are called, by nets of a few lines. Plain: see `backnorm.host.specs`."""

import os
import tempfile

from .. import defaults

__all__ = ["LAYERS", "NORM", "TOO_MANY_AXES", "CaffeLayer", "layer", "layer_classes", "layers"]

TOO_MANY_AXES = "MVN takes 4 axes at most"


def layer_classes():
    """Return the class of layers: a net that is not built before its input is known."""
    return (CaffeLayer,)


class CaffeLayer:
    """A layer by the text of its prototxt, from the blob x to the blob n, and a Scale behind it."""

    def __init__(self, text, scale=True):
        self.text = text
        self.scale = scale


NORM = 'layer { name: "n" type: "%s" bottom: "x" top: "n" %s }'

LAYERS = (
    ("BatchNorm and Scale", "batch", NORM % ("BatchNorm", "batch_norm_param { eps: 1e-5 }"), True),
    ("BatchNorm", "batch", NORM % ("BatchNorm", ""), False),
    ("MVN", "instance", NORM % ("MVN", "mvn_param { eps: 1e-3 }"), False),
    (
        "MVN, across channels",
        "group",
        NORM % ("MVN", "mvn_param { across_channels: true eps: 1e-3 }"),
        False,
    ),
)
"""Names, kinds and texts. Caffe computes in float32."""


def layers():
    """Return all normalization layers."""
    import caffe  # noqa: F401 - or it is not there

    return [("caffe." + n, kind, CaffeLayer(text, scale), None) for n, kind, text, scale in LAYERS]


def layer(candidate, kind, train):
    """Return the layer spec of a layer in one mode."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    import caffe

    nets = {}

    def net_for(shape):
        if shape not in nets:
            nets[shape] = _net(candidate, shape, caffe.TRAIN if train else caffe.TEST)
        return nets[shape]

    def differentiate(_, leaves, constants, dy):
        if '"MVN"' in candidate.text and leaves["x"].ndim > 4:
            # It would end the process.
            raise ValueError(TOO_MANY_AXES)
        net = net_for(leaves["x"].shape)
        for blob, role in zip(net.params.get("n", ()), ("running_mean", "running_var")):
            blob.data[...] = defaults.running(role, blob.data.size).reshape(blob.data.shape)
        for blob in list(net.params.get("n", ()))[2:]:
            blob.data[...] = 1
        for blob, role in zip(net.params.get("y", ()), ("gamma", "beta")):
            blob.data[...] = leaves[role]
            blob.diff[...] = 0
        net.blobs["data"].data[...] = leaves["x"]
        net.forward()
        y = net.blobs["y"].data.copy()
        if dy is None:
            return y, {}
        net.blobs["y"].diff[...] = dy
        net.backward()
        found = {"x": net.blobs["data"].diff.copy()}
        for blob, role in zip(net.params.get("y", ()), ("gamma", "beta")):
            found[role] = blob.diff.copy()
        return y, found

    return {
        "call": None,
        "differentiate": differentiate,
        "shape": (defaults.CHANNELS[kind],),
        "gamma": candidate.scale,
        "beta": candidate.scale,
        "groups": 1 if kind == "group" else 0,
        "dtypes": ("float32",),
    }


def _net(candidate, shape, phase):
    """Build a net for inputs of one shape."""
    import caffe

    dims = " ".join("dim: %d" % length for length in shape)
    behind = 'type: "Scale" scale_param { bias_term: true }' if candidate.scale else 'type: "Power"'
    text = (
        'name: "audit" force_backward: true '
        'layer { name: "data" type: "Input" top: "data" input_param { shape { %s } } } '
        'layer { name: "x" type: "Power" bottom: "data" top: "x" } '
        "%s "
        'layer { name: "y" bottom: "n" top: "y" %s }'
    ) % (dims, candidate.text, behind)
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt", delete=False) as file:
        file.write(text)
    try:
        return caffe.Net(file.name, phase)
    finally:
        os.remove(file.name)
