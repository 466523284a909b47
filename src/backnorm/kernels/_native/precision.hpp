// The dtype in which a channel's results are computed: float32, which is twice as fast, or float64.
//
// Sums are always taken in float64. A result is a few roundings away from them, and with float32 it
// keeps the budget (docs/numerics.md) unless coefficients leave float32's range, or the parts of the
// gradient cancel. The choice is made for each channel from its sums only, so that no channel's bits
// depend on the values of another.
#pragma once

#include <cmath>
#include <type_traits>

#include "pieces.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

template <class S>
constexpr bool is_double = std::is_same<S, double>::value;

// How sums are taken. `exact` means integers for the narrow dtypes, and a fixed tree for float64.
enum class Law { float64, exact };
template <class S, Law law>
constexpr bool by_integers = law == Law::exact && !is_double<S>;
template <class S, Law law>
constexpr bool by_tree = law == Law::exact && is_double<S>;

// The usual dtype of the computation for results stored as S.
template <class S>
using Fast = std::conditional_t<is_double<S>, double, float>;

constexpr double largest_mean = 0x1p100;         // any float32 minus it is finite
constexpr double largest_coefficient = 0x1p126;  // a sum of two of them is finite
constexpr double smallest_coefficient = 0x1p-126;

inline bool in_float_range(double coefficient) {
    const double size = std::fabs(coefficient);
    return size == 0.0 || (size >= smallest_coefficient && size <= largest_coefficient);
}

// Whether |factor*v| is at most half of the largest coefficient for all values v whose squares add up to
// `squares`.
inline bool stays_small(double factor, double squares) {
    constexpr double most = largest_coefficient / 2;
    return factor == 0.0 || factor * factor * squares <= most * most;
}

// Calls body(T()) with the dtype of the computation.
template <class S, class Body>
inline void in_precision(bool fits_float, Body&& body) {
    if constexpr (!is_double<S>)
        if (fits_float) return body(float());
    body(double());
}

// float32 only where the squares of dx are at least this share of the squares of scale*dz: then rounding errors,
// which are relative to the parts of the gradient, are small relative to their sum too. With a quarter, one
// channel of 1100 with five values each was 2.5 units off instead of 2.3 (without fused multiply-add).
constexpr double least_share = 0.5;

// Nor where the mean square of dz is below this. A product of dy and a slope, in float32, may be off by 2^-150, half of
// the smallest float32, and dx by scale times that. From here on it is less than 2^-8 of a unit of dx. With dy of 1e-41
// and a scale of 1e4 it was 64000 units.
constexpr double least_mean_square = 0x1p-236;
constexpr double least_mean_size = 0x1p-118;  // its root

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
