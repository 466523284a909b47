// Exact sums on sixteen lanes, in float64 and without a rounding, as long as values lie in a window.
//
// The window of exponent E is [2^(E-20), 2^(E+4)): its float32 values are multiples of 2^(E-43). A sum of few of them is
// exact as it is. A product has up to 94 bits of such units; an accumulator that begins at a large number keeps the
// upper part of each product, and another accumulator what the first one dropped:
//
//     next = high + product;  low += product - (next - high);  high = next
//
// Nothing is lost while the numbers stay in the bounds below. They are checked afterwards, in what was summed: if a
// channel left its window, all its values are summed again, as integers by exponent. After a few values both parts
// move to 64-bit integers. So the sums do not depend on the window, on lanes, or on any order.
#pragma once

#include <algorithm>

#include "activation.hpp"
#include "exact_sum.hpp"
#include "pack.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

constexpr int window_bits = 43;   // 20 binades below 2^E and 23 of the mantissa
constexpr int window_top = 4;     // binades from 2^E on
constexpr int most_squares = 64;  // values a lane between two moves to integers; products have a sign besides
constexpr int most_products = 32;

template <class S>
constexpr int mantissa_bits = std::is_same<S, float>::value ? 23 : std::is_same<S, bfloat16>::value ? 7 : 10;

// float16 lies in one window as a whole.
template <class S>
constexpr bool always_inside = std::is_same<S, float16>::value;
constexpr int float16_exponent = 12;

inline double power_of_two(int exponent) {  // of a normal float64
    return same_bits<double>(uint64_t(exponent + 1023) << 52);
}

// The window of a channel whose first values have at most this magnitude (the bits of a float32 without sign).
template <class S>
inline int window_of(uint32_t most) {
    if (always_inside<S>) return float16_exponent;
    return most ? int(most >> 23) - 128 : 0;  // others are larger more often than they are tiny
}

using Words = Vector<uint32_t, width<float>>;
using Bits = Vector<int64_t, width<double>>;
using UnsignedBits = Vector<uint64_t, width<double>>;

// The least and the largest magnitude, lane by lane, as bits of float32. Of the least 1 is subtracted, so that 0 counts
// as the largest of all.
template <class S, bool with_largest>
struct Magnitudes {
    Words least[Pack<float>::parts], largest[Pack<float>::parts];

    Magnitudes() {
        for (int k = 0; k < Pack<float>::parts; ++k) least[k] = ~Words{}, largest[k] = Words{};
    }
    BACKNORM_INLINE void add(const Pack<float>& values) {
        if constexpr (!always_inside<S>)
            BACKNORM_UNROLL for (int k = 0; k < Pack<float>::parts; ++k) {
                const Words size = same_bits<Words>(values.part[k]) & 0x7fffffffu, below = size - 1u;
                least[k] = below < least[k] ? below : least[k];
                if constexpr (with_largest) largest[k] = size > largest[k] ? size : largest[k];
            }
    }
    // Whether all values of a lane are multiples of the window's unit, and below its top where that was asked.
    static bool inside(uint32_t least, uint32_t largest, int window) {
        if (always_inside<S>) return true;
        const bool fine = least == ~uint32_t(0) ||
                          std::max(int((least + 1) >> 23), 1) - 127 - mantissa_bits<S> >= window - window_bits;
        return fine && (!with_largest || int(largest >> 23) - 127 < window + window_top);
    }
    BACKNORM_APART bool all_inside(int window) const {
        uint32_t low[lanes], high[lanes];
        std::memcpy(low, least, sizeof low);
        std::memcpy(high, largest, sizeof high);
        return inside(*std::min_element(low, low + lanes), *std::max_element(high, high + lanes), window);
    }
};

// 64-bit integers, lane by lane. They wrap where a lane is outside of its window; then they are not used.
struct Integers {
    UnsignedBits part[Pack<double>::parts] = {};
    BACKNORM_INLINE void add(const Pack<double>& whole) {
        BACKNORM_UNROLL for (int k = 0; k < Pack<double>::parts; ++k)
            part[k] += same_bits<UnsignedBits>(__builtin_convertvector(whole.part[k], Bits));
    }
    static BACKNORM_INLINE Integers at(const int64_t* p) {
        Integers i;
        std::memcpy(i.part, p, sizeof i.part);
        return i;
    }
    BACKNORM_INLINE void store(int64_t* p) const { std::memcpy(p, part, sizeof part); }
    BACKNORM_APART Wide total() const {
        int64_t lane[lanes];
        store(lane);
        Wide sum = 0;
        for (const int64_t each : lane) sum += each;
        return sum;
    }
};

// Which lanes left their bounds: all bits set.
struct Outside {
    Bits part[Pack<double>::parts] = {};
    BACKNORM_INLINE void unless(const Pack<double>& values, double bound) {  // |values| < bound, which NaN is not
        BACKNORM_UNROLL for (int k = 0; k < Pack<double>::parts; ++k)
            part[k] |= ~((values.part[k] < bound) & (values.part[k] > -bound));
    }
    bool any() const {
        int64_t lane[lanes], all = 0;
        std::memcpy(lane, part, sizeof lane);
        for (const int64_t each : lane) all |= each;
        return all != 0;
    }
};

// A running sum of products: see above.
struct ProductSum {
    Pack<double> high, low;
    BACKNORM_INLINE void add(const Pack<double>& a, const Pack<double>& b) {
        // a*b is exact in float64, so it is the same number with and without fused multiply-add.
        const Pack<double> next = multiply_add(a, b, high), back = high - next;
        low = low + multiply_add(a, b, back);
        high = next;
    }
};

// How the sums of a window become integers. `start` is where `high` begins.
struct SumUnits {
    int exponent;
    double start, of_sum, of_high, of_low;
    int sum_exponent, high_exponent, low_exponent;  // of the integers

    static SumUnits squares(int window) { return {window, 2 * window, 2 * window + 14, 1.0}; }
    // Products have a sign, and begin in the middle.
    static SumUnits products(int of_dz, int of_x) { return {of_dz, of_dz + of_x, of_dz + of_x + 14, 1.5}; }

  private:
    SumUnits(int window, int both, int k, double begin)
        : exponent(window), start(begin * power_of_two(k)), of_sum(power_of_two(window_bits - window)),
          of_high(power_of_two(52 - k)), of_low(power_of_two(2 * window_bits - both)),
          sum_exponent(window - window_bits), high_exponent(k - 52), low_exponent(both - 2 * window_bits) {}
};

// The same, for a lane each.
struct LaneUnits {
    Pack<double> start, of_sum, of_high, of_low;
    static LaneUnits all(const SumUnits& u) {
        return {Pack<double>::all(u.start), Pack<double>::all(u.of_sum), Pack<double>::all(u.of_high),
                Pack<double>::all(u.of_low)};
    }
};

// The sums of a few values and of their squares.
struct MomentLane {
    Pack<double> sum;
    ProductSum square;

    BACKNORM_INLINE void begin(const LaneUnits& u) {
        sum = square.low = Pack<double>::zero();
        square.high = u.start;
    }
    BACKNORM_INLINE void add(const Pack<double>& v) {
        sum = sum + v;
        square.add(v, v);
    }
    BACKNORM_INLINE void move(const LaneUnits& u, Integers& sums, Integers& highs, Integers& lows, Outside& outside) const {
        const Pack<double> high = (square.high - u.start) * u.of_high;
        outside.unless(high, 0x1p52);
        sums.add(sum * u.of_sum);
        highs.add(high);
        lows.add(square.low * u.of_low);
    }
};

BACKNORM_INLINE Pack<double> absolute(Pack<double> p) {
    BACKNORM_UNROLL for (int k = 0; k < Pack<double>::parts; ++k)
        p.part[k] = same_bits<Native<double>>(same_bits<Bits>(p.part[k]) & INT64_MAX);
    return p;
}

// The sums of a few gradients, of their sizes and of their products with x, on one side of the activation.
struct ComomentLane {
    Pack<double> plain, size;
    ProductSum product;

    BACKNORM_INLINE void begin(const LaneUnits& u) {
        plain = size = product.low = Pack<double>::zero();
        product.high = u.start;
    }
    BACKNORM_INLINE void add(const Pack<double>& dz, const Pack<double>& x) {
        plain = plain + dz;
        size = size + absolute(dz);
        product.add(dz, x);
    }
    BACKNORM_INLINE void move(const LaneUnits& u, Integers& plains, Integers& sizes, Integers& highs, Integers& lows,
                              Outside& outside) const {
        const Pack<double> high = (product.high - u.start) * u.of_high, all = size * u.of_sum;
        outside.unless(high, 0x1p51);
        outside.unless(all, 0x1p52);
        plains.add(plain * u.of_sum);
        sizes.add(all);
        highs.add(high);
        lows.add(product.low * u.of_low);
    }
};

// dz on each side of the activation: see ExactComoments. The other lanes are 0.
template <Activation kind>
constexpr int sides = kind == Activation::leaky_relu ? 2 : 1;

template <Activation kind>
BACKNORM_INLINE void split(const Pack<double>& dy, const Pack<double>& y, Pack<double>* side) {
    if constexpr (sides<kind> == 1) side[0] = grad_through_activation<kind>(dy, y, 1.0);
    else
        BACKNORM_UNROLL for (int k = 0; k < Pack<double>::parts; ++k) {
            const auto above = y.part[k] > Native<double>{};
            side[0].part[k] = where<double>(above, dy.part[k]);
            side[1].part[k] = where<double>(~above, dy.part[k]);
        }
}

// Rows of fewer than sixteen values, with zeros behind each: a tail then takes the code of whole packs.
template <class S>
BACKNORM_APART void pad_rows(S* into, const S* from, int64_t stride, int64_t rows, int64_t count) {
    for (int64_t row = 0; row < rows; ++row) {
        std::copy_n(from + row * stride, count, into + row * lanes);
        std::fill_n(into + row * lanes + count, lanes - count, S());
    }
}

// ---- any values, one at a time

template <class S>
inline float single(const S& value) {
    if constexpr (std::is_same<S, bfloat16>::value) return backnorm::from_bfloat16(value.bits);
    else if constexpr (std::is_same<S, float16>::value) return backnorm::from_float16(value.bits);
    else return value;
}

template <class S>
BACKNORM_APART void add_each(MomentBins& bins, const S* x, int64_t count) {
    for (int64_t i = 0; i < count; ++i) bins.add(single(x[i]));
}

template <Activation kind, class S>
BACKNORM_APART void add_each(ComomentBins& bins, const S* dy, const S* x, const S* y, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        const float out = kind == Activation::identity ? 0.0f : single(y[i]), d = single(dy[i]);
        if constexpr (sides<kind> == 2) {
            bins.add(!(out > 0.0f), d, single(x[i]));
        } else {
            const Native<float> dz = ActivationOf<kind>::template grad_through<float>(
                d - Native<float>{}, out - Native<float>{}, 1.0);
            bins.add(0, dz[0], single(x[i]));
        }
    }
}

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
