// The usual call of a framework's layer, and the passes of its node of autograd, without Python between them.
#pragma once

#include <nanobind/nanobind.h>

namespace backnorm {

void define_usual_tensors(nanobind::module_& m);

}  // namespace backnorm
