// The two passes of the backward: the sums of dz and dz*(x - mean) in float64, then
// dx = scale*((dz - mean(dz)) - x_hat*mean(dz*x_hat)). dz is what arrives before the activation.
#pragma once

#include <cmath>

#include "activation.hpp"
#include "call.hpp"
#include "normalize.hpp"
#include "pack.hpp"
#include "statistics.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

// Sums of a channel: dz, and dz*(x - mean).
struct Comoments {
    double plain = 0.0, product = 0.0;
    void add(const Comoments& other) {
        plain += other.plain;
        product += other.product;
    }
};

inline void store_sums(const Comoments& m, const BackwardCall& call, int64_t c) {
    const Statistics& s = call.statistics;  // the sums were taken around mean without its low part
    call.dgamma[c] = (m.product - s.mean_low[c] * m.plain) * s.inv_std[c];
    call.dbeta[c] = m.plain;
}

// Sums lane by lane.
template <class S>
struct ComomentSums {
    static constexpr int chains = BACKNORM_VECTOR_BYTES == 16 ? 1 : 2;
    Pack plain[chains], product[chains];

    ComomentSums() {
        for (int k = 0; k < chains; ++k) plain[k] = product[k] = Pack::zero();
    }

    BACKNORM_INLINE void add(int k, const Pack& dz, const Pack& d) {
        plain[k] = plain[k] + dz;
        product[k] = multiply_add(dz, d, product[k]);
    }

    template <Activation kind>
    BACKNORM_INLINE void add_run(const S* dy, const S* x, const S* y, int64_t count,
                                 double mean, double slope) {
        const Pack around = Pack::all(mean);
        const auto full = [&](int k, int64_t i) BACKNORM_LAMBDA {
            const Pack arrives = load(dy + i);
            const Pack out = kind == Activation::identity ? arrives : load(y + i);
            add(k, arriving<kind>(arrives, out, slope), load(x + i) - around);
        };
        int64_t i = 0;
        for (; i + chains * lanes <= count; i += chains * lanes)
            BACKNORM_UNROLL for (int k = 0; k < chains; ++k) full(k, i + k * lanes);
        for (; i + lanes <= count; i += lanes) full(0, i);
        if (i < count) {
            const int rest = int(count - i);
            const Pack arrives = load_part(dy + i, rest);
            const Pack out = kind == Activation::identity ? arrives : load_part(y + i, rest);
            const Pack d = load_part(x + i, rest) - around;
            add(0, arriving<kind>(arrives, out, slope), d * first_lanes(rest));
        }
    }

    Comoments totals() const {
        constexpr int last = chains - 1;
        if (chains == 1) return {total(plain[0]), total(product[0])};
        return {total(plain[0] + plain[last]), total(product[0] + product[last])};
    }
};

// A channel's coefficients: dx = scale*((dz - b) - (x - mean)*c), where b is mean(dz), with what the
// mean's low part says, and c is mean(dz*x_hat)*inv_std.
struct GradientChannel {
    double mean, scale, b, c;

    GradientChannel(const BackwardCall& call, int64_t channel) {
        const Statistics& s = call.statistics;
        const double n = double(call.shape.per_channel());
        mean = s.mean[channel];
        scale = (call.gamma ? call.gamma[channel] : 1.0) * s.inv_std[channel];
        c = call.through_variance ? call.dgamma[channel] / n * s.inv_std[channel] : 0.0;
        b = (call.through_mean ? call.dbeta[channel] / n : 0.0) - s.mean_low[channel] * c;
    }
};

struct SameGradient {
    Pack mean, scale, b, c;
    explicit SameGradient(const GradientChannel& k)
        : mean(Pack::all(k.mean)), scale(Pack::all(k.scale)),
          b(Pack::all(k.b)), c(Pack::all(k.c)) {}
    BACKNORM_INLINE Pack operator()(const Pack& dz, const Pack& x, int64_t) const {
        return subtract_product(x - mean, c, dz - b) * scale;
    }
    BACKNORM_INLINE Pack direct(const Pack& dz, int64_t) const { return dz * scale; }
};
struct EachGradient {
    const double *mean, *scale, *b, *c;
    BACKNORM_INLINE Pack operator()(const Pack& dz, const Pack& x, int64_t i) const {
        return subtract_product(x - load(mean + i), load(c + i), dz - load(b + i)) * load(scale + i);
    }
    BACKNORM_INLINE Pack direct(const Pack& dz, int64_t i) const {
        return dz * load(scale + i);
    }
};

// Where a run of the second pass reads and writes; y, dx and dresidual may be null.
template <class S>
struct GradientRun {
    const S *dy, *x, *y;
    S *dx, *dresidual;
    int64_t count;
    bool through, add_dx, add_dresidual, streaming;
    const S *next_dy = nullptr, *next_x = nullptr;  // fetched along: what is read next
};

template <Activation kind, class S, class Coefficients>
inline void gradient_run(const GradientRun<S>& run, const Coefficients& at, double slope) {
    const bool streaming = run.streaming && run.dx && !run.add_dx && !run.dresidual;
    const auto part = [&](int64_t i, int some) {
        const Pack out = run.y ? load_part(run.y + i, some) : Pack::zero();
        const Pack dz = arriving<kind>(load_part(run.dy + i, some), out, slope);
        if (run.dresidual) {
            const Pack old =
                run.add_dresidual ? load_part(run.dresidual + i, some) : Pack::zero();
            store_part(run.dresidual + i, run.add_dresidual ? dz + old : dz, some);
        }
        if (!run.dx) return;
        Pack d = run.through ? at(dz, load_part(run.x + i, some), i) : at.direct(dz, i);
        if (run.add_dx) d = d + load_part(run.dx + i, some);
        store_part(run.dx + i, d, some);
    };
    const auto arrived = [&](int64_t i) BACKNORM_LAMBDA {
        const Pack dy = load(run.dy + i);
        return arriving<kind>(dy, kind == Activation::identity ? dy : load(run.y + i), slope);
    };
    int64_t i = until_aligned(run.dx, run.count, streaming);
    if (i) part(0, int(i));
    const int64_t end = run.count - lanes;
    if (streaming && run.through)
        for (; i <= end; i += lanes) {
            fetch(plus(run.next_dy, i));
            fetch(plus(run.next_x, i));
            stream(run.dx + i, at(arrived(i), load(run.x + i), i));
        }
    else if (streaming)
        for (; i <= end; i += lanes) stream(run.dx + i, at.direct(arrived(i), i));
    else
        for (; i <= end; i += lanes) {
            const Pack dz = arrived(i);
            if (run.dresidual)
                store(run.dresidual + i, run.add_dresidual ? dz + load(run.dresidual + i) : dz);
            if (!run.dx) continue;
            const Pack d = run.through ? at(dz, load(run.x + i), i) : at.direct(dz, i);
            store(run.dx + i, run.add_dx ? d + load(run.dx + i) : d);
        }
    if (i < run.count) part(i, int(run.count - i));
}

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
