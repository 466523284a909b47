// One native vector of doubles: from and to memory in each storage format, at any address.
//
// Plain vector code does it everywhere; where a level has instructions that compilers do not find by
// themselves (conversions from and to half the width, streaming stores) they are named here, and
// nowhere else.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define BACKNORM_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define BACKNORM_VECTOR_BYTES 32
#else
#define BACKNORM_VECTOR_BYTES 16
#endif

#define BACKNORM_INLINE inline __attribute__((always_inline))
#define BACKNORM_LAMBDA __attribute__((always_inline))
#define BACKNORM_UNROLL _Pragma("GCC unroll 16")

namespace backnorm {
namespace BACKNORM_LEVEL {

struct bfloat16 { uint16_t bits; };
struct float16 { uint16_t bits; };

template <class T, int Count>
struct VectorOf { typedef T type __attribute__((vector_size(Count * sizeof(T)))); };

constexpr int width = BACKNORM_VECTOR_BYTES / 8;
using Doubles = VectorOf<double, width>::type;
using Floats = VectorOf<float, width>::type;
using Words = VectorOf<uint32_t, width>::type;
using Halves = VectorOf<uint16_t, width>::type;

template <class To, class From>
BACKNORM_INLINE To same_bits(const From& from) {
    static_assert(sizeof(To) == sizeof(From), "a cast keeps every bit");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}
template <class V, class S>
BACKNORM_INLINE V read(const S* p) {
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

// ---- between float32 and float64

BACKNORM_INLINE Doubles widen(const Floats& v) {
#if defined(__AVX512F__)
    return Doubles(_mm512_cvtps_pd(__m256(v)));
#elif defined(__AVX2__)
    return Doubles(_mm256_cvtps_pd(__m128(v)));
#else
    return __builtin_convertvector(v, Doubles);
#endif
}
BACKNORM_INLINE Floats narrow(const Doubles& v) {
#if defined(__AVX512F__)
    return Floats(_mm512_cvtpd_ps(__m512d(v)));
#elif defined(__AVX2__)
    return Floats(_mm256_cvtpd_ps(__m256d(v)));
#else
    return __builtin_convertvector(v, Floats);
#endif
}

// ---- from float32 to the 16-bit formats and back; ties to even, NaN stays NaN

BACKNORM_INLINE Words words_of(const Halves& v) {
#if defined(__AVX512F__)
    return Words(_mm256_cvtepu16_epi32(__m128i(v)));
#elif defined(__AVX2__)
    return Words(_mm_cvtepu16_epi32(_mm_cvtsi64_si128(same_bits<long long>(v))));
#else
    return __builtin_convertvector(v, Words);
#endif
}
BACKNORM_INLINE Halves upper_halves(const Words& v) {
#if defined(__AVX512F__)
    return Halves(_mm256_cvtepi32_epi16(__m256i(v >> 16)));
#elif defined(__AVX2__)
    const __m128i halves = _mm_packus_epi32(__m128i(v >> 16), _mm_setzero_si128());
    return read<Halves>(&halves);
#else
    return __builtin_convertvector(v >> 16, Halves);
#endif
}
BACKNORM_INLINE Halves to_bfloat16(const Floats& v) {
    const Words bits = same_bits<Words>(v);
    const Words rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
    return upper_halves(v != v ? bits | 0x400000u : rounded);
}
BACKNORM_INLINE Floats from_bfloat16(const Halves& v) {
    return same_bits<Floats>(words_of(v) << 16);
}

#if defined(__AVX512F__)
BACKNORM_INLINE Halves to_float16(const Floats& v) {
    return Halves(_mm256_cvtps_ph(__m256(v), _MM_FROUND_TO_NEAREST_INT));
}
BACKNORM_INLINE Floats from_float16(const Halves& v) { return Floats(_mm256_cvtph_ps(__m128i(v))); }
#elif defined(__F16C__)
BACKNORM_INLINE Halves to_float16(const Floats& v) {
    const __m128i halves = _mm_cvtps_ph(__m128(v), _MM_FROUND_TO_NEAREST_INT);
    return read<Halves>(&halves);
}
BACKNORM_INLINE Floats from_float16(const Halves& v) {
    return Floats(_mm_cvtph_ps(_mm_cvtsi64_si128(same_bits<long long>(v))));
}
#else
BACKNORM_INLINE uint16_t to_float16(float value) {
    const uint32_t all = same_bits<uint32_t>(value), sign = (all >> 16) & 0x8000u;
    const uint32_t rest = all & 0x7fffffffu;
    uint32_t half;
    if (rest > 0x7f800000u) half = 0x7e00u | ((rest >> 13) & 0x3ffu);
    else if (rest >= 0x477ff000u) half = 0x7c00u;  // 65520 and more round to infinity
    else if (rest < 0x38800000u)  // subnormal: adding 0.5 leaves the rounded units in the low bits
        half = same_bits<uint32_t>(same_bits<float>(rest) + 0.5f) - 0x3f000000u;
    else half = (rest - 0x38000000u + 0xfffu + ((rest >> 13) & 1u)) >> 13;
    return uint16_t(sign | half);
}
BACKNORM_INLINE float from_float16(uint16_t half) {
    const uint32_t sign = uint32_t(half & 0x8000u) << 16, rest = half & 0x7fffu;
    if (rest >= 0x7c00u) return same_bits<float>(sign | 0x7f800000u | ((rest & 0x3ffu) << 13));
    // Subnormal and normal alike: the bits as a tiny float32, scaled up by 2^112 exactly.
    return same_bits<float>(sign | same_bits<uint32_t>(same_bits<float>(rest << 13) * 0x1p112f));
}
BACKNORM_INLINE Halves to_float16(const Floats& v) {
    Halves result;
    for (int k = 0; k < width; ++k) result[k] = to_float16(v[k]);
    return result;
}
BACKNORM_INLINE Floats from_float16(const Halves& v) {
    Floats result;
    for (int k = 0; k < width; ++k) result[k] = from_float16(uint16_t(v[k]));
    return result;
}
#endif

// ---- a format's vector as it lies in memory, and what it says

BACKNORM_INLINE Doubles said(const double*, const Doubles& v) { return v; }
BACKNORM_INLINE Doubles said(const float*, const Floats& v) { return widen(v); }
BACKNORM_INLINE Doubles said(const bfloat16*, const Halves& v) { return widen(from_bfloat16(v)); }
BACKNORM_INLINE Doubles said(const float16*, const Halves& v) { return widen(from_float16(v)); }

BACKNORM_INLINE Doubles written(const double*, const Doubles& v) { return v; }
BACKNORM_INLINE Floats written(const float*, const Doubles& v) { return narrow(v); }
BACKNORM_INLINE Halves written(const bfloat16*, const Doubles& v) { return to_bfloat16(narrow(v)); }
BACKNORM_INLINE Halves written(const float16*, const Doubles& v) { return to_float16(narrow(v)); }

template <class S>
using Raw = decltype(written(static_cast<const S*>(nullptr), Doubles{}));

template <class S>
BACKNORM_INLINE Doubles load_piece(const S* p) { return said(p, read<Raw<S>>(p)); }

template <class S>
BACKNORM_INLINE void store_piece(S* p, const Doubles& v) {
    const Raw<S> raw = written(p, v);
    std::memcpy(p, &raw, sizeof raw);
}

// The first `count`, fewer than a piece; the other lanes are 0 when loaded, untouched when stored.
template <class S>
BACKNORM_INLINE Doubles load_some(const S* p, int count) {
    S lane[width] = {};
    std::memcpy(lane, p, size_t(count) * sizeof(S));
    return load_piece(static_cast<const S*>(lane));
}
template <class S>
BACKNORM_INLINE void store_some(S* p, const Doubles& v, int count) {
    S lane[width];
    store_piece(static_cast<S*>(lane), v);
    std::memcpy(p, lane, size_t(count) * sizeof(S));
}
#if defined(__AVX512F__)
BACKNORM_INLINE Doubles load_some(const float* p, int count) {
    return widen(Floats(_mm256_maskz_loadu_ps(__mmask8((1u << count) - 1u), p)));
}
BACKNORM_INLINE void store_some(float* p, const Doubles& v, int count) {
    _mm256_mask_storeu_ps(p, __mmask8((1u << count) - 1u), __m256(narrow(v)));
}
#endif

// ---- past the cache; p is aligned to a piece

#if defined(__SSE2__)
BACKNORM_INLINE void stream_raw(void* p, const __m128i& v) {
    _mm_stream_si128(static_cast<__m128i*>(p), v);
}
#if defined(__AVX2__)
BACKNORM_INLINE void stream_raw(void* p, const __m256i& v) {
    _mm256_stream_si256(static_cast<__m256i*>(p), v);
}
#endif
#if defined(__AVX512F__)
BACKNORM_INLINE void stream_raw(void* p, const __m512i& v) {
    _mm512_stream_si512(static_cast<__m512i*>(p), v);
}
#endif
template <class S>
BACKNORM_INLINE void stream_piece(S* p, const Doubles& v) {
    const Raw<S> raw = written(p, v);
    if constexpr (sizeof raw == 16) stream_raw(p, same_bits<__m128i>(raw));
#if defined(__AVX2__)
    else if constexpr (sizeof raw == 32) stream_raw(p, same_bits<__m256i>(raw));
#endif
#if defined(__AVX512F__)
    else if constexpr (sizeof raw == 64) stream_raw(p, same_bits<__m512i>(raw));
#endif
#if defined(__x86_64__)
    else if constexpr (sizeof raw == 8)
        _mm_stream_si64(reinterpret_cast<long long*>(p), same_bits<long long>(raw));
#endif
    else std::memcpy(p, &raw, sizeof raw);
}
BACKNORM_INLINE void finish_stream() { _mm_sfence(); }
#else
template <class S>
BACKNORM_INLINE void stream_piece(S* p, const Doubles& v) { store_piece(p, v); }
BACKNORM_INLINE void finish_stream() {}
#endif

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
