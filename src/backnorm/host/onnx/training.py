"""The gradient of a normalization, by the graph that onnxruntime-training makes of it.

It differentiates other operators than models have: a BatchNormalization in training is its
BatchNormInternal, and a LayerNormalization must return the mean and the inv_std too.
"""

import onnx

from .engines import onnxruntime, session
from .norm import INPUT, ONNX_DTYPES

__all__ = ["Gradient", "build_gradient", "refused"]

CONTRIBUTED = "com.microsoft"

STATISTICS = {
    "LayerNormalization": ["backnorm.saved_mean", "backnorm.saved_inv_std"],
    "SimplifiedLayerNormalization": ["backnorm.saved_inv_std"],
}
"""What an operator must return for its gradient."""

MISSING = "onnxruntime-training, which differentiates nodes of ONNX, is not installed"


class Gradient:
    """Calls the forward and the backward pass."""

    def __init__(self, made, names):
        self.made, self.names = made, names

    def __call__(self, feeds):
        """Return y and the gradients, by their names."""
        return dict(zip(self.names, self.made.run(None, feeds)))


def build_gradient(norm, dtype):
    """Return a `Gradient` of a norm, or in its place why there is none, as text."""
    builder = _builder()
    if builder is None:
        return MISSING
    try:
        nodes, y = [_differentiable(norm, node) for node in norm.nodes], norm.y
        wanted = [role for role in ["x"] + norm.roles if role in ("x", "gamma", "beta")]
        model = _with_loss(norm.model(dtype, nodes, [y]), y, ONNX_DTYPES[dtype])
        leaves = {INPUT % role for role in wanted}
        made = builder(model.SerializeToString(), {"backnorm.loss"}, leaves, "backnorm.loss")
        made.build()
        whole = onnx.load_model_from_string(made.get_model())
        names = {INPUT % role + "_grad": "d" + role for role in wanted}
        there = {name for node in whole.graph.node for name in node.output}
        names = {name: role for name, role in names.items() if name in there}
        del whole.graph.output[:]
        for name in [y] + list(names):
            whole.graph.output.append(
                onnx.helper.make_tensor_value_info(name, ONNX_DTYPES[dtype], None)
            )
        return Gradient(session(whole.SerializeToString()), ["y"] + list(names.values()))
    except Exception as error:
        return refused(error)


def _builder():
    try:
        from onnxruntime.capi._pybind_state import GradientGraphBuilder
    except ImportError:
        return None
    return GradientGraphBuilder


def refused(error):
    """Return why there is no gradient, out of an error that names functions of C++."""
    version = onnxruntime.__version__
    words = " ".join(str(error).split()) or type(error).__name__
    _, known, operator = words.partition("has not been registered: ")
    if known:
        operator = operator.partition(" ")[0]
        return "onnxruntime-training %s has no gradient of %s" % (version, operator)
    return "onnxruntime-training %s gives no gradient: %s" % (version, words[-160:])


def _differentiable(norm, node):
    """Return the node that stands for another where the gradient is made."""
    made = onnx.NodeProto()
    made.CopyFrom(node)
    if node.op_type == "BatchNormalization" and norm.trains:
        made.op_type, made.domain = "BatchNormInternal", CONTRIBUTED
        made.output.extend(STATISTICS["LayerNormalization"])
    elif node.op_type == "RMSNormalization":
        made.op_type = "SimplifiedLayerNormalization"
    if made.op_type in STATISTICS:
        del made.output[1:]
        made.output.extend(STATISTICS[made.op_type])
    # The builder finds nodes by their names.
    made.name = made.name or "backnorm.%s" % made.output[0]
    return made


def _with_loss(model, y, dtype):
    """Add the sum of y*dy, whose gradient is taken."""
    helper, graph = onnx.helper, model.graph
    graph.node.extend(
        [
            helper.make_node("Mul", [y, INPUT % "dy"], ["backnorm.product"], name="backnorm.mul"),
            helper.make_node(
                "ReduceSum",
                ["backnorm.product"],
                ["backnorm.loss"],
                name="backnorm.sum",
                keepdims=0,
            ),
        ]
    )
    graph.input.append(helper.make_tensor_value_info(INPUT % "dy", dtype, None))
    graph.output.append(helper.make_tensor_value_info("backnorm.loss", dtype, []))
    if all(one.domain != CONTRIBUTED for one in model.opset_import):
        model.opset_import.append(helper.make_opsetid(CONTRIBUTED, 1))
    return model
