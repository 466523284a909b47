// Mean and variance in one pass over memory.
//
// Values are widened to float64 and summed around a shift close to their mean, so that an offset costs no
// precision, and squares neither overflow nor underflow for any float32. For float64 the shift is the mean,
// computed by an additional pass; for narrower dtypes the mean of the first values is close enough.
#pragma once

#include <algorithm>
#include <cmath>

#include "call.hpp"
#include "pack.hpp"
#include "precision.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

// Sums of a channel's values around `reference`: first = sum(x - reference), second = its squares.
struct Moments {
    double reference = 0.0, first = 0.0, second = 0.0;
    int64_t count = 0;

    void add(const Moments& other) {
        if (count == 0) {
            *this = other;
            return;
        }
        const double delta = other.reference - reference, n = double(other.count);
        first += other.first + n * delta;
        second += other.second + delta * (2.0 * other.first + n * delta);
        count += other.count;
    }
};

// Writes one channel's row of the statistics. The mean is kept to more than float64 (its low part).
inline void store_moments(const Moments& m, double eps, const Statistics& out, int64_t channel) {
    const double n = double(m.count), offset = m.first / n, mean = m.reference + offset;
    const double back = mean - m.reference;  // TwoSum: what was lost in reference + offset
    const double var = (m.second - m.first * offset) / n;
    out.mean[channel] = mean;
    out.mean_low[channel] = (m.reference - (mean - back)) + (offset - back);
    out.var[channel] = var < 0.0 ? 0.0 : var;
    out.inv_std[channel] = 1.0 / std::sqrt(out.var[channel] + eps);
}
inline void store_moments(const Moments& m, const ForwardCall& call, int64_t channel) {
    store_moments(m, call.eps, call.statistics, channel);
}

// How many packs are summed side by side: as many as hide the latency of the adders and still leave
// the sums in registers.
constexpr int chains = BACKNORM_VECTOR_BYTES == 64 ? 2 : 1;

BACKNORM_INLINE Pack<double> joined(const Pack<double>* chain) {
    return chains == 1 ? chain[0] : chain[0] + chain[chains - 1];
}

// The mean of how many of n values serves as the shift: few, since they are read twice.
inline int64_t values_of_shift(int64_t n) { return std::min<int64_t>(2048, std::max<int64_t>(16, n / 32)); }

// Whether the shift was more than two standard deviations off the mean, since the first values were unlike the others:
// then squares of the offset take digits from the variance, and the sums are taken again, around the mean.
inline bool is_far(const Moments& m) {
    const double squares = m.first * m.first;
    return squares > 4.0 * (double(m.count) * m.second - squares);
}

// Sums lane by lane.
struct MomentSums {
    Pack<double> first[chains], second[chains];

    MomentSums() {
        for (int k = 0; k < chains; ++k) first[k] = second[k] = Pack<double>::zero();
    }

    BACKNORM_INLINE void add(int k, const Pack<double>& d) {
        first[k] = first[k] + d;
        second[k] = multiply_add(d, d, second[k]);
    }

    // What lies `ahead` of each value is prefetched.
    template <class S>
    BACKNORM_INLINE void add_run(const S* x, int64_t count, double shift, int64_t ahead = 0) {
        const Pack<double> around = Pack<double>::all(shift);
        MomentSums sums = *this;  // in registers: the compiler must assume that x points at *this
        int64_t i = 0;
        for (; i + chains * lanes <= count; i += chains * lanes)
            BACKNORM_UNROLL for (int k = 0; k < chains; ++k) {
                fetch(x + i + k * lanes + ahead);
                sums.add(k, load<double>(x + i + k * lanes) - around);
            }
        for (; i + lanes <= count; i += lanes) sums.add(0, load<double>(x + i) - around);
        if (i < count) {
            const int tail = int(count - i);
            sums.add(0, keep_end(load_end<double>(x, count, tail) - around, count, tail));
        }
        *this = sums;
    }

    double total_first() const { return total(joined(first)); }
    double total_second() const { return total(joined(second)); }
};

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
