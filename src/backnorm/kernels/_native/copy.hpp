// Memory moved with the engine's threads, and nothing computed: what the benchmark holds the kernels to.
#pragma once

#include <cstddef>

namespace backnorm {

void copy(void* target, const void* source, size_t bytes, bool streaming, int threads);

// The loads and stores that a pass cannot do without. A pass over x, or over x and z, that needs the sums of a piece before
// it writes the piece reads it twice.
struct LeastMove {
    void* target;
    const void* x;
    const void* z;     // null if a pass reads x alone
    size_t bytes;      // of each array
    size_t piece;      // bytes whose sums are needed at once: a channel's, or all
    int read_first;    // how many of x and z the sums need
    bool streaming;
};

void least_move(const LeastMove& move, int threads);

}  // namespace backnorm
