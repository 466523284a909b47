// What makes a call usual: the arguments by their names, and the tests of their values. For numpy_calls.cpp alone.
#pragma once

#include <cmath>
#include <cstdint>

#include "call.hpp"
#include "results.hpp"

namespace backnorm {
namespace {

// Arrays of this many bytes come from recycled memory, which Python borrows: there the call's cost is lost in its work.
Py_ssize_t large = 0;

PyObject* share(PyObject* object) {
    Py_INCREF(object);
    return object;
}

// Python's constants are interned, so that equal ones are the same object.
struct Words {
    PyObject *automatic, *both, *write, *float64;
#define BACKNORM_WORD(name, code, invertible) PyObject* name;
    BACKNORM_ACTIVATIONS(BACKNORM_WORD)
#undef BACKNORM_WORD
} words;

bool intern_words() {
    words.automatic = PyUnicode_InternFromString("auto");
    words.both = PyUnicode_InternFromString("both");
    words.write = PyUnicode_InternFromString("write");
    words.float64 = PyUnicode_InternFromString("float64");
    bool all = words.automatic && words.both && words.write && words.float64;
#define BACKNORM_WORD(name, code, invertible) all = (words.name = PyUnicode_InternFromString(#name)) && all;
    BACKNORM_ACTIVATIONS(BACKNORM_WORD)
#undef BACKNORM_WORD
    return all;
}

bool is_anything(PyObject*) { return true; }
bool is_none(PyObject* object) { return object == Py_None; }
bool is_false(PyObject* object) { return object == Py_False; }
bool is_auto(PyObject* object) { return object == words.automatic; }
bool is_both(PyObject* object) { return object == words.both; }
bool is_write(PyObject* object) { return object == words.write; }
bool is_float64(PyObject* object) { return object == words.float64; }

#define BACKNORM_DECLARE(name, demand) PyObject* name;
#define BACKNORM_COUNT(name, ...) +1
#define BACKNORM_DEMAND(name, demand) &&demand(name)
struct ForwardArguments {
    BACKNORM_FORWARD_ARGUMENTS(BACKNORM_DECLARE)
    static constexpr Py_ssize_t count = BACKNORM_FORWARD_ARGUMENTS(BACKNORM_COUNT);
    bool usual() const { return true BACKNORM_FORWARD_ARGUMENTS(BACKNORM_DEMAND); }
};
struct BackwardArguments {
    BACKNORM_BACKWARD_ARGUMENTS(BACKNORM_DECLARE)
    static constexpr Py_ssize_t count = BACKNORM_BACKWARD_ARGUMENTS(BACKNORM_COUNT);
    bool usual() const { return true BACKNORM_BACKWARD_ARGUMENTS(BACKNORM_DEMAND); }
};
#define BACKNORM_DECLARE_SAVED(name, value, demand) PyObject* name;
#define BACKNORM_DEMAND_SAVED(name, value, demand) &&demand(name)
struct SavedValues {
    BACKNORM_SAVED(BACKNORM_DECLARE_SAVED)
    bool usual() const { return true BACKNORM_SAVED(BACKNORM_DEMAND_SAVED); }
};

// The arguments by their names.
template <class Arguments>
const Arguments* named(PyObject* const* given, Py_ssize_t count) {
    if (count == Arguments::count) return reinterpret_cast<const Arguments*>(given);
    PyErr_SetString(PyExc_TypeError, "a usual call takes all arguments");
    return nullptr;
}

PyArrayObject* array(PyObject* object) { return reinterpret_cast<PyArrayObject*>(object); }
const double* doubles(PyObject* object) { return static_cast<const double*>(PyArray_DATA(array(object))); }

bool is_float(PyObject* object) {
    if (!PyArray_CheckExact(object) || !PyArray_ISBEHAVED_RO(array(object))) return false;
    const int type = PyArray_TYPE(array(object));
    return type == NPY_FLOAT || type == NPY_DOUBLE;
}
bool is_contiguous_float(PyObject* object) { return is_float(object) && PyArray_IS_C_CONTIGUOUS(array(object)); }
bool is_input(PyObject* x) {
    return is_float(x) && PyArray_NDIM(array(x)) > 0 && PyArray_SIZE(array(x)) > 0 && PyArray_NBYTES(array(x)) < large;
}
// Of the same dtype and shape, and with its values at the same places. An axis of length 1 has no stride that counts.
bool is_like(PyObject* object, PyObject* x) {
    if (!is_float(object) || PyArray_TYPE(array(object)) != PyArray_TYPE(array(x)) ||
        !PyArray_SAMESHAPE(array(object), array(x)))
        return false;
    for (int axis = 0; axis < PyArray_NDIM(array(x)); ++axis)
        if (PyArray_DIM(array(x), axis) != 1 && PyArray_STRIDE(array(object), axis) != PyArray_STRIDE(array(x), axis)) return false;
    return true;
}
// Whether the array is contiguous once its channels are moved to the end: (N, C, H, W) in the order NHWC.
bool is_channels_last(PyArrayObject* x, int channel_axis) {
    npy_intp expected = PyArray_ITEMSIZE(x);
    const auto is_next = [&](int axis) {
        const bool next = PyArray_DIM(x, axis) == 1 || PyArray_STRIDE(x, axis) == expected;
        expected *= PyArray_DIM(x, axis);
        return next;
    };
    if (!is_next(channel_axis)) return false;
    for (int axis = PyArray_NDIM(x); axis-- > 0;)
        if (axis != channel_axis && !is_next(axis)) return false;
    return true;
}
// None, or a value per channel in the dtype of x or a wider one.
bool is_parameter(PyObject* object, PyObject* x, int64_t channels) {
    if (object == Py_None) return true;
    return is_contiguous_float(object) && PyArray_NDIM(array(object)) == 1 &&
           PyArray_DIM(array(object), 0) == channels &&
           (PyArray_TYPE(array(object)) == NPY_DOUBLE || PyArray_TYPE(array(x)) == NPY_FLOAT);
}
bool is_number(PyObject* object, bool zero) {
    if (!PyFloat_CheckExact(object)) return false;
    const double value = PyFloat_AS_DOUBLE(object);
    return (value > 0 || (zero && value == 0)) && std::isfinite(value);
}

// The activation of a name; false of any other object.
bool activation_named(PyObject* name, Activation& found) {
#define BACKNORM_FIND(each, code, invertible) \
    if (name == words.each) return found = Activation::each, true;
    BACKNORM_ACTIVATIONS(BACKNORM_FIND)
#undef BACKNORM_FIND
    return false;
}

}  // namespace
}  // namespace backnorm
