#include "numpy_calls.hpp"

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <numpy/arrayobject.h>

#include <cstdint>
#include <exception>
#include <new>
#include <vector>

#include "gil.hpp"
#include "levels.hpp"
#include "results.hpp"
#include "threads.hpp"
#include "usual.hpp"  // after NumPy

// A call is usual if its arrays are float32 or float64, contiguous or channels last, and all else is as BACKNORM_FORWARD_ARGUMENTS and
// BACKNORM_BACKWARD_ARGUMENTS demand. Any other call returns None before anything was written: then Python checks the
// arguments, and lays out what has other strides. What is checked here is what Python would have let pass.

namespace backnorm {
namespace {

// Shorter calls keep Python's lock: they end sooner than another thread would wake up.
constexpr int64_t values_with_gil = 1 << 12;

// An array as outer x channel x inner; false if `channel_axis` is not one of its axes, or if the array is neither contiguous
// nor channels last.
struct Layout {
    Shape shape{1, 1, 1};
    int axis = 0;

    bool read(PyArrayObject* x, PyObject* channel_axis) {
        if (!PyLong_CheckExact(channel_axis)) return false;
        int overflow = 0;
        const long given = PyLong_AsLongAndOverflow(channel_axis, &overflow);
        const int axes = PyArray_NDIM(x);
        if (overflow || given < -axes || given >= axes) return false;
        axis = int(given < 0 ? given + axes : given);
        if (!PyArray_IS_C_CONTIGUOUS(x)) {
            shape.channels = PyArray_DIM(x, axis);
            shape.outer = PyArray_SIZE(x) / shape.channels;
            return is_channels_last(x, axis);
        }
        for (int k = 0; k < axes; ++k) (k < axis ? shape.outer : k == axis ? shape.channels : shape.inner) *= PyArray_DIM(x, k);
        return true;
    }
    Operand operand(PyObject* object) const {
        return {PyArray_DATA(array(object)), shape.channels * shape.inner, shape.inner};
    }
    int threads() const { return shape.size() < 2 * values_per_thread ? 1 : thread_count(); }
};

// Some float64 numbers; few of them need no memory.
class Numbers {
  public:
    double* of(int64_t count) {
        if (count <= int64_t(sizeof few_ / sizeof *few_)) return few_;
        many_.resize(size_t(count));
        return many_.data();
    }
    // A parameter as float64, null for None.
    const double* read(PyObject* parameter, int64_t count) {
        if (parameter == Py_None) return nullptr;
        if (PyArray_TYPE(array(parameter)) == NPY_DOUBLE) return doubles(parameter);
        const auto* from = static_cast<const float*>(PyArray_DATA(array(parameter)));
        double* const to = of(count);
        for (int64_t i = 0; i < count; ++i) to[i] = from[i];
        return to;
    }

  private:
    double few_[128];
    std::vector<double> many_;
};

// Runs body(), without the lock if it takes long; exceptions become Python's.
template <class Body>
bool computed(int64_t values, const Body& body) {
    try {
        if (values <= values_with_gil) body();
        else without_gil(body);
        return true;
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return false;
}

Statistics rows_of(double* p, int64_t c) { return {p, p + c, p + 2 * c, p + 3 * c}; }

PyObject* like(PyObject* x) { return PyArray_NewLikeArray(array(x), NPY_KEEPORDER, nullptr, 0); }

// What a forward call computed, with the names that BACKNORM_SAVED uses.
struct Done {
    PyObject *y, *statistics;
    int axis;
};

PyObject* result_of(const ForwardArguments& a, const Done& done, int64_t n) {
#define BACKNORM_VALUE(name, value, demand) value,
    PyObject* const saved[] = {BACKNORM_SAVED(BACKNORM_VALUE)};
#undef BACKNORM_VALUE
    PyObject* const fields[] = {done.y, PyLong_FromLongLong(n), results::make_saved(saved)};
    return results::make_forward(fields);
}

PyObject* usual_forward(PyObject*, PyObject* const* given, Py_ssize_t count) {
    const auto* const a = named<ForwardArguments>(given, count);
    if (!a) return nullptr;
    Layout layout;
    Activation activation;
    if (!a->usual() || !is_input(a->x) || !layout.read(array(a->x), a->channel_axis)) Py_RETURN_NONE;
    const int64_t channels = layout.shape.channels;
    if (!is_parameter(a->gamma, a->x, channels) || !is_parameter(a->beta, a->x, channels)) Py_RETURN_NONE;
    if (!activation_named(a->activation, activation) || !is_number(a->eps, true) || !is_number(a->negative_slope, false))
        Py_RETURN_NONE;

    npy_intp extent[] = {4, npy_intp(channels)};
    const Done done{like(a->x), PyArray_SimpleNew(2, extent, NPY_DOUBLE), layout.axis};
    const bool ready = done.y && done.statistics && computed(layout.shape.size(), [&] {
        Numbers gamma, beta;
        auto* const rows = const_cast<double*>(doubles(done.statistics));
        levels()[0]->forward({layout.shape, PyArray_TYPE(array(a->x)) == NPY_FLOAT ? Dtype::float32 : Dtype::float64,
                              layout.operand(a->x), layout.operand(done.y), {}, gamma.read(a->gamma, channels),
                              beta.read(a->beta, channels), rows_of(rows, channels), false,
                              PyFloat_AS_DOUBLE(a->eps), activation, PyFloat_AS_DOUBLE(a->negative_slope), layout.threads(), false});
    });
    PyObject* result = nullptr;
    if (ready) {
        PyArray_CLEARFLAGS(array(done.statistics), NPY_ARRAY_WRITEABLE);
        result = result_of(*a, done, layout.shape.per_channel());
    } else {
        Py_XDECREF(done.y);
    }
    Py_XDECREF(done.statistics);
    return result;
}

// The gradient of a parameter, in its dtype; None without the parameter.
PyObject* gradient_like(PyObject* parameter, const double* sums, int64_t channels) {
    if (parameter == Py_None) return share(Py_None);
    PyObject* const result = like(parameter);
    if (!result) return nullptr;
    void* const data = PyArray_DATA(array(result));
    if (PyArray_TYPE(array(result)) == NPY_FLOAT)
        for (int64_t c = 0; c < channels; ++c) static_cast<float*>(data)[c] = float(sums[c]);
    else
        for (int64_t c = 0; c < channels; ++c) static_cast<double*>(data)[c] = sums[c];
    return result;
}

bool are_statistics(PyObject* object, int64_t channels) {
    return is_contiguous_float(object) && PyArray_TYPE(array(object)) == NPY_DOUBLE && PyArray_NDIM(array(object)) == 2 &&
           PyArray_DIM(array(object), 0) == 4 && PyArray_DIM(array(object), 1) == channels;
}

PyObject* usual_backward(PyObject*, PyObject* const* given, Py_ssize_t count) {
    const auto* const a = named<BackwardArguments>(given, count);
    if (!a) return nullptr;
    PyObject* fwd[int(results::InForward::count)];
    if (!a->usual() || !results::read_forward(a->fwd, fwd)) Py_RETURN_NONE;
    PyObject* const y = fwd[int(results::InForward::y)];
    const auto* const saved = reinterpret_cast<const SavedValues*>(results::read_saved(fwd[int(results::InForward::saved)]));
    Layout layout;
    Activation activation;
    if (!saved || !saved->usual() || !is_input(saved->x) || !is_like(y, saved->x) || !is_like(a->dy, saved->x) ||
        !layout.read(array(saved->x), saved->channel_axis))
        Py_RETURN_NONE;
    const int64_t channels = layout.shape.channels;
    if (!is_parameter(saved->gamma, saved->x, channels) || !is_parameter(saved->beta, saved->x, channels) ||
        !are_statistics(saved->statistics, channels) || !activation_named(saved->activation, activation) ||
        !is_number(saved->negative_slope, false))
        Py_RETURN_NONE;

    PyObject* const dx = like(saved->x);
    if (!dx) return nullptr;
    Numbers sums;
    double* dgamma = nullptr;
    const bool ready = computed(layout.shape.size(), [&] {
        Numbers gamma;
        dgamma = sums.of(2 * channels);
        levels()[0]->backward({layout.shape, PyArray_TYPE(array(dx)) == NPY_FLOAT ? Dtype::float32 : Dtype::float64,
                               layout.operand(a->dy), layout.operand(saved->x),
                               activation == Activation::identity ? Operand{} : layout.operand(y), layout.operand(dx), {},
                               dgamma, dgamma + channels, gamma.read(saved->gamma, channels), nullptr,
                               rows_of(const_cast<double*>(doubles(saved->statistics)), channels), false, false, true, true,
                               false, false, activation, PyFloat_AS_DOUBLE(saved->negative_slope), 1.0, layout.threads(), false});
    });
    if (!ready) {
        Py_DECREF(dx);
        return nullptr;
    }
    PyObject* const fields[] = {dx, gradient_like(saved->gamma, dgamma, channels),
                                gradient_like(saved->beta, dgamma + channels, channels), share(Py_None)};
    return results::make_gradients(fields);
}

PyObject* usual_fields(PyObject*, PyObject*) { return results::fields(); }

PyObject* use_results(PyObject*, PyObject* arguments) {
    PyObject *forward, *saved, *gradients;
    if (!PyArg_ParseTuple(arguments, "OOOn", &forward, &saved, &gradients, &large)) return nullptr;
    if (!results::use(forward, saved, gradients)) return nullptr;
    Py_RETURN_NONE;
}

template <class Function>
PyCFunction method(Function* function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef methods[] = {
    {"usual_forward", method(usual_forward), METH_FASTCALL, nullptr},
    {"usual_backward", method(usual_backward), METH_FASTCALL, nullptr},
    {"usual_fields", usual_fields, METH_NOARGS, nullptr},
    {"use_results", use_results, METH_VARARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

bool define_numpy_calls(PyObject* module) {
    return PyArray_ImportNumPyAPI() == 0 && intern_words() && PyModule_AddFunctions(module, methods) == 0;
}

}  // namespace backnorm
