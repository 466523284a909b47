"""What runs a model of one normalization: ONNX Runtime, or else the evaluator of onnx."""

import onnx

try:
    import onnxruntime
except ImportError:
    onnxruntime = None
else:
    # What it refuses is told with the record; its log would stand between the lines of the audit.
    onnxruntime.set_default_logger_severity(4)

__all__ = ["Engine", "engine_for", "session"]


class Engine:
    """Calls a model; ``name`` says by what."""

    def __init__(self, name, run):
        self.name, self._run = name, run

    def __call__(self, feeds):
        """Return the outputs for inputs by their names."""
        return self._run(feeds)


def engine_for(model, feeds):
    """Return the engine that runs a model, tried on some inputs, and what others said.

    Without one, what was raised last is raised.
    """
    said, last = [], None
    for make in (_by_runtime, _by_evaluator):
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
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _by_runtime(model):
    if onnxruntime is None:
        return None
    made = session(model)
    name = "ONNX Runtime %s" % onnxruntime.__version__
    return Engine(name, lambda feeds: made.run(None, feeds))


def _by_evaluator(model):
    from onnx.reference import ReferenceEvaluator

    made = ReferenceEvaluator(model)
    name = "the evaluator of onnx %s" % onnx.__version__
    return Engine(name, lambda feeds: made.run(None, feeds))


def _first_line(error):
    words = str(error).strip().splitlines() or [type(error).__name__]
    return words[0][:160]
