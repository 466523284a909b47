// The usual calls of batch_norm and batch_norm_backward, from the arguments to the result, without Python between.
#pragma once

#include <Python.h>

namespace backnorm {

// Adds their functions to the Python module. False, with an exception, if NumPy cannot be used.
bool define_numpy_calls(PyObject* module);

}  // namespace backnorm
