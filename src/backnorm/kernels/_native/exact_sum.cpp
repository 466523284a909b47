#include "exact_sum.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "dtypes.hpp"
#include "exact_limbs.hpp"

namespace backnorm {
namespace {

// ---- numbers of any size: (-1)^negative * words * 2^exponent

struct Number {
    // The widest is the sum of a product of three float64 with an ExactSum and of such a sum alone.
    static constexpr int most = 96;
    bool negative = false;
    int exponent = 0, count = 0;
    uint64_t word[most];

    Number() {}
    Number(const Number& other) { *this = other; }
    Number& operator=(const Number& other) {  // the words that are used
        negative = other.negative;
        exponent = other.exponent;
        count = other.count;
        std::copy_n(other.word, count, word);
        return *this;
    }
};

void trim(Number& a) {
    while (a.count && a.word[a.count - 1] == 0) --a.count;
    int low = 0;
    while (low < a.count && a.word[low] == 0) ++low;
    if (!low) return;
    std::copy(a.word + low, a.word + a.count, a.word);
    a.count -= low;
    a.exponent += 64 * low;
}

Number number_of(const ExactSum& sum) {
    Number a;
    if (!sum.many()) {
        const Wide value = sum.value();
        const UnsignedWide size = value < 0 ? -UnsignedWide(value) : UnsignedWide(value);
        a.negative = value < 0;
        a.exponent = sum.exponent();
        a.word[0] = uint64_t(size);
        a.word[1] = uint64_t(size >> 64);
        a.count = 2;
        trim(a);
        return a;
    }
    a.exponent = ExactSum::unit;
    a.count = ExactSum::words;
    std::copy_n(sum.begin(), a.count, a.word);
    a.negative = int64_t(a.word[a.count - 1]) < 0;
    if (a.negative) {
        uint64_t carry = 1;
        for (int k = 0; k < a.count; ++k) {
            a.word[k] = ~a.word[k] + carry;
            carry = carry && a.word[k] == 0;
        }
    }
    trim(a);
    return a;
}

Number number_of(uint64_t value) {
    Number a;
    a.count = value != 0;
    a.word[0] = value;
    return a;
}

Number number_of(double value) {  // finite
    const uint64_t bits = same_bits<uint64_t>(value), fraction = bits & ((uint64_t(1) << 52) - 1);
    const int exponent = int(bits >> 52) & 2047;
    Number a = number_of(exponent ? fraction | uint64_t(1) << 52 : fraction);
    a.negative = bits >> 63;
    a.exponent = std::max(exponent, 1) - 1075;
    return a;
}

Number operator*(const Number& a, const Number& b) {
    Number r;
    r.negative = a.negative != b.negative;
    r.exponent = a.exponent + b.exponent;
    r.count = a.count + b.count;
    std::fill_n(r.word, r.count, 0);
    for (int i = 0; i < a.count; ++i) {
        uint64_t carry = 0;
        for (int j = 0; j < b.count; ++j) {
            const UnsignedWide p = UnsignedWide(a.word[i]) * b.word[j] + r.word[i + j] + carry;
            r.word[i + j] = uint64_t(p);
            carry = uint64_t(p >> 64);
        }
        r.word[i + b.count] = carry;
    }
    trim(r);
    return r;
}

// a's words, moved so that they count 2^exponent, which is not above a's; `count` words.
void place(const Number& a, int exponent, uint64_t* out, int count) {
    const int shift = a.exponent - exponent, whole = shift / 64, bits = shift % 64;
    std::fill_n(out, count, 0);
    for (int k = 0; k < a.count; ++k) {
        out[whole + k] |= a.word[k] << bits;
        if (bits) out[whole + k + 1] |= a.word[k] >> (64 - bits);
    }
}

Number operator+(const Number& a, const Number& b) {
    if (!a.count) return b;
    if (!b.count) return a;
    Number r;
    r.exponent = std::min(a.exponent, b.exponent);
    const int top = std::max(a.exponent + 64 * a.count, b.exponent + 64 * b.count);
    r.count = (top - r.exponent + 63) / 64 + 1;
    uint64_t other[Number::most];
    place(a, r.exponent, r.word, r.count);
    place(b, r.exponent, other, r.count);
    r.negative = a.negative;
    if (a.negative == b.negative) {
        uint64_t carry = 0;
        for (int k = 0; k < r.count; ++k) {
            const UnsignedWide s = UnsignedWide(r.word[k]) + other[k] + carry;
            r.word[k] = uint64_t(s);
            carry = uint64_t(s >> 64);
        }
    } else {
        uint64_t borrow = 0;
        for (int k = 0; k < r.count; ++k) {
            const UnsignedWide s = UnsignedWide(r.word[k]) - other[k] - borrow;
            r.word[k] = uint64_t(s);
            borrow = uint64_t(s >> 64) != 0;
        }
        if (borrow) {  // b was larger
            r.negative = !r.negative;
            uint64_t carry = 1;
            for (int k = 0; k < r.count; ++k) {
                r.word[k] = ~r.word[k] + carry;
                carry = carry && r.word[k] == 0;
            }
        }
    }
    trim(r);
    return r;
}

Number operator-(const Number& a, Number b) {
    b.negative = !b.negative;
    return a + b;
}

int bits_of(const Number& a) {
    return a.count ? 64 * a.count - __builtin_clzll(a.word[a.count - 1]) : 0;
}

// The nearest float64; `more` tells of something smaller than the last bit. Ties to even.
double rounded(const Number& a, bool more = false) {
    if (!a.count) return 0.0;
    const int lead = __builtin_clzll(a.word[a.count - 1]);
    uint64_t m = a.word[a.count - 1] << lead;
    int used = a.count - 1;
    if (lead && used) {
        m |= a.word[used - 1] >> (64 - lead);
        more = more || (a.word[used - 1] << lead) != 0;
        --used;
    }
    for (; used > 0; --used) more = more || a.word[used - 1] != 0;
    const int exponent = a.exponent + 64 * (a.count - 1) - lead;  // of m's last bit
    const int drop = 11 + std::max(0, -1022 - (exponent + 63));   // subnormal numbers have fewer bits
    double result = 0.0;
    if (drop < 64) {
        const uint64_t half = uint64_t(1) << (drop - 1), rest = m & (2 * half - 1);
        uint64_t kept = m >> drop;
        if (rest > half || (rest == half && (more || (kept & 1)))) ++kept;
        result = std::ldexp(double(kept), exponent + drop);
    } else if (drop == 64 && (m > uint64_t(1) << 63 || more)) {
        result = std::numeric_limits<double>::denorm_min();
    }
    return a.negative ? -result : result;
}

// a / n^times, rounded once.
double quotient(Number a, uint64_t n, int times) {
    if (!a.count) return 0.0;
    // Room for 66 bits of the quotient: then the remainder tells only whether anything is left.
    const int wanted = 66 + times * (64 - __builtin_clzll(n)) - bits_of(a);
    const int zeros = wanted > 0 ? (wanted + 63) / 64 : 0;
    std::copy_backward(a.word, a.word + a.count, a.word + a.count + zeros);
    std::fill_n(a.word, zeros, 0);
    a.count += zeros;
    a.exponent -= 64 * zeros;
    bool more = false;
    for (; times > 0; --times) {
        uint64_t remainder = 0;
        for (int k = a.count; k-- > 0;) {
            const UnsignedWide dividend = UnsignedWide(remainder) << 64 | a.word[k];
            a.word[k] = uint64_t(dividend / n);
            remainder = uint64_t(dividend % n);
        }
        more = more || remainder != 0;
        while (a.count && a.word[a.count - 1] == 0) --a.count;
    }
    return rounded(a, more);
}

double value_of(const ExactSum& s) { return s.finite() ? rounded(number_of(s)) : s.special(); }

// inside + factor*outside; `finite` is false, and the float64 value in `special`, if one of the sums is not finite.
struct Combined {
    Number exact;
    bool finite;
    double special;

    Combined(const ExactSum* side, double factor, double more = 1.0) {
        finite = side[0].finite() && side[1].finite();
        special = side[0].special() + factor * side[1].special();
        if (!finite) return;
        exact = number_of(side[0]);
        const Number outside = number_of(side[1]);
        if (!outside.count) return;
        const Number scaled = outside * number_of(factor);
        exact = exact + (more == 1.0 ? scaled : scaled * number_of(more));
    }
    double value() const { return finite ? rounded(exact) : special; }
};

// ---- float32 as integers

struct Parts {
    int64_t mantissa;
    int exponent;  // the value is mantissa * 2^(exponent - 149)
    bool finite;
};

inline Parts parts_of(float x) {
    const uint32_t bits = same_bits<uint32_t>(x);
    const int exponent = int(bits >> 23) & 255;
    const int64_t fraction = bits & 0x7fffff, mantissa = exponent ? fraction | 0x800000 : fraction;
    return {bits >> 31 ? -mantissa : mantissa, std::max(exponent, 1) - 1, exponent != 255};
}

constexpr int half_bits = 24;
inline int64_t low_half(int64_t product) { return product & ((int64_t(1) << half_bits) - 1); }

// C++17 has no left shift of a negative number.
Wide up_by(Wide value, int bits) { return Wide(UnsignedWide(value) << bits); }

// Whether the number, moved up, has room for a sum with another one.
bool fits(Wide value, int up) {
    constexpr int most = 125;
    if (up > most) return false;
    const Wide bound = Wide(1) << (most - up);
    return value < bound && value > -bound;
}

void add_all(ExactSum& sum, const int64_t* bins, int count, int exponent) {
    for (int k = 0; k < count; ++k)
        if (bins[k]) sum.add(bins[k], exponent + k);
}

}  // namespace

void ExactSum::add(Wide value, int exponent) {
    if (value == 0) return;
    if (!many_) {
        if (value_ == 0) return set(value, exponent);
        const int up = exponent - exponent_;
        if (up >= 0 && fits(value, up) && fits(value_, 0)) {
            value_ += up_by(value, up);
            return;
        }
        if (up < 0 && fits(value_, -up) && fits(value, 0)) return set(up_by(value_, -up) + value, exponent);
    }
    add_words(value, exponent);
}

void ExactSum::add(const ExactSum& other) {
    special_ += other.special_;
    if (other.many_) add_words(other);
    else add(other.value_, other.exponent_);
}

void ExactMoments::add(const ExactMoments& other) {
    first.add(other.first);
    second.add(other.second);
    count += other.count;
}

void ExactComoments::add(const ExactComoments& other) {
    for (int side = 0; side < 2; ++side) {
        plain[side].add(other.plain[side]);
        size[side].add(other.size[side]);
        product[side].add(other.product[side]);
    }
}

void ExactSum::spread() {
    std::fill_n(word_, words, 0);
    many_ = true;
    const Wide value = value_;
    value_ = 0;
    add_words(value, exponent_);
}

void ExactSum::add_words(Wide value, int exponent) {
    if (!many_) spread();
    int shift = exponent - unit;
    if (shift < 0) {
        value >>= -shift;
        shift = 0;
    }
    if (value == 0) return;
    const int whole = shift / 64, bits = shift % 64;
    const uint64_t low = uint64_t(value), high = uint64_t(value >> 64), sign = value < 0 ? ~uint64_t(0) : 0;
    const uint64_t part[3] = {low << bits, bits ? high << bits | low >> (64 - bits) : high,
                              bits ? sign << bits | high >> (64 - bits) : sign};
    unsigned char carry = 0;
    for (int k = whole; k < words; ++k) {
        const uint64_t add = k - whole < 3 ? part[k - whole] : sign;
        if (k - whole >= 3 && add + carry == 0) break;  // nothing changes any more
        const UnsignedWide s = UnsignedWide(word_[k]) + add + carry;
        word_[k] = uint64_t(s);
        carry = (unsigned char)(s >> 64);
    }
}

void ExactSum::add_words(const ExactSum& other) {
    if (!many_) spread();
    uint64_t carry = 0;
    for (int k = 0; k < words; ++k) {
        const UnsignedWide s = UnsignedWide(word_[k]) + other.word_[k] + carry;
        word_[k] = uint64_t(s);
        carry = uint64_t(s >> 64);
    }
}

void ExactSum::write(int exponent, int bits, int count, int64_t* out) const {
    ExactSum wide;
    wide.add(*this);
    if (!wide.many_) wide.spread();
    const uint64_t sign = int64_t(wide.word_[words - 1]) < 0 ? ~uint64_t(0) : 0;
    for (int k = 0; k < count; ++k) {
        const int from = exponent - unit + bits * k, word = from / 64, shift = from % 64;
        const uint64_t above = word + 1 < words ? wide.word_[word + 1] : sign;
        const uint64_t all = shift ? wide.word_[word] >> shift | above << (64 - shift) : wide.word_[word];
        out[k] = int64_t(k + 1 < count ? all & ((uint64_t(1) << bits) - 1) : all);
    }
}

void store_moments(const ExactMoments& m, double eps, const Statistics& out, int64_t channel) {
    const uint64_t n = uint64_t(m.count);
    if (m.first.finite() && m.second.finite()) {
        const Number first = number_of(m.first), count = number_of(n);
        const double mean = quotient(first, n, 1);
        out.mean[channel] = mean;
        out.mean_low[channel] = quotient(first - count * number_of(mean), n, 1);
        out.var[channel] = quotient(count * number_of(m.second) - first * first, n, 2);
    } else {
        out.mean[channel] = value_of(m.first) / double(n);
        out.mean_low[channel] = 0.0;
        out.var[channel] = std::numeric_limits<double>::quiet_NaN();
    }
    out.inv_std[channel] = 1.0 / std::sqrt(out.var[channel] + eps);
}

void store_moments(const ExactMoments& m, const ForwardCall& call, int64_t channel) {
    if (call.limbs) write_limbs(m, call.limbs + channel * moment_limbs);
    else store_moments(m, call.eps, call.statistics, channel);
}

double store_sums(const ExactComoments& m, const BackwardCall& call, int64_t channel) {
    if (call.limbs) {
        const int sides = sides_of(call.activation);
        write_limbs(m, sides, call.limbs + channel * sides * comoment_limbs);
        return 0.0;
    }
    const double mean = call.statistics.mean[channel], low = call.statistics.mean_low[channel];
    const Combined plain(m.plain, call.slope), product(m.product, call.slope, call.inverse_slope);
    double centred;
    if (plain.finite && product.finite && std::isfinite(mean) && std::isfinite(low))
        centred = rounded(product.exact - plain.exact * (number_of(mean) + number_of(low)));
    else centred = product.value() - mean * plain.value();
    call.dgamma[channel] = centred * call.statistics.inv_std[channel];
    call.dbeta[channel] = plain.value();
    return Combined(m.size, call.slope).value();
}

void MomentBins::add(float x) {
    const Parts p = parts_of(x);
    if (!p.finite) {
        special_first_ += double(x);
        special_second_ += double(x) * double(x);
        return;
    }
    const int64_t product = p.mantissa * p.mantissa;
    first_[p.exponent] += p.mantissa;
    low_[p.exponent] += low_half(product);
    high_[p.exponent] += product >> half_bits;
}

void MomentBins::add_to(ExactMoments& sums) const {
    sums.first.add_special(special_first_);
    sums.second.add_special(special_second_);
    add_all(sums.first, first_, 256, -149);
    for (int k = 0; k < 256; ++k) {
        if (low_[k]) sums.second.add(low_[k], 2 * k - 298);
        if (high_[k]) sums.second.add(high_[k], 2 * k - 298 + half_bits);
    }
}

void ComomentBins::add(int side, float dz, float x) {
    Side& s = side_[side];
    const Parts p = parts_of(dz), q = parts_of(x);
    if (p.finite) {
        s.plain[p.exponent] += p.mantissa;
        s.size[p.exponent] += std::abs(p.mantissa);
    } else {
        s.special_plain += double(dz);
    }
    if (!p.finite || !q.finite) {
        s.special_product += double(dz) * double(x);
        return;
    }
    const int64_t product = p.mantissa * q.mantissa;
    s.low[p.exponent + q.exponent] += low_half(product);
    s.high[p.exponent + q.exponent] += product >> half_bits;
}

void ComomentBins::add_to(ExactComoments& sums) const {
    for (int side = 0; side < 2; ++side) {
        const Side& s = side_[side];
        sums.plain[side].add_special(s.special_plain);
        sums.size[side].add_special(std::fabs(s.special_plain));
        sums.product[side].add_special(s.special_product);
        add_all(sums.plain[side], s.plain, 256, -149);
        add_all(sums.size[side], s.size, 256, -149);
        add_all(sums.product[side], s.low, 512, -298);
        add_all(sums.product[side], s.high, 512, -298 + half_bits);
    }
}

}  // namespace backnorm
