// The kernels as handlers that XLA calls on the CPU.
#pragma once

#include <nanobind/nanobind.h>

namespace backnorm {

// {name: capsule}, as jax.ffi.register_ffi_target takes them; empty without the headers of jaxlib.
nanobind::dict jax_handlers();

}  // namespace backnorm
