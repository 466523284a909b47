// Sixteen values at a time, as float64: loads from each storage format, arithmetic, stores.
//
// All arithmetic is in float64: the kernels wait for memory, not for it, and so no format's range or
// precision is ever in question. A Pack is as many native vectors as sixteen doubles take, so one
// source serves SSE2, AVX2, AVX-512 and NEON. A value's lane depends on its index alone, never on its
// address: that is why alignment cannot change a result.
#pragma once

#include <cstdint>
#include <cstring>

#include "pieces.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

constexpr int lanes = 16;

struct Pack {
    static constexpr int parts = lanes / width;
    Doubles part[parts];

    static BACKNORM_INLINE Pack all(double value) {
        Pack p;
        BACKNORM_UNROLL for (int k = 0; k < parts; ++k) p.part[k] = value - Doubles{};  // 0 + value would lose -0
        return p;
    }
    static BACKNORM_INLINE Pack zero() { return all(0.0); }
};

#define BACKNORM_PACK_OPERATOR(op)                                                                \
    BACKNORM_INLINE Pack operator op(Pack a, const Pack& b) {                                     \
        BACKNORM_UNROLL for (int k = 0; k < Pack::parts; ++k) a.part[k] = a.part[k] op b.part[k]; \
        return a;                                                                                 \
    }
BACKNORM_PACK_OPERATOR(+)
BACKNORM_PACK_OPERATOR(-)
BACKNORM_PACK_OPERATOR(*)
#undef BACKNORM_PACK_OPERATOR

// a*b + c; one rounding where the level has fused multiply-add.
BACKNORM_INLINE Pack multiply_add(const Pack& a, const Pack& b, Pack c) {
    BACKNORM_UNROLL for (int k = 0; k < Pack::parts; ++k) c.part[k] += a.part[k] * b.part[k];
    return c;
}

// c - a*b
BACKNORM_INLINE Pack subtract_product(const Pack& a, const Pack& b, Pack c) {
    BACKNORM_UNROLL for (int k = 0; k < Pack::parts; ++k) c.part[k] -= a.part[k] * b.part[k];
    return c;
}

BACKNORM_INLINE double total(const Pack& p) {
    alignas(64) double lane[lanes];
    std::memcpy(lane, &p, sizeof(lane));
    BACKNORM_UNROLL for (int half = lanes / 2; half > 0; half /= 2)
        for (int k = 0; k < half; ++k) lane[k] += lane[k + half];
    return lane[0];
}

template <class S>
BACKNORM_INLINE Pack load(const S* p) {
    Pack result;
    BACKNORM_UNROLL for (int k = 0; k < Pack::parts; ++k) result.part[k] = load_piece(p + k * width);
    return result;
}
template <class S>
BACKNORM_INLINE void store(S* p, const Pack& value) {
    BACKNORM_UNROLL for (int k = 0; k < Pack::parts; ++k) store_piece(p + k * width, value.part[k]);
}
// Past the cache, for outputs larger than it; p is aligned to sixteen values.
template <class S>
BACKNORM_INLINE void stream(S* p, const Pack& value) {
    BACKNORM_UNROLL for (int k = 0; k < Pack::parts; ++k) stream_piece(p + k * width, value.part[k]);
}

// The first `count` of sixteen values; the other lanes are 0 when loaded, untouched when stored.
template <class S>
BACKNORM_INLINE Pack load_part(const S* p, int count) {
    Pack result;
    BACKNORM_UNROLL for (int k = 0; k < Pack::parts; ++k) {
        const int left = count - k * width;
        if (left >= width) result.part[k] = load_piece(p + k * width);
        else if (left > 0) result.part[k] = load_some(p + k * width, left);
        else result.part[k] = Doubles{};
    }
    return result;
}
template <class S>
BACKNORM_INLINE void store_part(S* p, const Pack& value, int count) {
    BACKNORM_UNROLL for (int k = 0; k < Pack::parts; ++k) {
        const int left = count - k * width;
        if (left >= width) store_piece(p + k * width, value.part[k]);
        else if (left > 0) store_some(p + k * width, value.part[k], left);
    }
}
template <class S>
BACKNORM_INLINE Pack load_up_to(const S* p, int64_t left) {
    return left >= lanes ? load(p) : load_part(p, int(left));
}

// 1 in the first `count` lanes, 0 in the others.
BACKNORM_INLINE Pack first_lanes(int count) {
    alignas(64) static constexpr double ones_then_zeros[2 * lanes] = {1, 1, 1, 1, 1, 1, 1, 1,
                                                                      1, 1, 1, 1, 1, 1, 1, 1};
    return load(ones_then_zeros + lanes - count);
}

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
