#include "threads.hpp"

#include <algorithm>
#include <atomic>

#include "openmp.hpp"
#include "pool.hpp"
#include "processors.hpp"

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace backnorm {
namespace {

std::atomic<int> chosen{0};       // 0: as many as the environment and the processors allow
std::atomic<bool> forked{false};  // threads do not survive fork: a child works alone

#if !defined(_WIN32)
const int watching = pthread_atfork(nullptr, nullptr, [] { forked = true; });
#endif

// Whose threads do this thread's work. Of a framework's call it is found out when there is work to share, once a call:
// looking takes a microsecond, which short calls are spared.
enum class Whose { ours, undecided, openmps };
thread_local Whose whose = Whose::ours;

}  // namespace

void set_thread_count(int count) { chosen = count; }

int thread_count() {
    if (forked) return 1;
    const int count = chosen;
    if (count > 0) return count;
    // torch.set_num_threads and omp_set_num_threads are limits for these threads too.
    return std::min(default_thread_count(), openmp_thread_count());
}

int threads_of_framework(int most) {
    if (forked) return 1;
    const int count = chosen;
    return count > 0 ? std::min(most, count) : most;
}

void share(const Work& work, int threads) {
    if (whose == Whose::undecided) whose = openmp_is_awake() ? Whose::openmps : Whose::ours;
    if (whose == Whose::openmps) share_in_openmp(work, threads);
    else share_in_pool(work, threads);
}

FrameworksThreads::FrameworksThreads() { whose = Whose::undecided; }
FrameworksThreads::~FrameworksThreads() { whose = Whose::ours; }

}  // namespace backnorm
