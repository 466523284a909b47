#include "results.hpp"

#include <structmember.h>

namespace backnorm::results {
namespace {

// A class whose objects hold their fields in slots, and where each of them is.
template <int count>
struct Slots {
    PyTypeObject* type = nullptr;
    Py_ssize_t offsets[count] = {};

    bool find(PyObject* of, const char* const* names) {
        if (!PyType_Check(of)) return refuse();
        for (int i = 0; i < count; ++i) {
            PyObject* const slot = PyObject_GetAttrString(of, names[i]);
            if (!slot) return false;
            const bool fits = Py_TYPE(slot) == &PyMemberDescr_Type;
            if (fits) offsets[i] = reinterpret_cast<PyMemberDescrObject*>(slot)->d_member->offset;
            Py_DECREF(slot);
            if (!fits) return refuse();
        }
        Py_INCREF(of);
        type = reinterpret_cast<PyTypeObject*>(of);
        return true;
    }
    PyObject** at(PyObject* object, int i) const {
        return reinterpret_cast<PyObject**>(reinterpret_cast<char*>(object) + offsets[i]);
    }
    PyObject* make(PyObject* const* values) const {
        PyObject* const object = complete(values, count) ? type->tp_alloc(type, 0) : nullptr;
        if (!object) return release(values, count);
        for (int i = 0; i < count; ++i) *at(object, i) = values[i];
        return object;
    }

    static bool refuse() {
        PyErr_SetString(PyExc_TypeError, "a class with slots is needed");
        return false;
    }
    static bool complete(PyObject* const* values, int n) {
        for (int i = 0; i < n; ++i)
            if (!values[i]) return false;
        return true;
    }
    static PyObject* release(PyObject* const* values, int n) {
        for (int i = 0; i < n; ++i) Py_XDECREF(values[i]);
        return nullptr;
    }
};

#define BACKNORM_NAME(name, ...) #name,
const char* const saved_names[] = {BACKNORM_SAVED(BACKNORM_NAME)};
const char* const forward_names[] = {BACKNORM_FORWARD(BACKNORM_NAME)};
const char* const gradients_names[] = {BACKNORM_GRADIENTS(BACKNORM_NAME)};
const char* const forward_arguments[] = {BACKNORM_FORWARD_ARGUMENTS(BACKNORM_NAME)};
const char* const backward_arguments[] = {BACKNORM_BACKWARD_ARGUMENTS(BACKNORM_NAME)};
#undef BACKNORM_NAME

constexpr int in_saved = int(InSaved::count);

Slots<int(InForward::count)> forward_class;
Slots<int(InGradients::count)> gradients_class;
PyTypeObject* saved_class = nullptr;  // a named tuple

template <int count>
bool enter(PyObject* fields, const char* key, const char* const (&names)[count]) {
    PyObject* const tuple = PyTuple_New(count);
    if (!tuple) return false;
    for (int i = 0; i < count; ++i) PyTuple_SET_ITEM(tuple, i, PyUnicode_FromString(names[i]));
    const bool done = PyDict_SetItemString(fields, key, tuple) == 0;
    Py_DECREF(tuple);
    return done;
}

}  // namespace

PyObject* fields() {
    PyObject* const result = PyDict_New();
    if (result && enter(result, "Forward", forward_names) && enter(result, "Saved", saved_names) &&
        enter(result, "Gradients", gradients_names) && enter(result, "batch_norm", forward_arguments) &&
        enter(result, "batch_norm_backward", backward_arguments))
        return result;
    Py_XDECREF(result);
    return nullptr;
}

bool use(PyObject* forward, PyObject* saved, PyObject* gradients) {
    if (!PyType_Check(saved) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(saved), &PyTuple_Type))
        return decltype(forward_class)::refuse();
    if (!forward_class.find(forward, forward_names) || !gradients_class.find(gradients, gradients_names)) return false;
    Py_INCREF(saved);
    saved_class = reinterpret_cast<PyTypeObject*>(saved);
    return true;
}

PyObject* make_saved(PyObject* const* values) {
    using Any = decltype(forward_class);
    PyObject* const object = Any::complete(values, in_saved) ? saved_class->tp_alloc(saved_class, in_saved) : nullptr;
    if (!object) return Any::release(values, in_saved);
    for (int i = 0; i < in_saved; ++i) PyTuple_SET_ITEM(object, i, values[i]);
    return object;
}
PyObject* make_forward(PyObject* const* values) { return forward_class.make(values); }
PyObject* make_gradients(PyObject* const* values) { return gradients_class.make(values); }

PyObject* const* read_saved(PyObject* saved) {
    if (Py_TYPE(saved) != saved_class || Py_SIZE(saved) != in_saved) return nullptr;
    return &PyTuple_GET_ITEM(saved, 0);
}

bool read_forward(PyObject* forward, PyObject** values) {
    if (!forward_class.type || Py_TYPE(forward) != forward_class.type) return false;
    for (int i = 0; i < int(InForward::count); ++i) {
        values[i] = *forward_class.at(forward, i);
        if (!values[i]) return false;
    }
    return true;
}

}  // namespace backnorm::results
