// What a call is: plain data, filled by the bindings, read by every level.
#pragma once

#include <cstdint>

namespace backnorm {

enum class Dtype : int { float32 = 0, float64 = 1, bfloat16 = 2, float16 = 3 };
// Every activation: its name, its code, and whether its input can be computed from its output. The Python
// table in ../activations.py says the same, which a test compares. Its struct stands in activation.hpp.
#define BACKNORM_ACTIVATIONS(line) \
    line(identity, 0, true)        \
    line(relu, 1, false)           \
    line(relu6, 2, false)          \
    line(leaky_relu, 3, true)

#define BACKNORM_CODE(name, code, invertible) name = code,
enum class Activation : int { BACKNORM_ACTIVATIONS(BACKNORM_CODE) };
#undef BACKNORM_CODE

constexpr bool is_invertible(Activation kind) {
#define BACKNORM_IS(name, code, invertible) \
    if (kind == Activation::name) return invertible;
    BACKNORM_ACTIVATIONS(BACKNORM_IS)
#undef BACKNORM_IS
    return false;
}

// The activation with this code; an exception if the code is unknown.
Activation activation_of(int code);

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

// y may be x itself: then x's memory becomes y. With `limbs` the exact sums of x are written there, and nothing else: neither
// statistics nor y, which is absent.
struct ForwardCall {
    Shape shape;
    Dtype dtype;
    Operand x, y, residual;
    const double *gamma, *beta;  // null: 1 and 0
    Statistics statistics;
    bool frozen;
    double eps;
    Activation activation;
    double slope;
    int threads;
    bool exact;  // the law of exact sums, see docs/numerics.md
    // Of how many values of a channel the frozen statistics are, if they are those of a batch of which x is a part; else 0.
    int64_t total = 0;
    int64_t* limbs = nullptr;  // see exact_limbs.hpp

    int64_t values() const { return total ? total : shape.per_channel(); }
};

// With `limbs` the exact sums are written there, and nothing else: dx and dresidual are absent. With `measures` the sums
// dgamma and dbeta are given, and these are the sums of |dz|.
struct BackwardCall {
    Shape shape;
    Dtype dtype;
    Operand dy, x, y, dx, dresidual;  // y only with an activation; dx and dresidual may be absent
    double *dgamma, *dbeta;
    const double *gamma, *beta;  // beta only with `recomputable`
    Statistics statistics;
    // Whether y was computed from x only, with no residual and at this level: then it can be computed again,
    // which is faster than to read it.
    bool recomputable;
    bool frozen, through_mean, through_variance;
    bool add_dx, add_dresidual;
    Activation activation;
    double slope;
    double inverse_slope;  // 1/slope where x holds the activation's output, else 1: see undo_activation
    int threads;
    bool exact;
    int64_t total = 0;  // of how many values of a channel the sums are, if x is a part of a batch; else 0
    int64_t* limbs = nullptr;
    const double* measures = nullptr;

    int64_t values() const { return total ? total : shape.per_channel(); }
};

struct Level {
    const char* name;
    void (*forward)(const ForwardCall&);
    // False, and nothing is written, if the output is needed and neither given nor computed again.
    bool (*backward)(const BackwardCall&);
};

}  // namespace backnorm
