#include "moment_bins.hpp"

#include <algorithm>
#include <mutex>
#include <vector>

#include "dtypes.hpp"
#include "threads.hpp"

namespace backnorm {
namespace {

inline double wide(float x) { return x; }
inline double wide(double x) { return x; }
inline double wide(bfloat16 x) { return from_bfloat16(x.bits); }
inline double wide(float16 x) { return from_float16(x.bits); }

template <class Body>
void with_values(Dtype dtype, const Body& body) {
    switch (dtype) {
        case Dtype::float32: return body(float());
        case Dtype::float64: return body(double());
        case Dtype::bfloat16: return body(bfloat16());
        case Dtype::float16: return body(float16());
    }
}

constexpr int not_finite = 2046;

struct Bits {
    uint64_t fraction;
    int exponent;  // not_finite: infinity or NaN
    bool negative;

    explicit Bits(double x) {
        const uint64_t all = same_bits<uint64_t>(x);
        const int field = int(all >> 52) & 2047;
        fraction = all & ((uint64_t(1) << 52) - 1);
        if (field) fraction |= uint64_t(1) << 52;
        exponent = std::max(field, 1) - 1;
        negative = all >> 63;
    }
};

// A part of the rows, or of the only row, of every channel.
struct Part {
    int64_t outer_begin, outer_end, inner_begin, inner_end;

    Part(const Shape& s, int64_t index, int64_t parts) {
        const bool rows = s.outer >= s.inner;
        const int64_t length = rows ? s.outer : s.inner;
        const int64_t begin = length * index / parts, end = length * (index + 1) / parts;
        outer_begin = rows ? begin : 0;
        outer_end = rows ? end : s.outer;
        inner_begin = rows ? 0 : begin;
        inner_end = rows ? s.inner : end;
    }
};

// body(channel, value) for each value of the part, in the order of memory.
template <class S, class Body>
void each_value(const Shape& s, const Operand& x, const Part& part, const Body& body) {
    for (int64_t o = part.outer_begin; o < part.outer_end; ++o)
        for (int64_t c = 0; c < s.channels; ++c) {
            const S* run = x.at<S>(o, c);
            for (int64_t i = part.inner_begin; i < part.inner_end; ++i) body(c, wide(run[i]));
        }
}

class Bins {
  public:
    Bins(int64_t* bins, double* special, const ExponentRange& range)
        : bins_(bins), special_(special), low_(range.low), span_(range.high - range.low + 1) {}

    void add(int64_t channel, double x) const {
        const Bits b(x);
        if (b.exponent == not_finite) {
            special_[channel] += x;
            return;
        }
        if (b.fraction == 0) return;
        constexpr uint64_t mask = (uint64_t(1) << digit_bits) - 1;
        int64_t* at = bins_ + channel * digits * span_ + (b.exponent - low_);
        const int64_t sign = b.negative ? -1 : 1;
        at[0] += sign * int64_t(b.fraction & mask);
        at[span_] += sign * int64_t(b.fraction >> digit_bits);
        __extension__ typedef unsigned __int128 Square;
        const Square square = Square(b.fraction) * b.fraction;
        for (int k = 0; k < digits_of_square; ++k)
            at[(digits_of_value + k) * span_] += int64_t(uint64_t(square >> (k * digit_bits)) & mask);
    }

  private:
    int64_t* bins_;
    double* special_;
    int low_;
    int64_t span_;
};

}  // namespace

ExponentRange exponent_range(Dtype dtype, const Shape& shape, const Operand& x, int threads) {
    ExponentRange all{not_finite, -1};
    std::mutex mutex;
    const int64_t parts = threads_for(threads, shape.size(), std::max(shape.outer, shape.inner));
    with_values(dtype, [&](auto s) {
        parallel_for(parts, threads, [&](int64_t index) {
            ExponentRange mine{not_finite, -1};
            each_value<decltype(s)>(shape, x, Part(shape, index, parts), [&](int64_t, double value) {
                const Bits b(value);
                if (b.exponent == not_finite || b.fraction == 0) return;
                mine.low = std::min(mine.low, b.exponent);
                mine.high = std::max(mine.high, b.exponent);
            });
            const std::lock_guard<std::mutex> lock(mutex);
            all = {std::min(all.low, mine.low), std::max(all.high, mine.high)};
        });
    });
    return all;
}

void add_moments(Dtype dtype, const Shape& shape, const Operand& x, const ExponentRange& range, int64_t* bins,
                 double* special, int threads) {
    const int64_t count = shape.channels * digits * std::max(range.high - range.low + 1, 0);
    std::mutex mutex;
    const int64_t parts = threads_for(threads, shape.size(), std::max(shape.outer, shape.inner));
    with_values(dtype, [&](auto s) {
        parallel_for(parts, threads, [&](int64_t index) {
            std::vector<int64_t> mine(size_t(count), 0);
            std::vector<double> odd(size_t(shape.channels), 0.0);
            const Bins into(mine.data(), odd.data(), range);
            each_value<decltype(s)>(shape, x, Part(shape, index, parts),
                                    [&](int64_t channel, double value) { into.add(channel, value); });
            const std::lock_guard<std::mutex> lock(mutex);
            for (int64_t k = 0; k < count; ++k) bins[k] += mine[size_t(k)];
            for (int64_t c = 0; c < shape.channels; ++c) special[c] += odd[size_t(c)];
        });
    });
}

}  // namespace backnorm
