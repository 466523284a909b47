// The functions of the Python module that take a framework's tensors.
#pragma once

#include <nanobind/nanobind.h>

namespace backnorm {

void define_tensor_calls(nanobind::module_& m);

}  // namespace backnorm
