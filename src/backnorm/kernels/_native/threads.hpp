// How work is shared between threads. What a piece of work computes depends on the shape alone;
// threads only decide who computes it.
#pragma once

#include <cstdint>

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace backnorm {

void set_thread_count(int count);
int thread_count();  // what one call may use now: 1 in a child after fork

// A region costs some microseconds to open; a core normalizes this many values in about that time.
constexpr int64_t values_per_thread = 1 << 14;

inline int threads_for(int wanted, int64_t values, int64_t pieces) {
    const int64_t useful = values / values_per_thread < pieces ? values / values_per_thread : pieces;
    return useful < 1 ? 1 : (useful < wanted ? int(useful) : wanted);
}

// body(piece) for each piece; a thread gets neighbours, and the same ones in each call.
template <class Body>
inline void parallel_for(int64_t pieces, int threads, const Body& body) {
#if defined(_OPENMP)
    if (threads > 1) {
#pragma omp parallel num_threads(threads)
        {
            const int64_t of = omp_get_num_threads(), me = omp_get_thread_num();
            const int64_t end = pieces * (me + 1) / of;
            for (int64_t piece = pieces * me / of; piece < end; ++piece) body(piece);
        }
        return;
    }
#endif
    for (int64_t piece = 0; piece < pieces; ++piece) body(piece);
}

}  // namespace backnorm
