// One native vector of float64 or float32: from and to memory in each storage dtype, at any address.
//
// Plain vector code does it everywhere; where a level has instructions that compilers do not find by
// themselves (conversions from and to half the width, masks, streaming stores) they are named here,
// and nowhere else.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "dtypes.hpp"

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define BACKNORM_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define BACKNORM_VECTOR_BYTES 32
#else
#define BACKNORM_VECTOR_BYTES 16
#endif

#define BACKNORM_LAMBDA __attribute__((always_inline))
#define BACKNORM_UNROLL _Pragma("GCC unroll 16")

namespace backnorm {
namespace BACKNORM_LEVEL {

template <class T, int Count>
struct VectorOf { typedef T type __attribute__((vector_size(Count * sizeof(T)))); };
template <class T, int Count>
using Vector = typename VectorOf<T, Count>::type;

// How many values of T, float or double, one native vector holds.
template <class T>
constexpr int width = BACKNORM_VECTOR_BYTES / int(sizeof(T));
template <class T>
using Native = Vector<T, width<T>>;

template <class V, class S>
BACKNORM_INLINE V read(const S* p) {
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

// a*b + c with one rounding where the level has such an instruction. It is named, because compilers
// find it in one place and miss it in another, and the bits would depend on which.
template <class T>
BACKNORM_INLINE Native<T> fused(const Native<T>& a, const Native<T>& b, const Native<T>& c) {
    [[maybe_unused]] constexpr bool single = std::is_same<T, float>::value;
#if defined(__AVX512F__)
    if constexpr (single) return Native<T>(_mm512_fmadd_ps(__m512(a), __m512(b), __m512(c)));
    else return Native<T>(_mm512_fmadd_pd(__m512d(a), __m512d(b), __m512d(c)));
#elif defined(__AVX2__) && defined(__FMA__)
    if constexpr (single) return Native<T>(_mm256_fmadd_ps(__m256(a), __m256(b), __m256(c)));
    else return Native<T>(_mm256_fmadd_pd(__m256d(a), __m256d(b), __m256d(c)));
#elif defined(__aarch64__)
    if constexpr (single)
        return Native<T>(vfmaq_f32(float32x4_t(c), float32x4_t(a), float32x4_t(b)));
    else return Native<T>(vfmaq_f64(float64x2_t(c), float64x2_t(a), float64x2_t(b)));
#else
    return a * b + c;
#endif
}

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__)) || defined(__aarch64__)
constexpr bool has_fused = true;
#else
constexpr bool has_fused = false;
#endif

// ---- between float32 and float64

template <int Count>
BACKNORM_INLINE Vector<double, Count> widen(const Vector<float, Count>& v) {
#if defined(__AVX512F__)
    if constexpr (Count == 8) return Vector<double, Count>(_mm512_cvtps_pd(__m256(v)));
    else
#elif defined(__AVX2__)
    if constexpr (Count == 4) return Vector<double, Count>(_mm256_cvtps_pd(__m128(v)));
    else
#endif
        return __builtin_convertvector(v, Vector<double, Count>);
}
template <int Count>
BACKNORM_INLINE Vector<float, Count> narrow(const Vector<double, Count>& v) {
#if defined(__AVX512F__)
    if constexpr (Count == 8) return Vector<float, Count>(_mm512_cvtpd_ps(__m512d(v)));
    else
#elif defined(__AVX2__)
    if constexpr (Count == 4) return Vector<float, Count>(_mm256_cvtpd_ps(__m256d(v)));
    else
#endif
        return __builtin_convertvector(v, Vector<float, Count>);
}

// ---- from float32 to the 16-bit dtypes and back; ties to even, NaN stays NaN

template <int Count>
BACKNORM_INLINE Vector<uint32_t, Count> words_of(const Vector<uint16_t, Count>& v) {
    using Words = Vector<uint32_t, Count>;
#if defined(__AVX512F__)
    if constexpr (Count == 16) return Words(_mm512_cvtepu16_epi32(__m256i(v)));
    else
#endif
#if defined(__AVX2__)
    if constexpr (Count == 8) return Words(_mm256_cvtepu16_epi32(__m128i(v)));
    else if constexpr (Count == 4)
        return Words(_mm_cvtepu16_epi32(_mm_cvtsi64_si128(same_bits<long long>(v))));
    else
#endif
        return __builtin_convertvector(v, Words);
}
template <int Count>
BACKNORM_INLINE Vector<uint16_t, Count> upper_halves(const Vector<uint32_t, Count>& v) {
    using Halves = Vector<uint16_t, Count>;
#if defined(__AVX512F__)
    // One instruction to select the upper halves, where a shift and a conversion take three.
    if constexpr (Count == 16) {
        const __m512i upper = _mm512_set_epi16(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 31, 29, 27, 25, 23, 21,
                                               19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
        return Halves(_mm512_castsi512_si256(_mm512_permutexvar_epi16(upper, __m512i(v))));
    } else if constexpr (Count == 8) {
        const __m256i upper = _mm256_set_epi16(0, 0, 0, 0, 0, 0, 0, 0, 15, 13, 11, 9, 7, 5, 3, 1);
        return Halves(_mm256_castsi256_si128(_mm256_permutexvar_epi16(upper, __m256i(v))));
    } else
#endif
    {
    const Vector<uint32_t, Count> upper = v >> 16;
#if defined(__AVX2__)
    if constexpr (Count == 8) {
        const __m256i all = __m256i(upper);
        return Halves(_mm_packus_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
    } else if constexpr (Count == 4) {
        const __m128i halves = _mm_packus_epi32(__m128i(upper), _mm_setzero_si128());
        return read<Halves>(&halves);
    } else
#endif
        return __builtin_convertvector(upper, Halves);
    }
}
template <int Count>
BACKNORM_INLINE Vector<uint16_t, Count> to_bfloat16(const Vector<float, Count>& v) {
    using Words = Vector<uint32_t, Count>;
#if defined(__AVX512BF16__)
    // The instruction rounds ties to even and keeps NaN, as below, but takes subnormal numbers for 0.
    constexpr int subnormal = 0x20;
    if constexpr (Count == 16)
        if (__builtin_expect(_mm512_fpclass_ps_mask(__m512(v), subnormal) == 0, 1))
            return same_bits<Vector<uint16_t, Count>>(_mm512_cvtneps_pbh(__m512(v)));
    if constexpr (Count == 8)
        if (__builtin_expect(_mm256_fpclass_ps_mask(__m256(v), subnormal) == 0, 1))
            return same_bits<Vector<uint16_t, Count>>(_mm256_cvtneps_pbh(__m256(v)));
#endif
    const Words bits = same_bits<Words>(v);
    const Words rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
    return upper_halves<Count>(v != v ? bits | 0x400000u : rounded);
}
template <int Count>
BACKNORM_INLINE Vector<float, Count> from_bfloat16(const Vector<uint16_t, Count>& v) {
    return same_bits<Vector<float, Count>>(words_of<Count>(v) << 16);
}

// Without an instruction, value by value, and as functions: sixteen of these conversions in each loop took half of the
// baseline's time to compile.
template <int Count>
BACKNORM_APART Vector<uint16_t, Count> each_to_float16(const Vector<float, Count> v) {
    Vector<uint16_t, Count> result;
    for (int k = 0; k < Count; ++k) result[k] = backnorm::to_float16(v[k]);
    return result;
}
template <int Count>
BACKNORM_APART Vector<float, Count> each_from_float16(const Vector<uint16_t, Count> v) {
    Vector<float, Count> result;
    for (int k = 0; k < Count; ++k) result[k] = backnorm::from_float16(uint16_t(v[k]));
    return result;
}

template <int Count>
BACKNORM_INLINE Vector<uint16_t, Count> to_float16(const Vector<float, Count>& v) {
    [[maybe_unused]] typedef Vector<uint16_t, Count> Halves;
#if defined(__AVX512F__)
    if constexpr (Count == 16) return Halves(_mm512_cvtps_ph(__m512(v), _MM_FROUND_TO_NEAREST_INT));
    else
#endif
#if defined(__F16C__)
    if constexpr (Count == 8) return Halves(_mm256_cvtps_ph(__m256(v), _MM_FROUND_TO_NEAREST_INT));
    else if constexpr (Count == 4) {
        const __m128i halves = _mm_cvtps_ph(__m128(v), _MM_FROUND_TO_NEAREST_INT);
        return read<Halves>(&halves);
    } else
#endif
        return each_to_float16<Count>(v);
}
template <int Count>
BACKNORM_INLINE Vector<float, Count> from_float16(const Vector<uint16_t, Count>& v) {
    [[maybe_unused]] typedef Vector<float, Count> Floats;
#if defined(__AVX512F__)
    if constexpr (Count == 16) return Floats(_mm512_cvtph_ps(__m256i(v)));
    else
#endif
#if defined(__F16C__)
    if constexpr (Count == 8) return Floats(_mm256_cvtph_ps(__m128i(v)));
    else if constexpr (Count == 4)
        return Floats(_mm_cvtph_ps(_mm_cvtsi64_si128(same_bits<long long>(v))));
    else
#endif
        return each_from_float16<Count>(v);
}

// ---- a vector as it lies in memory, to the values that it stores and back

template <class S>
using Stored = std::conditional_t<std::is_floating_point<S>::value, S, uint16_t>;
template <class S, class T>
using Raw = Vector<Stored<S>, width<T>>;

template <class S, class T>
BACKNORM_INLINE Native<T> from_stored(const Raw<S, T>& v) {
    constexpr int count = width<T>;
    if constexpr (std::is_same<S, T>::value) return v;
    else if constexpr (std::is_same<S, float>::value) return widen<count>(v);
    else {
        Vector<float, count> single;
        if constexpr (std::is_same<S, bfloat16>::value) single = from_bfloat16<count>(v);
        else single = from_float16<count>(v);
        if constexpr (std::is_same<T, float>::value) return single;
        else return widen<count>(single);
    }
}
template <class S, class T>
BACKNORM_INLINE Raw<S, T> to_stored(const Native<T>& v) {
    constexpr int count = width<T>;
    if constexpr (std::is_same<S, T>::value) return v;
    else {
        Vector<float, count> single;
        if constexpr (std::is_same<T, float>::value) single = v;
        else single = narrow<count>(v);
        if constexpr (std::is_same<S, float>::value) return single;
        else if constexpr (std::is_same<S, bfloat16>::value) return to_bfloat16<count>(single);
        else return to_float16<count>(single);
    }
}

template <class T, class S>
BACKNORM_INLINE Native<T> load_piece(const S* p) {
    return from_stored<S, T>(read<Raw<S, T>>(p));
}
template <class T, class S>
BACKNORM_INLINE void store_piece(S* p, const Native<T>& v) {
    const Raw<S, T> raw = to_stored<S, T>(v);
    std::memcpy(p, &raw, sizeof raw);
}

#if defined(__AVX2__)
// All bits set in the first `count` of eight words, 0 in the others.
BACKNORM_INLINE __m256i first_words(int count) {
    alignas(32) static constexpr int ones_then_zeros[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return read<__m256i>(ones_then_zeros + 8 - count);
}
#endif

// The first `count`, fewer than a piece; the other lanes are 0 when loaded, untouched when stored.
template <class T, class S>
BACKNORM_INLINE Native<T> load_some(const S* p, int count) {
#if defined(__AVX512F__)
    if constexpr (std::is_same<S, float>::value) {
        if constexpr (std::is_same<T, float>::value)
            return Native<T>(_mm512_maskz_loadu_ps(__mmask16((1u << count) - 1u), p));
        else return from_stored<S, T>(Raw<S, T>(_mm256_maskz_loadu_ps(__mmask8((1u << count) - 1u), p)));
    } else
#elif defined(__AVX2__)
    if constexpr (std::is_same<S, float>::value) {
        const __m256i mask = first_words(count);
        if constexpr (std::is_same<T, float>::value) return Native<T>(_mm256_maskload_ps(p, mask));
        else return from_stored<S, T>(Raw<S, T>(_mm_maskload_ps(p, _mm256_castsi256_si128(mask))));
    } else
#endif
    {
        S lane[width<T>] = {};
        std::memcpy(lane, p, size_t(count) * sizeof(S));
        return load_piece<T>(static_cast<const S*>(lane));
    }
}
template <class T, class S>
BACKNORM_INLINE void store_some(S* p, const Native<T>& v, int count) {
#if defined(__AVX512F__)
    if constexpr (std::is_same<S, float>::value) {
        if constexpr (std::is_same<T, float>::value)
            _mm512_mask_storeu_ps(p, __mmask16((1u << count) - 1u), __m512(v));
        else
            _mm256_mask_storeu_ps(p, __mmask8((1u << count) - 1u), __m256(to_stored<S, T>(v)));
    } else
#elif defined(__AVX2__)
    if constexpr (std::is_same<S, float>::value) {
        const __m256i mask = first_words(count);
        if constexpr (std::is_same<T, float>::value) _mm256_maskstore_ps(p, mask, __m256(v));
        else _mm_maskstore_ps(p, _mm256_castsi256_si128(mask), __m128(to_stored<S, T>(v)));
    } else
#endif
    {
        S lane[width<T>];
        store_piece<T>(static_cast<S*>(lane), v);
        std::memcpy(p, lane, size_t(count) * sizeof(S));
    }
}

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
template <class T, class S>
BACKNORM_INLINE void stream_piece(S* p, const Native<T>& v) {
    const Raw<S, T> raw = to_stored<S, T>(v);
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
template <class T, class S>
BACKNORM_INLINE void stream_piece(S* p, const Native<T>& v) { store_piece<T>(p, v); }
BACKNORM_INLINE void finish_stream() {}
#endif

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
