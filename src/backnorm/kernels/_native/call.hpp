// What a call is: plain data, filled by the bindings, read by every level.
#pragma once

#include <cstdint>

namespace backnorm {

enum class Format : int { float32 = 0, float64 = 1, bfloat16 = 2, float16 = 3 };
enum class Activation : int { identity = 0, relu = 1, relu6 = 2, leaky_relu = 3 };

struct Shape {
    int64_t outer, channels, inner;
    int64_t per_channel() const { return outer * inner; }
    int64_t size() const { return outer * channels * inner; }
};

// An array of shape (outer, channels, inner); strides in elements, inner stride 1.
struct Operand {
    void* data = nullptr;
    int64_t outer_stride = 0, channel_stride = 0;

    template <class S>
    S* at(int64_t outer, int64_t channel) const {
        return static_cast<S*>(data) + outer * outer_stride + channel * channel_stride;
    }
    explicit operator bool() const { return data != nullptr; }
};

// Rows of length `channels`: mean, the mean's low part, biased variance, 1/sqrt(var + eps).
struct Statistics {
    double *mean, *mean_low, *var, *inv_std;
};

// y may be x itself: then x's memory becomes y.
struct ForwardCall {
    Shape shape;
    Format format;
    Operand x, y, residual;
    const double *gamma, *beta;  // null: 1 and 0
    Statistics statistics;
    bool frozen;
    double eps;
    Activation activation;
    double slope;
    int threads;
};

struct BackwardCall {
    Shape shape;
    Format format;
    Operand dy, x, y, dx, dresidual;  // y only with an activation; dx and dresidual may be absent
    double *dgamma, *dbeta;
    const double *gamma, *beta;  // beta only with `alone`
    Statistics statistics;
    // Whether y came from x alone, with nothing added and at this level: then it can be made again, which
    // is faster than to read it.
    bool alone;
    bool frozen, through_mean, through_variance;
    bool add_dx, add_dresidual;
    Activation activation;
    double slope;
    double back;  // what x below 0 is multiplied by: 1/slope where x is leaky_relu's output, else 1
    int threads;
};

struct Level {
    const char* name;
    void (*forward)(const ForwardCall&);
    void (*backward)(const BackwardCall&);
};

}  // namespace backnorm
