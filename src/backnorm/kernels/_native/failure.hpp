// The first exception of several threads.
#pragma once

#include <atomic>
#include <exception>
#include <utility>

#include "threads.hpp"

namespace backnorm {

class Failure {
  public:
    // Does some pieces; an exception is kept.
    void guard(const Work& work, int64_t begin, int64_t end) {
        try {
            work.run(work.body, begin, end);
        } catch (...) {
            if (!failed_.exchange(true)) first_ = std::current_exception();
        }
    }
    // What was kept, when all threads have ended; null if nothing was.
    std::exception_ptr take() {
        failed_ = false;
        return std::exchange(first_, nullptr);
    }

  private:
    std::atomic<bool> failed_{false};
    std::exception_ptr first_;
};

}  // namespace backnorm
