// The two passes of the backward: the sums of dz, dz*(x - mean) and dz^2 in float64, then dx in float32
// or float64. dz is the gradient with respect to the activation's input.
#pragma once

#include <cmath>

#include "activation.hpp"
#include "call.hpp"
#include "output.hpp"
#include "pack.hpp"
#include "precision.hpp"
#include "statistics.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

// Sums of a channel: dz, dz*(x - mean), dz^2.
struct Comoments {
    double plain = 0.0, product = 0.0, square = 0.0;
    void add(const Comoments& other) {
        plain += other.plain;
        product += other.product;
        square += other.square;
    }
};

// Returns the sum of dz^2, from which `GradientChannel` chooses the dtype of dx.
inline double store_sums(const Comoments& m, const BackwardCall& call, int64_t c) {
    const Statistics& s = call.statistics;  // the sums were taken around mean without its low part
    call.dgamma[c] = (m.product - s.mean_low[c] * m.plain) * s.inv_std[c];
    call.dbeta[c] = m.plain;
    return m.square;
}

// Sums lane by lane. The squares serve only to choose a dtype: float64 needs no squares.
template <class S>
struct ComomentSums {
    Pack<double> plain[chains], product[chains], square[chains];

    ComomentSums() {
        for (int k = 0; k < chains; ++k)
            plain[k] = product[k] = square[k] = Pack<double>::zero();
    }

    BACKNORM_INLINE void add(int k, const Pack<double>& dz, const Pack<double>& d) {
        plain[k] = plain[k] + dz;
        product[k] = multiply_add(dz, d, product[k]);
        if constexpr (!is_double<S>) square[k] = multiply_add(dz, dz, square[k]);
    }

    // The memory that a run reads, and how far ahead it is prefetched.
    struct Run {
        const S *dy, *x;
        int64_t count, dy_ahead, x_ahead;
    };

    template <Activation kind, class Output>
    BACKNORM_INLINE void add_run(const Run& run, const Output& output, double mean, double slope,
                                 double inverse_slope) {
        const Pack<double> around = Pack<double>::all(mean);
        ComomentSums sums = *this;  // in registers, as in MomentSums
        const auto full = [&](int k, int64_t i) BACKNORM_LAMBDA {
            fetch(run.dy + i + run.dy_ahead);
            fetch(run.x + i + run.x_ahead);
            const Pack<double> dy = load<double>(run.dy + i);
            const Pack<double> out = output.template of<double>(Whole{i});
            const Pack<double> x = undo_activation<kind>(load<double>(run.x + i), inverse_slope);
            sums.add(k, grad_through_activation<kind>(dy, out, slope), x - around);
        };
        int64_t i = 0;
        for (; i + chains * lanes <= run.count; i += chains * lanes)
            BACKNORM_UNROLL for (int k = 0; k < chains; ++k) full(k, i + k * lanes);
        for (; i + lanes <= run.count; i += lanes) full(0, i);
        if (i < run.count) {
            const int tail = int(run.count - i);
            const End end{run.count, tail};
            const Pack<double> dy = end.template read<double>(run.dy);
            const Pack<double> out = output.template of<double>(end);
            const Pack<double> x = undo_activation<kind>(end.template read<double>(run.x), inverse_slope);
            sums.add(0, keep_end(grad_through_activation<kind>(dy, out, slope), run.count, tail),
                     keep_end(x - around, run.count, tail));
        }
        *this = sums;
    }

    Comoments totals() const {
        return {total(joined(plain)), total(joined(product)), total(joined(square))};
    }
};

// A channel's coefficients. In float64 dx = scale*((dz - b) - (x - mean)*c), where b is mean(dz),
// with what the mean's low part says, and c is mean(dz*x_hat)*inv_std. In float32
// dx = scale*dz + ((x - mean)*c + b), with b and c multiplied by -scale: one rounding less.
struct GradientChannel {
    double mean, scale, b, c;
    bool once;  // as in NormalizeChannel

    // `measure` is the sum of dz^2. By the exact law it is the sum of |dz|, which does not depend on an order either,
    // and bounds the squares from below: n*sum(dz^2) >= sum(|dz|)^2.
    GradientChannel(const BackwardCall& call, int64_t channel, double measure) {
        const Statistics& s = call.statistics;
        const double n = double(call.values());
        const double dbeta = call.through_mean ? call.dbeta[channel] : 0.0;
        const double dgamma = call.through_variance ? call.dgamma[channel] : 0.0;
        mean = s.mean[channel];
        once = call.exact;
        scale = (call.gamma ? call.gamma[channel] : 1.0) * s.inv_std[channel];
        c = dgamma / n * s.inv_std[channel];
        b = dbeta / n - s.mean_low[channel] * c;
        fits_ = std::fabs(mean) <= largest_mean && in_float_range(scale) && in_float_range(c * scale) &&
                in_float_range(call.slope) && in_float_range(call.inverse_slope) &&
                std::fabs(b * scale) <= largest_coefficient / 2 &&
                stays_small(c * scale, s.var[channel] * n);
        const double parts = dbeta * dbeta + dgamma * dgamma;
        if (call.exact)
            fits_ = fits_ && std::fabs(scale) * measure <= largest_coefficient / 2 &&
                    (measure == 0.0 || measure >= n * least_mean_size) &&
                    (1.0 - least_share) * measure * measure >= parts;
        else
            fits_ = fits_ && stays_small(scale, measure) &&
                    (measure == 0.0 || measure >= n * least_mean_square) &&
                    (1.0 - least_share) * measure * n >= parts;
    }

    bool fits_float() const { return fits_; }

    GradientChannel for_float() const {
        GradientChannel k = *this;
        k.mean = double(float(mean));
        k.b = -(b + (k.mean - mean) * c) * scale;
        k.c = -c * scale;
        return k;
    }
    static constexpr int count = 4;
    double coefficient(int k) const { return k == 0 ? mean : k == 1 ? scale : k == 2 ? b : c; }

  private:
    bool fits_;
};

template <class T>
BACKNORM_INLINE Pack<T> gradient_of(const Pack<T>& dz, const Pack<T>& d, const Pack<T>& scale,
                                    const Pack<T>& b, const Pack<T>& c, bool once = false) {
    if constexpr (std::is_same<T, float>::value) return multiply_add(dz, scale, multiply_add(d, c, b, once), once);
    else return ((dz - b) - d * c) * scale;
}

template <class T>
struct SameGradient {
    using value = T;
    Pack<T> mean, scale, b, c;
    bool once;
    explicit SameGradient(const GradientChannel& k)
        : mean(Pack<T>::all(k.mean)), scale(Pack<T>::all(k.scale)),
          b(Pack<T>::all(k.b)), c(Pack<T>::all(k.c)), once(k.once) {}
    BACKNORM_INLINE Pack<T> operator()(const Pack<T>& dz, const Pack<T>& x, int64_t) const {
        return gradient_of(dz, x - mean, scale, b, c);
    }
    BACKNORM_INLINE Pack<T> by_law(const Pack<T>& dz, const Pack<T>& x, int64_t) const {
        return gradient_of(dz, x - mean, scale, b, c, once);
    }
    BACKNORM_INLINE Pack<T> direct(const Pack<T>& dz, int64_t) const { return dz * scale; }
};
template <class T>
struct EachGradient {
    using value = T;
    const T *mean, *scale, *b, *c;
    bool once;
    int64_t mask = -1;  // as in EachNormalize
    BACKNORM_INLINE Pack<T> operator()(const Pack<T>& dz, const Pack<T>& x, int64_t i) const {
        if constexpr (is_double<T>) i &= mask;
        return gradient_of(dz, x - load<T>(mean + i), load<T>(scale + i), load<T>(b + i), load<T>(c + i));
    }
    BACKNORM_INLINE Pack<T> by_law(const Pack<T>& dz, const Pack<T>& x, int64_t i) const {
        if constexpr (is_double<T>) i &= mask;
        return gradient_of(dz, x - load<T>(mean + i), load<T>(scale + i), load<T>(b + i), load<T>(c + i), once);
    }
    BACKNORM_INLINE Pack<T> direct(const Pack<T>& dz, int64_t i) const {
        if constexpr (is_double<T>) i &= mask;
        return dz * load<T>(scale + i);
    }
};

template <class Columns>  // a Column for each coefficient
BACKNORM_INLINE auto each_gradient(const Columns& k, bool once) {
    return EachGradient<std::decay_t<decltype(k[0].at[0])>>{k[0].at, k[1].at, k[2].at, k[3].at, once};
}

template <class S, class T, class Body>  // as with_normalize
BACKNORM_INLINE void with_gradient(const GradientChannel& channel, const Body& body) {
    if constexpr (spreads<S, T>) {
        const SpreadCoefficients<GradientChannel> wide(channel);
        auto at = each_gradient(wide.of, channel.once);
        at.mask = 0;
        body(at);
    } else {
        body(SameGradient<T>(is_double<T> ? channel : channel.for_float()));
    }
}

// Where a run of the second pass reads and writes; dx and dresidual may be null.
template <class S>
struct GradientRun {
    const S *dy, *x;
    S *dx, *dresidual;
    int64_t count;
    double slope, inverse_slope;  // see BackwardCall
    bool through, add_dx, add_dresidual, streaming;
    bool wide_residual;  // dresidual in float64, whatever the dtype of dx: then it is the same in every walk
    // What is read next is prefetched where this run is stored past the cache; where it is not, what is written next,
    // which lies so far from dx.
    const S *next_dy = nullptr, *next_x = nullptr;
    int64_t next_dx = 0;
};

// Sixteen values of dresidual or fewer, in float64.
template <Activation kind, class S, class Output>
BACKNORM_APART void store_wide_residual(const GradientRun<S>& run, const Output& output, int64_t i, int some) {
    const Pack<double> out = output.template of<double>(Some{i, some});
    const Pack<double> dz = grad_through_activation<kind>(load_part<double>(run.dy + i, some), out, run.slope);
    S* const into = run.dresidual + i;
    store_part(into, run.add_dresidual ? dz + load_part<double>(into, some) : dz, some);
}

template <Activation kind, class S, class Output, class Coefficients>
inline void gradient_run(const GradientRun<S>& run, Output output, Coefficients at) {
    using T = typename Coefficients::value;
    const double slope = run.slope, inverse_slope = run.inverse_slope;
    // Without leaky_relu's slope dz is exact in any dtype.
    if constexpr (!Output::by_exact_law) at.once = false;  // known when this is compiled
    constexpr bool may_be_wide = kind == Activation::leaky_relu && !is_double<T> && Output::by_exact_law;
    const bool wide = may_be_wide && run.wide_residual;
    const auto store_wide = [&](int64_t i, int some) BACKNORM_LAMBDA {
        if constexpr (may_be_wide) store_wide_residual<kind>(run, output, i, some);
    };
    const bool streaming = run.streaming && run.dx && !run.add_dx && !run.dresidual;
    const auto part = [&](int64_t i, int some) {
        const Pack<T> out = output.template of<T>(Some{i, some});
        const Pack<T> dz = grad_through_activation<kind>(load_part<T>(run.dy + i, some), out, slope);
        if (run.dresidual && wide) store_wide(i, some);
        else if (run.dresidual) {
            const Pack<T> old =
                run.add_dresidual ? load_part<T>(run.dresidual + i, some) : Pack<T>::zero();
            store_part(run.dresidual + i, run.add_dresidual ? dz + old : dz, some);
        }
        if (!run.dx) return;
        const auto x = [&] { return undo_activation<kind>(load_part<T>(run.x + i, some), inverse_slope); };
        Pack<T> d = run.through ? at.by_law(dz, x(), i) : at.direct(dz, i);
        if (run.add_dx) d = d + load_part<T>(run.dx + i, some);
        store_part(run.dx + i, d, some);
    };
    if (emulates_fused(at)) return each_pack(run.count, part);
    const S *const from_dy = run.dy, *const from_x = run.x;
    const auto dz_at = [=](int64_t i) BACKNORM_LAMBDA {
        return grad_through_activation<kind>(load<T>(from_dy + i), output.template of<T>(Whole{i}), slope);
    };
    const auto x_at = [=](int64_t i) BACKNORM_LAMBDA { return undo_activation<kind>(load<T>(from_x + i), inverse_slope); };
    const auto full = [&](int64_t i) BACKNORM_LAMBDA {
        const Pack<T> dz = dz_at(i);
        if (run.dresidual && wide) store_wide(i, lanes);
        else if (run.dresidual)
            store(run.dresidual + i, run.add_dresidual ? dz + load<T>(run.dresidual + i) : dz);
        if (!run.dx) return;
        const Pack<T> d = run.through ? at(dz, x_at(i), i) : at.direct(dz, i);
        store(run.dx + i, run.add_dx ? d + load<T>(run.dx + i) : d);
    };
    // The last pack may overlap its neighbour, and stores the same values again. Not where results are
    // added to the output: they would be added twice. Nor past the cache: a line would have to be read back.
    const bool may_overlap =
        run.count >= lanes && !run.add_dx && !run.add_dresidual && !streaming;
    int64_t i = until_aligned(run.dx, run.count, streaming);
    if (i) part(0, int(i));
    const int64_t end = run.count - lanes;
    if (streaming && run.through)
        for (; i <= end; i += lanes) {
            fetch_from(run.next_dy, i);
            fetch_from(run.next_x, i);
            stream(run.dx + i, at(dz_at(i), x_at(i), i));
        }
    else if (streaming)
        for (; i <= end; i += lanes) stream(run.dx + i, at.direct(dz_at(i), i));
    else if (run.dx && run.through && !run.dresidual && !run.add_dx) {
        S* const dx = run.dx;
        const int64_t next = run.next_dx;
        for (; i <= end; i += lanes) {
            fetch(dx + i + next);
            store(dx + i, at(dz_at(i), x_at(i), i));
        }
    } else
        for (; i <= end; i += lanes) full(i);
    if (i < run.count && may_overlap) full(end);
    else if (i < run.count) part(i, int(run.count - i));
}

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
