#include "openmp.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <ctime>

#include "failure.hpp"

#if !defined(_WIN32)
#include <dlfcn.h>
#include <pthread.h>
#endif

namespace backnorm {
namespace {

// Of GCC's library, whose functions LLVM's and Intel's have too.
struct Library {
    void (*parallel)(void (*)(void*), void*, unsigned, unsigned) = nullptr;
    int (*thread_number)() = nullptr;
    int (*team_size)() = nullptr;
    int (*most_threads)() = nullptr;
};

// What all libraries may see, as PyTorch's is; null if there is none yet.
const Library* library() {
    static std::atomic<const Library*> known{nullptr};
    const Library* found = known.load(std::memory_order_acquire);
#if !defined(_WIN32)
    if (found || !dlsym(RTLD_DEFAULT, "GOMP_parallel")) return found;
    Library* const now = new Library;
    const auto find = [](auto& function, const char* name) {
        function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(RTLD_DEFAULT, name));
        return function != nullptr;
    };
    if (find(now->parallel, "GOMP_parallel") && find(now->thread_number, "omp_get_thread_num") &&
        find(now->team_size, "omp_get_num_threads") && find(now->most_threads, "omp_get_max_threads")) {
        known.store(now, std::memory_order_release);
        return now;
    }
    delete now;
#endif
    return nullptr;
}

using Clock = std::chrono::steady_clock;

// Threads of OpenMP spin for some milliseconds after their work, for more work.
constexpr auto surely_spinning = std::chrono::microseconds(1000);

// One of OpenMP's threads that work for this thread, each of which has threads of its own.
struct Helper {
    bool known = false;
    Clock::time_point worked{};
    clockid_t processor_time{};
};
thread_local Helper helper;

// A thread runs whose processor time goes on from one system call to the next.
bool runs(clockid_t processor_time) {
    timespec before{}, after{};
    if (clock_gettime(processor_time, &before) != 0 || clock_gettime(processor_time, &after) != 0) return false;
    return before.tv_sec != after.tv_sec || before.tv_nsec != after.tv_nsec;
}

struct Region {
    const Library& openmp;
    const Work& work;
    Failure failure;
    clockid_t helper{};
    bool has_helper = false;

    static void enter(void* region) { static_cast<Region*>(region)->take_part(); }
    void take_part() {
        const int64_t of = openmp.team_size(), me = openmp.thread_number();
#if defined(__linux__)
        if (me == 1) has_helper = pthread_getcpuclockid(pthread_self(), &helper) == 0;
#endif
        failure.guard(work, work.pieces * me / of, work.pieces * (me + 1) / of);
    }
};

}  // namespace

void share_in_openmp(const Work& work, int threads) {
    Region region{*library(), work, {}};
    region.openmp.parallel(Region::enter, &region, unsigned(threads), 0);
    if (region.has_helper) helper = {true, Clock::now(), region.helper};
    if (const std::exception_ptr error = region.failure.take()) std::rethrow_exception(error);
}

bool openmp_is_awake() {
    if (!library()) return false;
    return !helper.known || Clock::now() - helper.worked < surely_spinning || runs(helper.processor_time);
}

int openmp_thread_count() {
    const Library* const openmp = library();
    return openmp ? std::max(1, openmp->most_threads()) : INT_MAX;
}

}  // namespace backnorm
