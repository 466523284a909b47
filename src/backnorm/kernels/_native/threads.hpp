// How work is shared between threads. What a piece of work computes depends on the shape alone;
// threads only decide who computes it.
#pragma once

#include <cstdint>

namespace backnorm {

void set_thread_count(int count);
int thread_count();                  // what one call may use now: 1 in a child after fork
int threads_of_framework(int most);  // the same for a call of a framework that would use `most`

// A region costs some microseconds to open; a core normalizes this many values in about that time.
constexpr int64_t values_per_thread = 1 << 14;

inline int threads_for(int wanted, int64_t values, int64_t pieces) {
    const int64_t useful = values / values_per_thread < pieces ? values / values_per_thread : pieces;
    return useful < 1 ? 1 : (useful < wanted ? int(useful) : wanted);
}

// Pieces 0 to `pieces`, of which run(body, begin, end) does some neighbours.
struct Work {
    void (*run)(const void* body, int64_t begin, int64_t end);
    const void* body;
    int64_t pieces;
};

// Does all pieces, with up to `threads` threads. An exception of any of them comes through, when all have ended.
void share(const Work& work, int threads);

// body(piece) for each piece; a thread gets neighbours, and mostly the same ones in each call.
template <class Body>
inline void parallel_for(int64_t pieces, int threads, const Body& body) {
    const Work work{[](const void* of, int64_t begin, int64_t end) {
                        const Body& each = *static_cast<const Body*>(of);
                        for (int64_t piece = begin; piece < end; ++piece) each(piece);
                    },
                    &body, pieces};
    if (threads > 1 && pieces > 1) share(work, threads);
    else work.run(&body, 0, pieces);
}

// While one lives, this thread's work runs in the threads of a framework's OpenMP, if they are awake: a second pool
// would wait for the processors on which they spin.
class FrameworksThreads {
  public:
    FrameworksThreads();
    ~FrameworksThreads();
    FrameworksThreads(const FrameworksThreads&) = delete;
    FrameworksThreads& operator=(const FrameworksThreads&) = delete;
};

}  // namespace backnorm
