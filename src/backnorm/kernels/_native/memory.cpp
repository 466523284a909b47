#include "memory.hpp"

#include <iterator>
#include <list>
#include <mutex>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <sys/mman.h>
#define BACKNORM_HAS_MMAP 1
#endif

namespace backnorm {
namespace {

constexpr size_t huge_page = size_t(2) << 20;
constexpr int64_t default_limit = int64_t(1) << 30;
// A buffer serves requests down to this part of it; less would waste what it holds.
constexpr double least_fill = 0.75;

struct Pool {
    std::mutex mutex;
    std::list<Loan> idle;  // the one used last is first
    MemoryUsage usage{default_limit, 0, 0, 0, 0};
};

// Never destroyed: arrays may die after static objects do.
Pool& pool() {
    static Pool& the = *new Pool;
    return the;
}

#if defined(BACKNORM_HAS_MMAP)
// A child must not find the lock held by a thread that it does not have.
const int watching = pthread_atfork([] { pool().mutex.lock(); }, [] { pool().mutex.unlock(); },
                                    [] { pool().mutex.unlock(); });

// Aligned to huge pages: more is mapped than asked for, and both ends are cut off.
// Where the system does not follow it, small pages serve as well.
void advise([[maybe_unused]] void* start, [[maybe_unused]] size_t bytes) {
#if defined(MADV_HUGEPAGE)
    madvise(start, bytes, MADV_HUGEPAGE);
#endif
}
void* map(size_t bytes) {
    const size_t mapped = bytes + huge_page;
    void* raw = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) return nullptr;
    char* start = static_cast<char*>(raw);
    const size_t head = (huge_page - reinterpret_cast<uintptr_t>(start) % huge_page) % huge_page;
    if (head) munmap(start, head);
    munmap(start + head + bytes, mapped - head - bytes);
    advise(start + head, bytes);
    return start + head;
}
void unmap(const Loan& loan) { munmap(loan.data, loan.capacity); }
#else
void advise(void*, size_t) {}
void* map(size_t) { return nullptr; }
void unmap(const Loan&) {}
#endif

// Moves what exceeds the limit, oldest first, to `surplus`.
void trim(Pool& p, std::list<Loan>& surplus) {
    while (p.usage.idle > p.usage.limit) {
        p.usage.idle -= int64_t(p.idle.back().capacity);
        surplus.splice(surplus.end(), p.idle, std::prev(p.idle.end()));
    }
}
void unmap_all(const std::list<Loan>& loans) {
    for (const Loan& loan : loans) unmap(loan);
}

}  // namespace

Loan borrow(size_t bytes) {
    const size_t capacity = (bytes + huge_page - 1) / huge_page * huge_page;
    Pool& p = pool();
    {
        const std::lock_guard<std::mutex> lock(p.mutex);
        if (p.usage.limit == 0) return {nullptr, 0};
        auto best = p.idle.end();
        for (auto it = p.idle.begin(); it != p.idle.end(); ++it) {
            const bool fits = it->capacity >= capacity && double(capacity) >= least_fill * double(it->capacity);
            if (fits && (best == p.idle.end() || it->capacity < best->capacity)) best = it;
        }
        if (best != p.idle.end()) {
            const Loan loan = *best;
            p.idle.erase(best);
            p.usage.idle -= int64_t(loan.capacity);
            p.usage.lent += int64_t(loan.capacity);
            ++p.usage.recycled;
            return loan;
        }
    }
    void* data = map(capacity);
    if (!data) return {nullptr, 0};
    const std::lock_guard<std::mutex> lock(p.mutex);
    p.usage.lent += int64_t(capacity);
    ++p.usage.fresh;
    return {data, capacity};
}

void give_back(const Loan& loan) {
    Pool& p = pool();
    std::list<Loan> surplus;
    {
        const std::lock_guard<std::mutex> lock(p.mutex);
        p.idle.push_front(loan);
        p.usage.lent -= int64_t(loan.capacity);
        p.usage.idle += int64_t(loan.capacity);
        trim(p, surplus);
    }
    unmap_all(surplus);
}

void prefer_huge_pages(void* data, size_t bytes) {
    const size_t head = (huge_page - reinterpret_cast<uintptr_t>(data) % huge_page) % huge_page;
    if (bytes < head + huge_page) return;
    advise(static_cast<char*>(data) + head, (bytes - head) / huge_page * huge_page);
}

void empty_cache() {
    Pool& p = pool();
    std::list<Loan> surplus;
    {
        const std::lock_guard<std::mutex> lock(p.mutex);
        p.usage.idle = 0;
        surplus.swap(p.idle);
    }
    unmap_all(surplus);
}

void set_cache_limit(int64_t bytes) {
    Pool& p = pool();
    std::list<Loan> surplus;
    {
        const std::lock_guard<std::mutex> lock(p.mutex);
        p.usage.limit = bytes;
        trim(p, surplus);
    }
    unmap_all(surplus);
}

MemoryUsage memory_usage() {
    Pool& p = pool();
    const std::lock_guard<std::mutex> lock(p.mutex);
    return p.usage;
}

}  // namespace backnorm
