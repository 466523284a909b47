#include "threads.hpp"

#include <atomic>

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace backnorm {
namespace {

std::atomic<int> chosen{0};       // 0: as many as OpenMP would use
std::atomic<bool> forked{false};  // OpenMP's threads do not survive fork: a child works alone

#if !defined(_WIN32)
const int watching = pthread_atfork(nullptr, nullptr, [] { forked = true; });
#endif

}  // namespace

void set_thread_count(int count) { chosen = count; }

int thread_count() {
#if defined(_OPENMP)
    if (forked) return 1;
    const int count = chosen;
    return count > 0 ? count : omp_get_max_threads();
#else
    return 1;
#endif
}

}  // namespace backnorm
