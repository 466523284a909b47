// y = act((x - mean)*scale + shift + residual) along a run of memory.
#pragma once

#include "activation.hpp"
#include "call.hpp"
#include "pack.hpp"
#include "precision.hpp"
#include "statistics.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

// A channel's coefficients: y = (x - mean)*scale + shift. The shift contains the mean's low part.
struct NormalizeChannel {
    double mean, scale, shift, slope;
    double squares;  // sum of (x - mean)^2; 0 with frozen statistics, where it is unknown
    bool once;       // whether a multiplication and an addition are rounded once at every level

    template <class Call>  // of either direction
    NormalizeChannel(const Call& call, int64_t c) {
        const Statistics& s = call.statistics;
        mean = s.mean[c];
        scale = (call.gamma ? call.gamma[c] : 1.0) * s.inv_std[c];
        // Where var + eps is 0, scale is infinite, and 0*scale would be NaN.
        const double low = s.mean_low[c] == 0.0 ? 0.0 : s.mean_low[c] * scale;
        shift = (call.beta ? call.beta[c] : 0.0) - low;
        slope = call.slope;
        once = call.exact;
        squares = call.frozen && !call.total ? 0.0 : s.var[c] * double(call.values());
    }

    bool fits_float() const {
        return std::fabs(mean) <= largest_mean && in_float_range(scale) && in_float_range(slope) &&
               std::fabs(for_float().shift) <= largest_coefficient / 2 && stays_small(scale, squares);
    }
    // The mean rounded to float32, with the rounding error moved to the shift.
    NormalizeChannel for_float() const {
        NormalizeChannel k = *this;
        k.mean = double(float(mean));
        if (k.mean != mean) k.shift += (k.mean - mean) * scale;  // if not, a shift of -0 must stay -0
        return k;
    }
    static constexpr int count = 3;
    double coefficient(int k) const { return k == 0 ? mean : k == 1 ? scale : shift; }
};

// The same coefficients all along a run (planar), or one set for each value (interleaved). `by_law` heeds `once`.
template <class T>
struct SameNormalize {
    using value = T;
    Pack<T> mean, scale, shift;
    bool once;
    explicit SameNormalize(const NormalizeChannel& k)
        : mean(Pack<T>::all(k.mean)), scale(Pack<T>::all(k.scale)),
          shift(Pack<T>::all(k.shift)), once(k.once) {}
    BACKNORM_INLINE Pack<T> operator()(const Pack<T>& x, int64_t) const { return multiply_add(x - mean, scale, shift); }
    BACKNORM_INLINE Pack<T> by_law(const Pack<T>& x, int64_t) const { return multiply_add(x - mean, scale, shift, once); }
};
template <class T>
struct EachNormalize {
    using value = T;
    const T *mean, *scale, *shift;
    bool once;
    int64_t mask = -1;  // 0 where the coefficients are those of one channel, in float64: see SpreadCoefficients
    BACKNORM_INLINE Pack<T> operator()(const Pack<T>& x, int64_t i) const {
        if constexpr (is_double<T>) i &= mask;
        return multiply_add(x - load<T>(mean + i), load<T>(scale + i), load<T>(shift + i));
    }
    BACKNORM_INLINE Pack<T> by_law(const Pack<T>& x, int64_t i) const {
        if constexpr (is_double<T>) i &= mask;
        return multiply_add(x - load<T>(mean + i), load<T>(scale + i), load<T>(shift + i), once);
    }
};

template <class Columns>  // a Column for each coefficient
BACKNORM_INLINE auto each_normalize(const Columns& k, bool once) {
    return EachNormalize<std::decay_t<decltype(k[0].at[0])>>{k[0].at, k[1].at, k[2].at, once};
}

// A channel's coefficients sixteen times. Where values are stored in a narrower dtype, float64 results are so seldom that
// planar layouts share the code of interleaved ones.
template <class Channel>
struct SpreadCoefficients {
    struct { alignas(64) double at[lanes]; } of[Channel::count];
    explicit SpreadCoefficients(const Channel& k) {
        for (int each = 0; each < Channel::count; ++each)
            for (double& value : of[each].at) value = k.coefficient(each);
    }
};
template <class S, class T>
constexpr bool spreads = is_double<T> && !is_double<S>;

// body(coefficients) for values stored as S and results in T.
template <class S, class T, class Body>
BACKNORM_INLINE void with_normalize(const NormalizeChannel& channel, const Body& body) {
    if constexpr (spreads<S, T>) {
        const SpreadCoefficients<NormalizeChannel> wide(channel);
        auto at = each_normalize(wide.of, channel.once);
        at.mask = 0;
        body(at);
    } else {
        body(SameNormalize<T>(is_double<T> ? channel : channel.for_float()));
    }
}

// Streaming stores avoid the read of the lines they overwrite, which pays for outputs larger than the caches.
constexpr int64_t streaming_bytes = int64_t(8) << 20;

template <class S>
inline bool worth_streaming(const Shape& shape) {
    return shape.size() * int64_t(sizeof(S)) >= streaming_bytes;
}

// Number of values from p to the next address that is aligned to sixteen values; 0 without streaming stores.
template <class S>
BACKNORM_INLINE int64_t until_aligned(const S* p, int64_t count, bool streaming) {
    if (!streaming) return 0;
    constexpr uintptr_t size = lanes * sizeof(S);
    const int64_t head = int64_t((size - reinterpret_cast<uintptr_t>(p) % size) % size / sizeof(S));
    return head < count ? head : count;
}

// Whether a multiplication and an addition are rounded once, and no instruction does it. Then a run is computed in parts
// alone, so that the loops of the other law do not carry the choice: with it they were slower by a tenth.
template <class Coefficients>
BACKNORM_INLINE bool emulates_fused(const Coefficients& at) { return !has_fused && at.once; }

template <class Part>
inline void each_pack(int64_t count, const Part& part) {
    for (int64_t i = 0; i < count; i += lanes) part(i, int(count - i < lanes ? count - i : lanes));
}

// Coefficients are passed by value, and closures hold copies, so that they stay in registers: the compiler
// loads what a reference points to again after every vector store, since that may alias anything. Arrays of
// coefficients must be readable for sixteen values past the run's end. `next`, which may be null, is read
// next: it is prefetched while this run is stored past the cache. Where it is not, the lines that are written next are
// prefetched, which lie `next_y` from y: a store waits for its line, and few stores wait at a time.
//
// The end of a long run is a whole pack too, which overlaps its neighbour and stores the same values again.
// Not past the cache, where a line that is written twice has to be read back; nor where y is x itself, whose
// values would be normalized twice.
template <Activation kind, class S, class Coefficients>
inline void normalize_run(const S* x, const S* residual, S* y, int64_t count, Coefficients at,
                          double slope, bool streaming,
                          const S* next = nullptr, int64_t next_y = 0) {
    using T = typename Coefficients::value;
    const auto value = [=](Pack<T> z, const Pack<T>& add) BACKNORM_LAMBDA {
        if (residual) z = z + add;
        return activate<kind>(z, slope);
    };
    const auto full = [=](int64_t i) BACKNORM_LAMBDA {
        return value(at(load<T>(x + i), i), residual ? load<T>(residual + i) : Pack<T>::zero());
    };
    const auto part = [=](int64_t i, int some) {
        const Pack<T> add = residual ? load_part<T>(residual + i, some) : Pack<T>::zero();
        store_part(y + i, value(at.by_law(load_part<T>(x + i, some), i), add), some);
    };
    if (emulates_fused(at)) return each_pack(count, part);
    int64_t i = until_aligned(y, count, streaming);
    if (i) part(0, int(i));
    if (streaming)
        for (; i + lanes <= count; i += lanes) {
            fetch_from(next, i);
            stream(y + i, full(i));
        }
    else
        for (; i + lanes <= count; i += lanes) {
            fetch(y + i + next_y);
            store(y + i, full(i));
        }
    if (i == count) return;
    if (streaming || count < lanes || x == y) part(i, int(count - i));
    else store(y + count - lanes, full(count - lanes));
}

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
