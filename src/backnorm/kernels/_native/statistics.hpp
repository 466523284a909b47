// Mean and variance in one pass over memory.
//
// Values are widened to float64 and summed around a shift close to their mean, so that an offset
// costs no digits, and squares neither overflow nor underflow for any float32. For float64 itself the
// shift is the mean, from a pass of its own; for the others, that of the first values is close enough.
#pragma once

#include <cmath>
#include <type_traits>

#include "call.hpp"
#include "pack.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

template <class S>
constexpr bool is_double = std::is_same<S, double>::value;

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

// Sums lane by lane; several chains hide the latency of the adders.
struct MomentSums {
    static constexpr int chains = BACKNORM_VECTOR_BYTES == 16 ? 1 : 2;
    Pack first[chains], second[chains];

    MomentSums() {
        for (int k = 0; k < chains; ++k) first[k] = second[k] = Pack::zero();
    }

    BACKNORM_INLINE void add(int k, const Pack& d) {
        first[k] = first[k] + d;
        second[k] = multiply_add(d, d, second[k]);
    }

    template <class S>
    BACKNORM_INLINE void add_run(const S* x, int64_t count, double shift) {
        const Pack around = Pack::all(shift);
        int64_t i = 0;
        for (; i + chains * lanes <= count; i += chains * lanes)
            BACKNORM_UNROLL for (int k = 0; k < chains; ++k)
                add(k, load(x + i + k * lanes) - around);
        for (; i + lanes <= count; i += lanes) add(0, load(x + i) - around);
        if (i < count) {
            const int rest = int(count - i);
            add(0, (load_part(x + i, rest) - around) * first_lanes(rest));
        }
    }

    double total_first() const { return total(joined(first)); }
    double total_second() const { return total(joined(second)); }

  private:
    static BACKNORM_INLINE Pack joined(const Pack* chain) {
        return chains == 1 ? chain[0] : chain[0] + chain[chains - 1];
    }
};

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
