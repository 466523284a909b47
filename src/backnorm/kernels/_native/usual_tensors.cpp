#include "usual_tensors.hpp"

#include "call.hpp"
#include "tensor_calls.hpp"

namespace nb = nanobind;

namespace backnorm {
namespace {

// What Python gives once, when the framework's adapter is imported. It is never freed: there may be calls until the end.
#define BACKNORM_GIVEN(each)                                                                                      \
    each(tensor) each(parameter) each(special) each(quiet) each(levels) each(apply)   \
    each(options) each(saved) each(slope) each(empty_like) each(allocate) each(threads) each(grad_enabled) each(function_modes)
#define BACKNORM_NAMED(each)                                                                                      \
    each(_parameters) each(_buffers) each(weight) each(bias) each(running_mean) each(running_var)                 \
    each(num_batches_tracked) each(training) each(momentum) each(eps) each(track_running_stats) each(through)     \
    each(sums) each(both) each(float64) each(identity) each(_check_input_dim) each(_current_level) \
    each(to_save) each(forward_call) each(add_)
#define BACKNORM_DECLARE(name) PyObject* name;
struct { BACKNORM_GIVEN(BACKNORM_DECLARE) } ask;
struct { BACKNORM_NAMED(BACKNORM_DECLARE) } names;
#undef BACKNORM_DECLARE

// A new reference, or the Python error that stands in its place.
nb::object checked(PyObject* made) {
    if (!made) throw nb::python_error();
    return nb::steal(made);
}
nb::object call(PyObject* function) { return checked(PyObject_CallNoArgs(function)); }
nb::object call(PyObject* function, nb::handle argument) { return checked(PyObject_CallOneArg(function, argument.ptr())); }

bool is_true(PyObject* object) {
    if (object == Py_False || object == Py_None) return false;
    const int truth = PyObject_IsTrue(object);
    if (truth < 0) throw nb::python_error();
    return truth;
}
double number(PyObject* object) {
    const double value = PyFloat_AsDouble(object);
    if (value == -1.0 && PyErr_Occurred()) throw nb::python_error();
    return value;
}

// Whether PyTorch only runs the call, and runs it in no mode.
bool only_runs() {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(ask.quiet); ++i)
        if (is_true(call(PyTuple_GET_ITEM(ask.quiet, i)).ptr())) return false;
    PyObject* const level = PyDict_GetItemWithError(ask.levels, names._current_level);
    return level && PyLong_AsLong(level) < 0;
}

bool is_exact(nb::handle tensor) {
    const auto* const type = reinterpret_cast<PyObject*>(Py_TYPE(tensor.ptr()));
    return type == ask.tensor || type == ask.parameter;
}
bool is_exact_or_none(nb::handle tensor) { return tensor.is_none() || is_exact(tensor); }

// Whether a tensor of an exact type is memory of this process and nothing else. memory.py asks for the tensor's dispatch
// keys, which takes three times as long. Wrappers and tensors of zeros have no memory, and all else that is not dense and
// on the CPU is no tensor of DLPack. Lazy copies are found first, since DLPack would have their memory copied.
bool is_plain(nb::handle tensor) {
    try {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(ask.special); ++i)
            if (is_true(call(PyTuple_GET_ITEM(ask.special, i), tensor).ptr())) return false;
        return has_memory(tensor);
    } catch (const nb::python_error&) {  // no storage at all
        return false;
    }
}

// The arguments of a call that are not tensors, as Python has them.
struct Options {
    PyObject *training, *momentum, *eps, *activation, *slope, *through, *sums;

    static const Options* of(nb::handle tuple) {
        constexpr Py_ssize_t fields = sizeof(Options) / sizeof(PyObject*);
        if (!PyTuple_Check(tuple.ptr()) || PyTuple_GET_SIZE(tuple.ptr()) != fields) return nullptr;
        return reinterpret_cast<const Options*>(&PyTuple_GET_ITEM(tuple.ptr(), 0));
    }
    bool is_usual() const { return activation == names.identity && through == names.both && sums == names.float64; }
};

// A named tuple of a class whose constructor would take longer.
template <class... Fields>
nb::object record(PyObject* type, Fields... fields) {
    const nb::object all = checked(PyTuple_Pack(sizeof...(fields), fields...));
    const nb::object arguments = checked(PyTuple_Pack(1, all.ptr()));
    return checked(PyTuple_Type.tp_new(reinterpret_cast<PyTypeObject*>(type), arguments.ptr(), nullptr));
}

int framework_threads() { return int(PyLong_AsLong(call(ask.threads).ptr())); }

// Memory for y of x, or for dx of x and dy.
nb::object output_like(nb::handle x, nb::handle dy) {
    if (result_is_like(x, dy)) return call(ask.empty_like, x);
    return checked(PyObject_CallFunctionObjArgs(ask.allocate, x.ptr(), dy.ptr(), nullptr));
}
nb::object gradient_like(PyObject* wanted, nb::handle parameter) {
    return wanted == Py_True && !parameter.is_none() ? call(ask.empty_like, parameter) : nb::none();
}

// What a layer is called with; borrowed from it.
struct Layer {
    PyObject *weight, *bias, *running_mean, *running_var, *batches, *training, *momentum, *eps;

    // False of a layer with other laws, or whose tensors do not lie where the layer has put them.
    bool read(nb::handle layer, PyObject* own) {
        const auto has = [&](PyObject* name, PyObject* usual) {
            const nb::object value = checked(PyObject_GetAttr(layer.ptr(), name));
            return value.ptr() == usual;
        };
        PyObject* const parameters = PyDict_GetItemWithError(own, names._parameters);
        PyObject* const buffers = PyDict_GetItemWithError(own, names._buffers);
        if (!parameters || !PyDict_Check(parameters) || !buffers || !PyDict_Check(buffers)) return false;
        weight = PyDict_GetItemWithError(parameters, names.weight);
        bias = PyDict_GetItemWithError(parameters, names.bias);
        running_mean = PyDict_GetItemWithError(buffers, names.running_mean);
        running_var = PyDict_GetItemWithError(buffers, names.running_var);
        batches = PyDict_GetItemWithError(buffers, names.num_batches_tracked);
        training = PyDict_GetItemWithError(own, names.training);
        momentum = PyDict_GetItemWithError(own, names.momentum);
        eps = PyDict_GetItemWithError(own, names.eps);
        if (!weight || !bias || !running_mean || !running_var || !batches || !training || !momentum || !eps) return false;
        for (PyObject* each : {weight, bias, running_mean, running_var})
            if (!is_exact_or_none(each)) return false;
        return PyBool_Check(training) && PyFloat_CheckExact(eps) &&
               (momentum == Py_None || PyFloat_CheckExact(momentum)) && has(names.through, names.both) &&
               has(names.sums, names.float64);
    }
};

// Counts a batch; momentum in a running average of all batches.
void count_batch(nb::handle batches) {
    if (is_exact(batches) && increment(batches)) return;
    checked(PyObject_CallMethodOneArg(batches.ptr(), names.add_, nb::int_(1).ptr()));
}

nb::object forward(nb::handle ctx, nb::handle x, nb::handle weight, nb::handle bias, nb::handle running_mean,
                   nb::handle running_var, nb::handle options_) {
    const Options& options = *Options::of(options_);
    nb::object y = output_like(x, nb::none());
    const nb::object statistics =
        forward_tensors(0, x, y, nb::none(), weight, bias, running_mean, running_var, is_true(options.training),
                        number(options.momentum), number(options.eps), int(Activation::identity), number(options.slope),
                        framework_threads(), false);
    if (statistics.is_none() || ctx.is_none()) return statistics.is_none() ? statistics : y;
    const nb::object kept = checked(PyTuple_Pack(2, x.ptr(), weight.ptr()));
    const nb::object saved = record(ask.saved, statistics.ptr(), options_.ptr(), bias.ptr(), bias.ptr(), Py_False);
    if (PyObject_SetAttr(ctx.ptr(), names.to_save, kept.ptr()) < 0 ||
        PyObject_SetAttr(ctx.ptr(), names.forward_call, saved.ptr()) < 0)
        throw nb::python_error();
    return y;
}

// y of a layer; None where the call is not usual, before anything was written.
nb::object usual_layer(nb::handle layer, nb::handle x) {
    if (!is_exact(x) || !only_runs() || !is_plain(x)) return nb::none();
    const nb::object own = checked(PyObject_GenericGetDict(layer.ptr(), nullptr));
    Layer l;
    if (!l.read(layer, own.ptr())) return nb::none();
    bool training = l.training == Py_True;
    const bool tracks = training && is_true(checked(PyObject_GetAttr(layer.ptr(), names.track_running_stats)).ptr());
    if (training && !tracks) l.running_mean = l.running_var = Py_None;
    const bool counts = tracks && l.batches != Py_None;
    if (counts && l.momentum == Py_None) return nb::none();
    training = training || (l.running_mean == Py_None && l.running_var == Py_None);
    const double eps = PyFloat_AS_DOUBLE(l.eps);
    if (!(eps > 0.0 || (eps == 0.0 && !training))) return nb::none();
    if (!accepts(x, l.weight, l.bias, l.running_mean, l.running_var, training)) return nb::none();
    checked(PyObject_CallMethodOneArg(layer.ptr(), names._check_input_dim, x.ptr()));
    if (counts) count_batch(l.batches);
    const nb::object momentum = l.momentum == Py_None ? nb::float_(0.0) : nb::borrow(l.momentum);
    const nb::object options = record(ask.options, training ? Py_True : Py_False, momentum.ptr(), l.eps, names.identity,
                                      ask.slope, names.both, names.float64);
    PyObject* const given[] = {x.ptr(), l.weight, l.bias, l.running_mean, l.running_var, Py_None, options.ptr()};
    return checked(PyObject_Vectorcall(ask.apply, given, sizeof given / sizeof *given, nullptr));
}

// The forward pass of a node: y, and in `ctx` what its gradient needs. None where the call is not usual.
nb::object node_forward(nb::handle ctx, nb::handle x, nb::handle weight, nb::handle bias, nb::handle running_mean,
                        nb::handle running_var, nb::handle residual, nb::handle options) {
    const Options* const given = Options::of(options);
    if (!ask.tensor || !given || !given->is_usual() || !residual.is_none() || is_true(call(ask.function_modes).ptr())) return nb::none();
    return forward(ctx, x, weight, bias, running_mean, running_var, options);
}

// The gradients of a node's tensors. None where the call is not usual.
nb::object node_backward(nb::handle dy, nb::tuple saved, nb::tuple call_, nb::tuple wanted) {
    if (!ask.tensor || is_true(call(ask.grad_enabled).ptr()) || saved.size() != 2 || !only_runs()) return nb::none();
    const nb::handle x = saved[0], weight = saved[1], statistics = call_[0], bias = call_[2];
    const Options* const options = Options::of(call_[1]);
    if (!options || !options->is_usual() || !is_exact(dy) || !is_plain(dy) || !is_plain(x)) return nb::none();
    constexpr Py_ssize_t residual = 5;
    const auto asked = [&](Py_ssize_t i) { return PyTuple_GET_ITEM(wanted.ptr(), i); };
    if (asked(residual) != Py_False) return nb::none();
    const nb::object dx = asked(0) == Py_True ? output_like(x, dy) : nb::none();
    const nb::object dweight = gradient_like(asked(1), weight), dbias = gradient_like(asked(2), bias);
    constexpr int done = 1;
    const int outcome = backward_tensors(0, dy, x, nb::none(), dx, nb::none(), weight, bias, dweight, dbias,
                                         nb::borrow<nb::bytes>(statistics), is_true(options->training), true, true, false,
                                         false, int(Activation::identity), 1.0, framework_threads(), false);
    if (outcome != done) return nb::none();
    return checked(PyTuple_Pack(7, dx.ptr(), dweight.ptr(), dbias.ptr(), Py_None, Py_None, Py_None, Py_None));
}

void use_framework(nb::dict given) {
#define BACKNORM_TAKE(name) ask.name = nb::object(given[#name]).release().ptr();
    BACKNORM_GIVEN(BACKNORM_TAKE)
#undef BACKNORM_TAKE
#define BACKNORM_INTERN(name) names.name = checked(PyUnicode_InternFromString(#name)).release().ptr();
    BACKNORM_NAMED(BACKNORM_INTERN)
#undef BACKNORM_INTERN
}

}  // namespace

void define_usual_tensors(nb::module_& m) {
    const auto none = nb::arg().none();
    m.def("use_framework", &use_framework);
    m.def("usual_layer", &usual_layer, none, none);
    m.def("node_forward", &node_forward, none, none, none, none, none, none, none, none);
    m.def("node_backward", &node_backward, none, none, none, none);
}

}  // namespace backnorm
