#include "tensors.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

namespace backnorm {
namespace {

Statistics rows_of(double* p, int64_t c) { return {p, p + c, p + 2 * c, p + 3 * c}; }

const double* start(const std::vector<double>& values) {
    return values.empty() ? nullptr : values.data();
}

void freeze(const ForwardTensors& t, const Statistics& s) {
    for (int64_t c = 0; c < t.shape.channels; ++c) {
        s.mean[c] = t.running_mean[c];
        s.mean_low[c] = 0.0;
        s.var[c] = t.running_var[c];
        s.inv_std[c] = 1.0 / std::sqrt(s.var[c] + t.eps);
    }
}

// running = (1 - momentum)*running + momentum*batch, with the unbiased variance.
void update(const ForwardTensors& t, const Statistics& s) {
    const double keep = 1.0 - t.momentum, n = double(t.shape.per_channel());
    const double unbiased = n / (n - 1.0);
    const auto moved = [&](const Parameters& running, const double* batch, double factor) {
        running.each(t.shape.channels, [&](int64_t c, double value) {
            return keep * value + t.momentum * (batch[c] * factor);
        });
    };
    moved(t.running_mean, s.mean, 1.0);
    moved(t.running_var, s.var, unbiased);
}

// What a backward pass from the output is given. The input of the activation is z = gamma*x_hat + beta, so
// that x_hat = (z - beta)/gamma: z takes the place of x, beta that of the mean and 1/gamma that of inv_std.
// The derivative of z by x is gamma*inv_std, of which the kernels compute gamma' * (1/gamma): gamma' is
// gamma*gamma*inv_std.
struct FromOutput {
    std::vector<double> rows, gamma;

    explicit FromOutput(const BackwardTensors& t) {
        const int64_t channels = t.shape.channels;
        const Statistics old = rows_of(t.statistics, channels);
        rows.resize(size_t(4 * channels));
        gamma.resize(size_t(channels));
        const Statistics s = rows_of(rows.data(), channels);
        for (int64_t c = 0; c < channels; ++c) {
            const double scale = t.gamma ? t.gamma[c] : 1.0;
            s.mean[c] = t.beta ? t.beta[c] : 0.0;
            s.mean_low[c] = 0.0;
            s.var[c] = old.var[c] * old.inv_std[c] * old.inv_std[c] * scale * scale;
            s.inv_std[c] = 1.0 / scale;
            gamma[size_t(c)] = scale * scale * old.inv_std[c];
        }
    }
};

}  // namespace

// The output is gamma*x_hat + beta, rounded, so that x_hat computed from it has an error of |beta/gamma| + |x_hat|
// units of rounding. Up to this quotient that is about the error of a channel's largest x_hat in any case.
constexpr double most_shift = 4.0;
// Below, gamma*gamma may be subnormal in float32.
constexpr double least_scale = 0x1p-60;

// The output of x_hat = 1 on the branch of the activation where it is smallest. Outputs next to 0 are rounded to the
// smallest number of the dtype; with this one that is four units of rounding of x_hat too.
double least_output(Dtype dtype) {
    switch (dtype) {
        case Dtype::float16: return 0x1p-16;
        case Dtype::float32:
        case Dtype::bfloat16: return 0x1p-128;
        case Dtype::float64: break;
    }
    return 0.0;
}

Activation activation_of(int code) {
    switch (code) {
#define BACKNORM_CASE(name, code, invertible) \
    case code: return Activation::name;
        BACKNORM_ACTIVATIONS(BACKNORM_CASE)
#undef BACKNORM_CASE
    }
    throw std::invalid_argument("no activation has the code " + std::to_string(code));
}

bool invertible(const Parameters& gamma, const Parameters& beta, int64_t channels, Dtype dtype, double slope) {
    const double least = std::max(least_scale, least_output(dtype) / std::min(slope, 1.0));
    for (int64_t c = 0; c < channels; ++c) {
        const double scale = std::fabs(gamma ? gamma[c] : 1.0), shift = std::fabs(beta ? beta[c] : 0.0);
        if (!(scale >= least && scale <= 1.0 / least_scale && shift <= most_shift * scale))
            return false;
    }
    return true;
}

void run(const Level& level, const ForwardTensors& t) {
    const int64_t channels = t.shape.channels;
    const Statistics s = rows_of(t.statistics, channels);
    const std::vector<double> gamma = t.gamma.read(channels), beta = t.beta.read(channels);
    if (t.frozen) freeze(t, s);
    level.forward({t.shape, t.dtype, t.x, t.y, t.residual, start(gamma), start(beta), s, t.frozen, t.eps,
                   t.activation, t.slope, t.threads, t.exact});
    if (!t.frozen) update(t, s);
}

bool run(const Level& level, const BackwardTensors& t) {
    const size_t channels = size_t(t.shape.channels);
    std::vector<double> dgamma(channels), dbeta(channels);
    const std::vector<double> beta = t.beta.read(t.shape.channels);
    const auto call = [&](const double* gamma, double* rows, bool recomputable, double inverse_slope) {
        return level.backward({t.shape, t.dtype, t.dy, t.x, t.y, t.dx, t.dresidual, dgamma.data(), dbeta.data(),
                        gamma, start(beta), rows_of(rows, t.shape.channels), recomputable, t.frozen, t.through_mean,
                        t.through_variance, false, false, t.activation, t.slope, inverse_slope, t.threads, t.exact});
    };
    if (t.from_output) {
        if (!is_invertible(t.activation)) throw std::invalid_argument("the activation is not invertible");
        FromOutput from(t);
        if (!call(from.gamma.data(), from.rows.data(), false, 1.0 / t.slope)) return false;
    } else {
        const std::vector<double> gamma = t.gamma.read(t.shape.channels);
        if (!call(start(gamma), t.statistics, t.recomputable, 1.0)) return false;
    }
    t.dgamma.write(dgamma);
    t.dbeta.write(dbeta);
    return true;
}

}  // namespace backnorm
