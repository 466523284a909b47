// One thread sleeps until another wakes it. Waking takes no lock, behind which a thread that was interrupted could stand.
#pragma once

#include <cerrno>

#if defined(__linux__)
#include <semaphore.h>
#else
#include <condition_variable>
#include <mutex>
#endif

namespace backnorm {

#if defined(__linux__)
class Signal {
  public:
    Signal() { sem_init(&semaphore_, 0, 0); }
    void wake() { sem_post(&semaphore_); }
    void sleep() {
        while (sem_wait(&semaphore_) != 0 && errno == EINTR) {}
    }

  private:
    sem_t semaphore_;
};
#else
class Signal {
  public:
    void wake() {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            ++count_;
        }
        changed_.notify_one();
    }
    void sleep() {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return count_ > 0; });
        --count_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    int count_ = 0;
};
#endif

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace backnorm
