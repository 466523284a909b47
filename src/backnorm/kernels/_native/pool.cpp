#include "pool.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <thread>

#include "failure.hpp"
#include "processors.hpp"
#include "sleep.hpp"

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#include <time.h>
#endif

namespace backnorm {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int most_threads = 256;
constexpr int most_jobs = 4;  // at once, of several callers; others do their work alone
// More than a piece for each thread, so that whoever begins late, or is interrupted, leaves the rest to the others.
constexpr int64_t chunks_per_thread = 8;
// A call that takes this much longer than twice the processor time of its caller has lost time: a thread amid a chunk, or
// the caller itself, is without its processor, which others want. If such calls lose more than a quarter of what the calls
// before have gained by sharing their work, callers work alone for a while, twice as long after each such call. A quarter,
// since users feel one slow call in a hundred.
constexpr auto long_loss = std::chrono::microseconds(20);
constexpr int gain_for_loss = 4;
constexpr auto shortest_solitude = std::chrono::milliseconds(2), longest_solitude = std::chrono::milliseconds(320);
// How long a caller spins for the chunks that others have begun. Then it sleeps: they may have lost their processor.
constexpr auto longest_spin_of_caller = std::chrono::microseconds(100);

// Chunks [next, end) that nobody has claimed, in one word: whoever claims a chunk has claimed it of the job that is
// current, whichever job it was looking for.
class alignas(64) Range {
  public:
    void open(uint32_t next, uint32_t end) { ends_.store(pack(next, end), std::memory_order_release); }

    // Takes the first chunk, or the last one of another thread's range; -1 where there is none.
    int64_t claim(bool own) {
        uint64_t seen = ends_.load(std::memory_order_acquire);
        for (;;) {
            const uint32_t next = uint32_t(seen >> 32), end = uint32_t(seen);
            if (next >= end) return -1;
            const uint64_t rest = own ? pack(next + 1, end) : pack(next, end - 1);
            if (ends_.compare_exchange_weak(seen, rest, std::memory_order_acq_rel, std::memory_order_acquire))
                return own ? next : end - 1;
        }
    }

  private:
    static uint64_t pack(uint32_t next, uint32_t end) { return uint64_t(next) << 32 | end; }
    std::atomic<uint64_t> ends_{0};
};

// The work of one caller. Fields without `atomic` are written before the ranges are opened, and read by those who have
// claimed a chunk, for whom the caller waits.
struct Job {
    std::atomic<bool> taken{false};
    std::atomic<int> threads{0};  // those that take part, the caller as 0
    Work work{};
    int64_t chunks = 0;
    Failure failure;
    alignas(64) std::atomic<int64_t> done{0};
    std::atomic<bool> caller_sleeps{false};
    Signal finished;
    Range ranges[most_threads];

    void take_part(int me, int count) {
        for (int k = 0; k < count; ++k) {
            Range& range = ranges[(me + k) % count];
            for (int64_t chunk; (chunk = range.claim(k == 0)) >= 0;) {
                const int64_t all = chunks, pieces = work.pieces;
                failure.guard(work, pieces * chunk / all, pieces * (chunk + 1) / all);
                // From here on the job may be another caller's. Its caller can stand being woken for nothing.
                if (done.fetch_add(1) + 1 == all && caller_sleeps.exchange(false)) finished.wake();
            }
        }
    }
    void wait() {
        const auto begin = Clock::now();
        for (int spins = 1; done.load(std::memory_order_acquire) != chunks; ++spins) {
            pause();
            if (spins % 64 != 0 || Clock::now() - begin < longest_spin_of_caller) continue;
            caller_sleeps.store(true);
            if (done.load() != chunks || !caller_sleeps.exchange(false)) finished.sleep();
        }
    }
};

// The time that this thread has had a processor. A thread that it wakes may be put in its place.
Clock::duration processor_time() {
#if defined(CLOCK_THREAD_CPUTIME_ID)
    timespec now;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0)
        return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
#endif
    return Clock::now().time_since_epoch();
}

thread_local bool working = false;

void leave_signals_to_others() {
#if !defined(_WIN32)
    // A signal is for the thread in which Python handles it: it interrupts what that thread waits for.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
#endif
}

// Whether the processors are wanted by others, and callers had better work alone.
class Crowd {
  public:
    bool present() const { return Clock::now().time_since_epoch().count() < until_.load(std::memory_order_relaxed); }
    // `work` is the caller's processor time, by which the others have shortened the call, `rest` what the call took beside.
    void observe(Clock::duration work, Clock::duration rest) {
        if (rest <= work + long_loss || processors_are_ours()) {
            gained_.fetch_add(work.count(), std::memory_order_relaxed);
            return;
        }
        const auto least = Clock::duration(shortest_solitude).count(), most = Clock::duration(longest_solitude).count();
        const bool in_vain = gain_for_loss * rest.count() > gained_.exchange(0, std::memory_order_relaxed);
        const auto solitude = in_vain ? std::clamp(2 * solitude_.load(std::memory_order_relaxed), least, most) : 0;
        solitude_.store(solitude, std::memory_order_relaxed);
        until_.store(Clock::now().time_since_epoch().count() + solitude, std::memory_order_relaxed);
    }

  private:
    std::atomic<Clock::rep> until_{0}, solitude_{0}, gained_{0};
};

class Pool {
  public:
    void share(const Work& work, int threads) {
        Job* const job = crowd_.present() ? nullptr : free_job();
        if (!job) return work.run(work.body, 0, work.pieces);
        employ(threads - 1);
        job->work = work;
        job->chunks = std::min(work.pieces, chunks_per_thread * threads);
        job->done.store(0, std::memory_order_relaxed);
        for (int64_t k = 0; k < threads; ++k)
            job->ranges[k].open(uint32_t(job->chunks * k / threads), uint32_t(job->chunks * (k + 1) / threads));
        job->threads.store(threads, std::memory_order_release);
        const auto begin = Clock::now();
        const auto busy = processor_time();
        call(0, threads);
        job->take_part(0, threads);
        job->threads.store(0, std::memory_order_relaxed);
        const auto own = std::max(Clock::duration(0), processor_time() - busy);
        job->wait();
        crowd_.observe(own, Clock::now() - begin - own);
        const std::exception_ptr error = job->failure.take();
        job->taken.store(false, std::memory_order_release);
        if (error) std::rethrow_exception(error);
    }

  private:
    struct Worker {
        alignas(64) std::atomic<uint32_t> calls{0};
        std::atomic<bool> asleep{false};
        Signal signal;
    };

    Job* free_job() {
        for (Job& job : jobs_)
            if (!job.taken.load(std::memory_order_relaxed) && !job.taken.exchange(true, std::memory_order_acquire))
                return &job;
        return nullptr;
    }

    // Starts threads until there are `count`, or the system gives no more.
    void employ(int count) {
        if (employed_.load(std::memory_order_acquire) >= count) return;
        const std::unique_lock<std::mutex> lock(hiring_, std::try_to_lock);
        if (!lock) return;
        for (int index = employed_.load(); index < count && !refused_; ++index) {
            try {
                workers_[index] = new Worker;
                std::thread([this, index] { work(index + 1, *workers_[index]); }).detach();
                employed_.store(index + 1, std::memory_order_release);
            } catch (const std::exception&) {
                refused_ = true;
            }
        }
    }

    // Wakes the two threads below this one in a tree: no thread wakes many.
    void call(int me, int threads) {
        const int last = std::min({2 * me + 2, threads - 1, employed_.load(std::memory_order_acquire)});
        for (int other = 2 * me + 1; other <= last; ++other) {
            Worker& worker = *workers_[other - 1];
            worker.calls.fetch_add(1);
            if (worker.asleep.exchange(false)) worker.signal.wake();
        }
    }

    void work(int me, Worker& self) {
        leave_signals_to_others();
        working = true;
        for (uint32_t seen = self.calls.load() - 1;;) {
            wait(self, seen);
            seen = self.calls.load();
            for (Job& job : jobs_) {
                const int threads = job.threads.load(std::memory_order_acquire);
                if (threads <= me) continue;
                call(me, threads);
                job.take_part(me, threads);
            }
        }
    }

    // Returns when the worker has been called since `seen`.
    static void wait(Worker& self, uint32_t seen) {
        const auto begin = Clock::now();
        for (int spins = 1; self.calls.load(std::memory_order_acquire) == seen; ++spins) {
            pause();
            if (spins % 64 != 0 || Clock::now() - begin < idle_spin()) continue;
            self.asleep.store(true);
            if (self.calls.load() == seen || !self.asleep.exchange(false)) self.signal.sleep();
        }
    }

    Crowd crowd_;
    Job jobs_[most_jobs];
    Worker* workers_[most_threads] = {};
    std::atomic<int> employed_{0};
    std::mutex hiring_;
    bool refused_ = false;
};

// Never destroyed: its threads run until the process ends.
Pool& pool() {
    static Pool& the = *new Pool;
    return the;
}

class Working {
  public:
    Working() { working = true; }
    ~Working() { working = false; }
};

}  // namespace

void share_in_pool(const Work& work, int threads) {
    threads = int(std::min<int64_t>({threads, work.pieces, most_threads}));
    if (working || threads < 2) return work.run(work.body, 0, work.pieces);
    const Working now;
    pool().share(work, threads);
}

}  // namespace backnorm
