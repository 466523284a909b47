"""What runs a model of one normalization: ONNX Runtime, or else the evaluator of onnx."""

import onnx

try:
    import onnxruntime
except ImportError:
    onnxruntime = None
else:
    # What it refuses is told with the record; its log would stand between the lines of the audit.
    onnxruntime.set_default_logger_severity(4)

__all__ = ["OnnxEngine", "engine_for", "session"]


class OnnxEngine:
    """Calls a model; ``name`` says by what."""

    def __init__(self, name, run):
        self.name, self._run = name, run

    def __call__(self, feeds):
        """Return the outputs for inputs by their names."""
        return self._run(feeds)


def engine_for(model, feeds, half=False):
    """Return the engine that runs a model, tried on some inputs, and what others said.

    Where the values between the nodes of a chain have half precision the evaluator comes first: on
    a CPU ONNX Runtime computes float16 in float32, and leaves out casts that other devices have.
    Without an engine, what was raised last is raised.
    """
    said, last = [], None
    engines = (_by_runtime, _by_evaluator)
    for make in reversed(engines) if half else engines:
        try:
            engine = make(model)
            if engine is not None:
                engine(feeds)
                return engine, said
        except Exception as error:
            said.append("%s" % _first_line(error))
            last = error
    raise last


def session(model):
    """Return a session of ONNX Runtime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # A chain is to be run as it is written, and not as the operator that stands for it.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _by_runtime(model):
    if onnxruntime is None:
        return None
    made = session(model)
    name = "ONNX Runtime %s" % onnxruntime.__version__
    return OnnxEngine(name, lambda feeds: made.run(None, feeds))


def _by_evaluator(model):
    from onnx.reference import ReferenceEvaluator

    made = ReferenceEvaluator(model)
    name = "the evaluator of onnx %s" % onnx.__version__
    return OnnxEngine(name, lambda feeds: made.run(None, feeds))


def _first_line(error):
    words = str(error).strip().splitlines() or [type(error).__name__]
    return words[0][:160]
