// Sums of float32 values and of their products, kept exactly, and what is computed from them with one rounding.
//
// Compiled once, not for each level: it works on integers, a few numbers for each channel.
#pragma once

#include <cstdint>

#include "call.hpp"

namespace backnorm {

__extension__ typedef __int128 Wide;
__extension__ typedef unsigned __int128 UnsignedWide;

// A sum of numbers value * 2^exponent. Most sums have less than 128 bits between their first and their last one, and are
// a single number of that kind; `word_` then is not used. Others are integers in units of 2^-298, the square of the
// smallest float32, in two's complement, which hold 2^40 squares of the largest float32. Of what is not finite the
// float64 sum is kept: an infinity or NaN, which then is the value.
class ExactSum {
  public:
    static constexpr int words = 10, unit = -298;

    ExactSum() {}  // leaves word_ as it is

    // Adds value * 2^exponent; what lies below the unit must be 0.
    void add(Wide value, int exponent);
    void add(const ExactSum& other);
    void add_special(double value) { special_ += value; }

    bool finite() const { return special_ == 0.0; }
    double special() const { return special_; }
    bool many() const { return many_; }
    const uint64_t* begin() const { return word_; }
    Wide value() const { return value_; }
    int exponent() const { return exponent_; }
    // Writes `count` integers of `bits` bits each, of which the last one has the sign; the first counts 2^exponent.
    void write(int exponent, int bits, int count, int64_t* out) const;

  private:
    void set(Wide value, int exponent) {
        value_ = value;
        exponent_ = exponent;
    }
    void add_words(Wide value, int exponent);
    void add_words(const ExactSum& other);
    void spread();

    Wide value_ = 0;
    double special_ = 0.0;
    int exponent_ = 0;
    bool many_ = false;
    uint64_t word_[words];
};

// Sums of a channel's values and of their squares.
struct ExactMoments {
    ExactSum first, second;
    int64_t count = 0;

    void add(const ExactMoments& other);
};

// Sums of a channel's gradients, of their sizes, and of their products with x. In [0] those with slope 1 of the
// activation, in [1] those with leaky_relu's other slope, by which they are multiplied at the end.
struct ExactComoments {
    ExactSum plain[2], size[2], product[2];

    void add(const ExactComoments& other);
};

// Writes one channel's row of the statistics: mean, its low part and var, each rounded once.
void store_moments(const ExactMoments& m, double eps, const Statistics& out, int64_t channel);
// The same for a call; or writes its limbs.
void store_moments(const ExactMoments& m, const ForwardCall& call, int64_t channel);

// Writes dgamma and dbeta of a channel, and returns the sum of |dz|; or writes the limbs.
double store_sums(const ExactComoments& m, const BackwardCall& call, int64_t channel);

// Sums of any values, one at a time: integers by exponent. For channels whose values no window holds.
class MomentBins {
  public:
    void add(float x);
    void add_to(ExactMoments& sums) const;

  private:
    int64_t first_[256] = {}, low_[256] = {}, high_[256] = {};
    double special_first_ = 0.0, special_second_ = 0.0;
};

class ComomentBins {
  public:
    // dz belongs to a side of ExactComoments.
    void add(int side, float dz, float x);
    void add_to(ExactComoments& sums) const;

  private:
    struct Side {
        int64_t plain[256] = {}, size[256] = {}, low[512] = {}, high[512] = {};
        double special_plain = 0.0, special_product = 0.0;
    };
    Side side_[2];
};

}  // namespace backnorm
