#include "copy.hpp"

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

}  // namespace

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
