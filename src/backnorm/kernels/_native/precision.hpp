// In which format a channel's results are computed: float32 twice as fast, or float64.
//
// Sums are always taken in float64. A result is a few roundings away from them, and with float32 it
// keeps the budget (docs/numerics.md) unless coefficients leave float32's range, or the parts of the
// gradient cancel. That is decided for each channel from its sums alone, so that no channel's bits
// depend on another's values.
#pragma once

#include <cmath>
#include <type_traits>

#include "pieces.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

template <class S>
constexpr bool is_double = std::is_same<S, double>::value;

// What results in the storage format S are computed in, as a rule.
template <class S>
using Fast = std::conditional_t<is_double<S>, double, float>;

constexpr double largest_mean = 0x1p100;         // any float32 minus it is finite
constexpr double largest_coefficient = 0x1p126;  // a sum of two of them is finite
constexpr double smallest_coefficient = 0x1p-126;

inline bool keeps_digits(double coefficient) {
    const double size = std::fabs(coefficient);
    return size == 0.0 || (size >= smallest_coefficient && size <= largest_coefficient);
}

// Whether factor times any of some values, the squares of which sum up to `squares`, is at most half of
// the largest coefficient.
inline bool stays_small(double factor, double squares) {
    constexpr double most = largest_coefficient / 2;
    return factor == 0.0 || factor * factor * squares <= most * most;
}

// Calls body(T()) with the format that results are computed in.
template <class S, class Body>
inline void in_precision(bool fits_float, Body&& body) {
    if constexpr (!is_double<S>)
        if (fits_float) return body(float());
    body(double());
}

// The squares of the gradient make up at least half of those of what arrives: then the roundings of
// the parts, which are relative to the parts, are small against the gradient too. With a quarter, one
// channel of 1100 with five values each was 2.5 units off instead of 2.3 (no fused multiply-add).
constexpr double least_share = 0.5;

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
