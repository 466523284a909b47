// Memory for large outputs: huge pages, used again when the array that had them dies.
//
// A fresh page costs more than normalizing what fits on it: the system zeroes it and enters it in a
// table, 4 KiB at a time by default. Idle buffers are bounded in sum.
#pragma once

#include <cstddef>
#include <cstdint>

namespace backnorm {

struct MemoryUsage {
    int64_t limit, idle, lent;  // bytes
    int64_t fresh, recycled;    // how often a buffer came from the system, and from the idle ones
};

// A buffer of at least `bytes`, which the caller gives back; null where the system has none.
struct Loan {
    void* data;
    size_t capacity;
};
Loan borrow(size_t bytes);
void give_back(const Loan& loan);

// Asks for huge pages where memory that somebody else allocated was not touched yet; it changes nothing but time.
void prefer_huge_pages(void* data, size_t bytes);

void empty_cache();
void set_cache_limit(int64_t bytes);
MemoryUsage memory_usage();

}  // namespace backnorm
