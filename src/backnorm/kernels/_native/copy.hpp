// A copy of memory with the engine's threads: what the benchmark holds the kernels to.
#pragma once

#include <cstddef>

namespace backnorm {

void copy(void* target, const void* source, size_t bytes, bool streaming, int threads);

}  // namespace backnorm
