// Handlers of a batch of which XLA has parts on several devices, or of which not all positions count. Their sums are exact.
//
// In each direction one handler writes the exact sums of a part as words of limbs, which JAX adds over the parts, and one
// reads the total and writes the results of the part: so every part has the bits of a call on the whole batch.
#pragma once

#include <vector>

#include "xla/ffi/api/ffi.h"

namespace backnorm::jax {

struct PartHandler {
    const char* name;
    XLA_FFI_Handler* handler;
};

std::vector<PartHandler> part_handlers();

}  // namespace backnorm::jax
