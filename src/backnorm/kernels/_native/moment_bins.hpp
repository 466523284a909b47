// Exact sums of values and squares as integers by exponent, for data that come in parts: see ../exact_moments.py.
#pragma once

#include "call.hpp"

namespace backnorm {

// Of the finite values but 0, each seen as a float64 mantissa * 2^(exponent - 1074). low > high: there is none.
struct ExponentRange {
    int low, high;
};
ExponentRange exponent_range(Dtype dtype, const Shape& shape, const Operand& x, int threads);

// The mantissa has 2 digits of 27 bits, its square 4. Bin [channel][digit][exponent - low] is the sum of that digit, the
// first two of the values and the next four of the squares.
constexpr int digits_of_value = 2, digits_of_square = 4, digit_bits = 27;
constexpr int digits = digits_of_value + digits_of_square;

// Adds to the bins, of which there are channels x digits x (high - low + 1), and to the sums of what is not finite.
void add_moments(Dtype dtype, const Shape& shape, const Operand& x, const ExponentRange& range, int64_t* bins,
                 double* special, int threads);

}  // namespace backnorm
