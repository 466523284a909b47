// Exact sums as limbs: integers of 64 bits that hold 32 bits of a sum each. So the limbs of 2^31 parts of a batch can be
// added, each for itself, and the result is that of the whole batch. kernels/exact_limbs.py knows the same layout.
#pragma once

#include "exact_sum.hpp"

namespace backnorm {

// The sums of values count 2^-149, those of products 2^-298, and hold 2^40 of the largest ones.
constexpr int limb_bits = 32, value_limbs = 10, product_limbs = 19;
constexpr int value_exponent = -149, product_exponent = -298;

// Of a channel: the sum of x, the sum of x*x, and what is not finite.
constexpr int moment_limbs = value_limbs + product_limbs + 1;
// Of a channel, for each side of the activation: the sums of dz, of |dz| and of dz*x; what of dz is not finite, and what of
// dz*x.
constexpr int comoment_limbs = 2 * value_limbs + product_limbs + 2;

// How many slopes other than 0 the activation has: with two of them the sums are taken apart.
inline int sides_of(Activation kind) { return kind == Activation::leaky_relu ? 2 : 1; }

// How many parts had infinity, -infinity and NaN as the sum of what is not finite stands in fields of so many bits.
constexpr int special_bits = 21;

void write_limbs(const ExactMoments& m, int64_t* out);
void write_limbs(const ExactComoments& m, int sides, int64_t* out);

// The sums of a channel again. Those of x*x count as finite: they are used only where those of x are.
ExactMoments moments_of(const int64_t* limbs, int64_t count);
ExactComoments comoments_of(const int64_t* limbs, int sides);

// One sum among the limbs of a channel: where it begins, its limbs, what the first one counts, its limbs in a window.
struct SumPlace {
    int begin, count, exponent, narrow;
};
// The same sums in a window, for the usual values: a limb holds 46 bits, so that those of 2^17 parts can be added. A
// window begins at 2^low. False if a sum, or what is not finite, does not fit.
constexpr int window_bits = 46;
bool to_window(const int64_t* limbs, const SumPlace& place, int low, int64_t* out);
void from_window(const int64_t* narrow, const SumPlace& place, int low, int64_t* limbs);

}  // namespace backnorm
