#include "copy.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "threads.hpp"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace backnorm {
namespace {

void copy_streaming(char* target, const char* source, size_t bytes) {
#if defined(__SSE2__)
    size_t i = (64 - reinterpret_cast<uintptr_t>(target) % 64) % 64;
    if (i > bytes) i = bytes;
    std::memcpy(target, source, i);
    for (; i + 64 <= bytes; i += 64) {
        __m128i line[4];
        std::memcpy(line, source + i, 64);
        for (int k = 0; k < 4; ++k)
            _mm_stream_si128(reinterpret_cast<__m128i*>(target + i) + k, line[k]);
    }
    std::memcpy(target + i, source + i, bytes - i);
    _mm_sfence();
#else
    std::memcpy(target, source, bytes);
#endif
}

void streamed(uint64_t* y, const uint64_t* x, const uint64_t* z, size_t count) {
    size_t i = 0;
#if defined(__SSE2__)
    if (count && reinterpret_cast<uintptr_t>(y) % 16) {
        y[0] = z ? x[0] ^ z[0] : x[0];
        i = 1;
    }
    for (; i + 2 <= count; i += 2) {
        __m128i value = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i));
        if (z) value = _mm_xor_si128(value, _mm_loadu_si128(reinterpret_cast<const __m128i*>(z + i)));
        _mm_stream_si128(reinterpret_cast<__m128i*>(y + i), value);
    }
    _mm_sfence();
#endif
    for (; i < count; ++i) y[i] = z ? x[i] ^ z[i] : x[i];
}

// The loops are inlined into a function for each width of vectors, where the compiler makes vectors of them. A plain loop
// that copies would become a call of memcpy, which need not read what it overwrites: so each word changes.
[[gnu::always_inline]] inline uint64_t move_words(const LeastMove& move, size_t begin, size_t end) {
    const auto* x = static_cast<const uint64_t*>(move.x);
    const auto* z = static_cast<const uint64_t*>(move.z);
    auto* y = static_cast<uint64_t*>(move.target);
    const size_t piece = std::max<size_t>(move.piece / 8, 1);
    uint64_t sum = 0;
    for (size_t from = begin; from < end; from += piece) {
        const size_t to = std::min(from + piece, end);
        if (move.read_first > 0)
            for (size_t i = from; i < to; ++i) sum ^= x[i];
        if (move.read_first > 1)
            for (size_t i = from; i < to; ++i) sum ^= z[i];
        if (move.streaming) {
            streamed(y + from, x + from, z ? z + from : nullptr, to - from);
        } else if (z) {
#pragma GCC ivdep
            for (size_t i = from; i < to; ++i) y[i] = x[i] ^ z[i];
        } else {
#pragma GCC ivdep
            for (size_t i = from; i < to; ++i) y[i] = ~x[i];
        }
    }
    return sum;
}

using Mover = uint64_t (*)(const LeastMove&, size_t, size_t);

uint64_t move_baseline(const LeastMove& move, size_t begin, size_t end) { return move_words(move, begin, end); }

#if defined(__x86_64__)
[[gnu::target("avx2")]] uint64_t move_avx2(const LeastMove& move, size_t begin, size_t end) {
    return move_words(move, begin, end);
}

[[gnu::target("avx512f,prefer-vector-width=512")]] uint64_t move_avx512(const LeastMove& move, size_t begin, size_t end) {
    return move_words(move, begin, end);
}
#endif

Mover mover() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return move_avx512;
    if (__builtin_cpu_supports("avx2")) return move_avx2;
#endif
    return move_baseline;
}

}  // namespace

void least_move(const LeastMove& move, int threads) {
    static std::atomic<uint64_t> seen;  // or the compiler would leave the reads out
    const Mover mover_ = mover();
    const size_t words = move.bytes / 8;
    const int64_t pieces = threads_for(threads, int64_t(move.bytes / 4), threads);
    parallel_for(pieces, int(pieces), [&](int64_t piece) {
        const size_t begin = words * size_t(piece) / size_t(pieces) & ~size_t(7);
        const size_t end = piece + 1 == pieces ? words : words * size_t(piece + 1) / size_t(pieces) & ~size_t(7);
        seen.fetch_xor(mover_(move, begin, end), std::memory_order_relaxed);
    });
}

void copy(void* target, const void* source, size_t bytes, bool streaming, int threads) {
    const int64_t pieces = threads_for(threads, int64_t(bytes / 4), threads);
    parallel_for(pieces, int(pieces), [&](int64_t piece) {
        const size_t begin = bytes * size_t(piece) / size_t(pieces) & ~size_t(63);
        const size_t end = piece + 1 == pieces ? bytes : bytes * size_t(piece + 1) / size_t(pieces) & ~size_t(63);
        char* to = static_cast<char*>(target) + begin;
        const char* from = static_cast<const char*>(source) + begin;
        if (streaming) copy_streaming(to, from, end - begin);
        else std::memcpy(to, from, end - begin);
    });
}

}  // namespace backnorm
