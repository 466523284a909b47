// Sixteen values at a time, as float64 or float32: loads from each storage dtype, arithmetic, stores.
//
// Sums are taken in float64; results are computed in float32 where a channel's numbers allow it (see
// precision.hpp). A Pack is as many native vectors as sixteen values take, so one source serves
// SSE2, AVX2, AVX-512 and NEON. A value's lane depends on its index alone, never on its address: that
// is why alignment cannot change a result.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "pieces.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

constexpr int lanes = 16;

template <class T>
struct Pack {
    static constexpr int parts = lanes / width<T>;
    Native<T> part[parts];

    static BACKNORM_INLINE Pack all(double value) {
        Pack p;
        BACKNORM_UNROLL for (int k = 0; k < parts; ++k) p.part[k] = T(value) - Native<T>{};  // 0 + value would lose -0
        return p;
    }
    static BACKNORM_INLINE Pack zero() { return all(0.0); }
};

#define BACKNORM_PACK_OPERATOR(op)                                                                   \
    template <class T>                                                                               \
    BACKNORM_INLINE Pack<T> operator op(Pack<T> a, const Pack<T>& b) {                               \
        BACKNORM_UNROLL for (int k = 0; k < Pack<T>::parts; ++k) a.part[k] = a.part[k] op b.part[k]; \
        return a;                                                                                    \
    }
BACKNORM_PACK_OPERATOR(+)
BACKNORM_PACK_OPERATOR(-)
BACKNORM_PACK_OPERATOR(*)
#undef BACKNORM_PACK_OPERATOR

// a*b + c
template <class T>
BACKNORM_INLINE Pack<T> multiply_add(const Pack<T>& a, const Pack<T>& b, Pack<T> c) {
    BACKNORM_UNROLL for (int k = 0; k < Pack<T>::parts; ++k)
        c.part[k] = fused<T>(a.part[k], b.part[k], c.part[k]);
    return c;
}

// The same with one rounding where there is no such instruction: value by value, and as a function, since it is for the
// exact law only.
template <class T>
BACKNORM_APART Pack<T> each_multiply_add(const Pack<T>& a, const Pack<T>& b, const Pack<T>& c) {
    Pack<T> result;
    for (int k = 0; k < Pack<T>::parts; ++k)
        for (int i = 0; i < width<T>; ++i) result.part[k][i] = std::fma(a.part[k][i], b.part[k][i], c.part[k][i]);
    return result;
}

// The same; where `once` is set with one rounding at every level.
template <class T>
BACKNORM_INLINE Pack<T> multiply_add(const Pack<T>& a, const Pack<T>& b, Pack<T> c, bool once) {
    if constexpr (!has_fused)
        if (once) return each_multiply_add(a, b, c);
    return multiply_add(a, b, c);
}

template <class T, class From>
BACKNORM_INLINE Pack<T> converted(const Pack<From>& p) {
    if constexpr (std::is_same<T, From>::value) return p;
    else {
        alignas(64) From values[lanes];
        std::memcpy(values, &p, sizeof(values));
        Pack<T> result;
        BACKNORM_UNROLL for (int k = 0; k < Pack<T>::parts; ++k)
            result.part[k] = load_piece<T>(static_cast<const From*>(values) + k * width<T>);
        return result;
    }
}

BACKNORM_INLINE double total(const Pack<double>& p) {
    alignas(64) double lane[lanes];
    std::memcpy(lane, &p, sizeof(lane));
    BACKNORM_UNROLL for (int half = lanes / 2; half > 0; half /= 2)
        for (int k = 0; k < half; ++k) lane[k] += lane[k + half];
    return lane[0];
}

template <class T, class S>
BACKNORM_INLINE Pack<T> load(const S* p) {
    Pack<T> result;
    BACKNORM_UNROLL for (int k = 0; k < Pack<T>::parts; ++k)
        result.part[k] = load_piece<T>(p + k * width<T>);
    return result;
}
template <class T, class S>
BACKNORM_INLINE void store(S* p, const Pack<T>& value) {
    BACKNORM_UNROLL for (int k = 0; k < Pack<T>::parts; ++k)
        store_piece<T>(p + k * width<T>, value.part[k]);
}
// Past the cache, for outputs larger than it; p is aligned to sixteen values.
template <class T, class S>
BACKNORM_INLINE void stream(S* p, const Pack<T>& value) {
    BACKNORM_UNROLL for (int k = 0; k < Pack<T>::parts; ++k)
        stream_piece<T>(p + k * width<T>, value.part[k]);
}

// Prefetches memory that is read or written soon; it need not be there.
template <class S>
BACKNORM_INLINE void fetch(const S* p) {
    __builtin_prefetch(p);
}
// The same from a pointer that may be null.
template <class S>
BACKNORM_INLINE void fetch_from(const S* p, int64_t i) {
    if (p) fetch(p + i);
}
template <class S>
BACKNORM_INLINE const S* plus(const S* p, int64_t i) {
    return p ? p + i : p;
}

// The first `count` of sixteen values; the other lanes are 0 when loaded, untouched when stored.
template <class T, class S>
BACKNORM_INLINE Pack<T> load_part(const S* p, int count) {
    Pack<T> result;
    BACKNORM_UNROLL for (int k = 0; k < Pack<T>::parts; ++k) {
        const int left = count - k * width<T>;
        if (left >= width<T>) result.part[k] = load_piece<T>(p + k * width<T>);
        else if (left > 0) result.part[k] = load_some<T>(p + k * width<T>, left);
        else result.part[k] = Native<T>{};
    }
    return result;
}
template <class T, class S>
BACKNORM_INLINE void store_part(S* p, const Pack<T>& value, int count) {
    BACKNORM_UNROLL for (int k = 0; k < Pack<T>::parts; ++k) {
        const int left = count - k * width<T>;
        if (left >= width<T>) store_piece<T>(p + k * width<T>, value.part[k]);
        else if (left > 0) store_some<T>(p + k * width<T>, value.part[k], left);
    }
}
template <class T, class S>
BACKNORM_INLINE Pack<T> load_up_to(const S* p, int64_t left) {
    return left >= lanes ? load<T>(p) : load_part<T>(p, int(left));
}

// The sixteen values that end with the run's last one, of which only the last `tail` are new; of a
// run of fewer than sixteen, the first `tail`.
template <class T, class S>
BACKNORM_INLINE Pack<T> load_end(const S* run, int64_t count, int tail) {
    return count >= lanes ? load<T>(run + count - lanes) : load_part<T>(run + count - tail, tail);
}
// 0 in all lanes but the new ones of load_end.
BACKNORM_INLINE Pack<double> keep_end(Pack<double> p, int64_t count, int tail) {
    alignas(64) static constexpr int64_t zeros_ones_zeros[3 * lanes] = {
        0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
        -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    const int64_t* mask = zeros_ones_zeros + (count >= lanes ? tail : 2 * lanes - tail);
    using Bits = Vector<int64_t, width<double>>;
    BACKNORM_UNROLL for (int k = 0; k < Pack<double>::parts; ++k)
        p.part[k] = same_bits<Native<double>>(same_bits<Bits>(p.part[k]) &
                                              read<Bits>(mask + k * width<double>));
    return p;
}

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
