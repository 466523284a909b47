// The classes of results.py: their fields, and objects of them made and read without Python's help.
//
// Each list has the fields in Python's order. `use_results` compares them when backnorm is imported, so that a field
// that is added on one side only is an error.
#pragma once

#include <Python.h>

namespace backnorm::results {

// Of Saved: the name, what a usual forward call saves (a new reference; `a` are its arguments, `done` what it computed),
// and what the usual backward call demands of the value.
#define BACKNORM_SAVED(field)                                 \
    field(x, share(a.x), is_anything)                         \
    field(gamma, share(a.gamma), is_anything)                 \
    field(beta, share(a.beta), is_anything)                   \
    field(has_residual, share(Py_False), is_false)            \
    field(statistics, share(done.statistics), is_anything)    \
    field(channel_axis, PyLong_FromLong(done.axis), is_anything) \
    field(eps, share(a.eps), is_anything)                     \
    field(frozen, share(Py_False), is_false)                  \
    field(activation, share(a.activation), is_anything)       \
    field(negative_slope, share(a.negative_slope), is_anything) \
    field(sums, share(a.sums), is_float64)

// Of Forward and of Gradients.
#define BACKNORM_FORWARD(field) field(y) field(n) field(saved)
#define BACKNORM_GRADIENTS(field) field(dx) field(dgamma) field(dbeta) field(dresidual)

// The arguments of batch_norm and batch_norm_backward, and what a usual call demands of each.
#define BACKNORM_FORWARD_ARGUMENTS(argument)  \
    argument(x, is_anything)                  \
    argument(gamma, is_anything)              \
    argument(beta, is_anything)               \
    argument(channel_axis, is_anything)       \
    argument(eps, is_anything)                \
    argument(running_mean, is_none)           \
    argument(running_var, is_none)            \
    argument(activation, is_anything)         \
    argument(negative_slope, is_anything)     \
    argument(residual, is_none)               \
    argument(out, is_none)                    \
    argument(sums, is_float64)                \
    argument(kernel, is_auto)

#define BACKNORM_BACKWARD_ARGUMENTS(argument) \
    argument(dy, is_anything)                 \
    argument(fwd, is_anything)                \
    argument(through, is_both)                \
    argument(dx, is_write)                    \
    argument(dgamma, is_write)                \
    argument(dbeta, is_write)                 \
    argument(dresidual, is_write)             \
    argument(into, is_none)                   \
    argument(kernel, is_auto)

// {class or function: names}, for Python to compare.
PyObject* fields();

// Takes the classes Forward, Saved and Gradients, whose fields have been compared. False, with an exception, if their
// objects are not made of slots.
bool use(PyObject* forward, PyObject* saved, PyObject* gradients);

// New objects. They take over the references, some of which may be null after an error: then null is returned.
PyObject* make_saved(PyObject* const* values);
PyObject* make_forward(PyObject* const* values);
PyObject* make_gradients(PyObject* const* values);

// The values in an object of exactly these classes, borrowed; null of any other.
PyObject* const* read_saved(PyObject* saved);
bool read_forward(PyObject* forward, PyObject** values);

// Where a field is.
#define BACKNORM_PLACE(name, ...) name,
enum class InSaved { BACKNORM_SAVED(BACKNORM_PLACE) count };
enum class InForward { BACKNORM_FORWARD(BACKNORM_PLACE) count };
enum class InGradients { BACKNORM_GRADIENTS(BACKNORM_PLACE) count };
#undef BACKNORM_PLACE

}  // namespace backnorm::results
