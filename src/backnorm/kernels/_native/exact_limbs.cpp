#include "exact_limbs.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace backnorm {
namespace {

int64_t written(double special) {
    if (special == 0.0) return 0;
    return int64_t(1) << (std::isnan(special) ? 2 * special_bits : special > 0.0 ? 0 : special_bits);
}

double special_of(int64_t limb) {
    constexpr int64_t mask = (int64_t(1) << special_bits) - 1;
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const bool up = limb & mask, down = limb >> special_bits & mask, nan = limb >> (2 * special_bits);
    if (nan || (up && down)) return std::numeric_limits<double>::quiet_NaN();
    return up ? infinity : down ? -infinity : 0.0;
}

void read(ExactSum& sum, const int64_t* limbs, int count, int exponent, double special) {
    for (int k = 0; k < count; ++k) sum.add(limbs[k], exponent + limb_bits * k);
    sum.add_special(special);
}

}  // namespace

void write_limbs(const ExactMoments& m, int64_t* out) {
    m.first.write(value_exponent, limb_bits, value_limbs, out);
    m.second.write(product_exponent, limb_bits, product_limbs, out + value_limbs);
    out[moment_limbs - 1] = written(m.first.special());
}

ExactMoments moments_of(const int64_t* limbs, int64_t count) {
    ExactMoments m;
    m.count = count;
    read(m.first, limbs, value_limbs, value_exponent, special_of(limbs[moment_limbs - 1]));
    read(m.second, limbs + value_limbs, product_limbs, product_exponent, 0.0);
    return m;
}

void write_limbs(const ExactComoments& m, int sides, int64_t* out) {
    for (int side = 0; side < sides; ++side, out += comoment_limbs) {
        m.plain[side].write(value_exponent, limb_bits, value_limbs, out);
        m.size[side].write(value_exponent, limb_bits, value_limbs, out + value_limbs);
        m.product[side].write(product_exponent, limb_bits, product_limbs, out + 2 * value_limbs);
        out[comoment_limbs - 2] = written(m.plain[side].special());
        out[comoment_limbs - 1] = written(m.product[side].special());
    }
}

ExactComoments comoments_of(const int64_t* limbs, int sides) {
    ExactComoments m;
    for (int side = 0; side < sides; ++side, limbs += comoment_limbs) {
        const double plain = special_of(limbs[comoment_limbs - 2]);
        read(m.plain[side], limbs, value_limbs, value_exponent, plain);
        read(m.size[side], limbs + value_limbs, value_limbs, value_exponent, std::fabs(plain));
        read(m.product[side], limbs + 2 * value_limbs, product_limbs, product_exponent,
             special_of(limbs[comoment_limbs - 1]));
    }
    return m;
}

bool to_window(const int64_t* limbs, const SumPlace& place, int low, int64_t* out) {
    // In halves of 64 bits; above the last limb there is its sign.
    const int64_t last = limbs[place.begin + place.count - 1];
    const auto bits_from = [&](int from) {  // 32 bits
        const int k = from / limb_bits, shift = from % limb_bits;
        const auto at = [&](int i) {
            if (i < place.count - 1) return uint64_t(limbs[place.begin + i]);
            const int above = limb_bits * (i - place.count + 1);
            return uint64_t(above < 64 ? last >> above : last >> 63) & 0xffffffff;
        };
        return (at(k) | at(k + 1) << limb_bits) >> shift & 0xffffffff;
    };
    const int shift = low - place.exponent, size = limb_bits * place.count + 64;
    for (int from = 0; from < shift; from += limb_bits) {
        const uint64_t mask = (uint64_t(1) << std::min(limb_bits, shift - from)) - 1;
        if (bits_from(from) & mask) return false;
    }
    const uint64_t sign = last < 0 ? 0xffffffff : 0;
    // The last bit of the window and all above it are the sign.
    for (int from = shift + window_bits * place.narrow - 1; from < size; from += limb_bits)
        if (bits_from(from) != sign) return false;
    for (int k = 0; k < place.narrow; ++k) {
        const int from = shift + window_bits * k;
        const uint64_t all = bits_from(from) | bits_from(from + limb_bits) << limb_bits;
        out[k] = int64_t(k + 1 < place.narrow ? all & ((uint64_t(1) << window_bits) - 1) : all);
    }
    return true;
}

void from_window(const int64_t* narrow, const SumPlace& place, int low, int64_t* limbs) {
    ExactSum sum;
    for (int k = 0; k < place.narrow; ++k) sum.add(narrow[k], low + window_bits * k);
    sum.write(place.exponent, limb_bits, place.count, limbs + place.begin);
}

}  // namespace backnorm
