// The 16-bit dtypes, one value at a time: from float32 with ties to even, and back. NaN stays NaN.
#pragma once

#include <cstdint>
#include <cstring>

#define BACKNORM_INLINE inline __attribute__((always_inline))
// Called seldom: a copy in each of its callers would only take time to compile.
#define BACKNORM_APART __attribute__((noinline))

namespace backnorm {

struct bfloat16 { uint16_t bits; };
struct float16 { uint16_t bits; };

template <class To, class From>
BACKNORM_INLINE To same_bits(const From& from) {
    static_assert(sizeof(To) == sizeof(From), "both types must have the same size");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

inline uint16_t to_float16(float value) {
    const uint32_t all = same_bits<uint32_t>(value), sign = (all >> 16) & 0x8000u;
    const uint32_t magnitude = all & 0x7fffffffu;
    uint32_t half;
    if (magnitude > 0x7f800000u) half = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
    else if (magnitude >= 0x477ff000u) half = 0x7c00u;  // 65520 and more round to infinity
    else if (magnitude < 0x38800000u)  // subnormal: adding 0.5 leaves the rounded units in the low bits
        half = same_bits<uint32_t>(same_bits<float>(magnitude) + 0.5f) - 0x3f000000u;
    else half = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    return uint16_t(sign | half);
}
inline float from_float16(uint16_t half) {
    const uint32_t sign = uint32_t(half & 0x8000u) << 16, magnitude = half & 0x7fffu;
    if (magnitude >= 0x7c00u) return same_bits<float>(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
    // Subnormal and normal alike: the bits as a tiny float32, scaled up by 2^112 exactly.
    return same_bits<float>(sign | same_bits<uint32_t>(same_bits<float>(magnitude << 13) * 0x1p112f));
}

inline uint16_t to_bfloat16(float value) {
    const uint32_t bits = same_bits<uint32_t>(value);
    if (value != value) return uint16_t((bits | 0x400000u) >> 16);
    return uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
inline float from_bfloat16(uint16_t half) { return same_bits<float>(uint32_t(half) << 16); }

}  // namespace backnorm
