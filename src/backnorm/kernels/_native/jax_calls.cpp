// XLA calls these in one of its threads, without Python's lock. The work is shared by our own threads, as in a call from
// NumPy: XLA has no threads to lend to a handler that asks for none, and its own sleep meanwhile.
#include "jax_calls.hpp"

#if defined(BACKNORM_HAS_XLA)

#include <cfenv>
#include <cmath>
#include <exception>
#include <utility>
#include <vector>

#include "call.hpp"
#include "levels.hpp"
#include "memory.hpp"
#include "threads.hpp"
#include "xla/ffi/api/ffi.h"

namespace backnorm {
namespace {

namespace ffi = xla::ffi;
using Array = ffi::AnyBuffer;
using Output = ffi::Result<ffi::AnyBuffer>;

// XLA lets its threads take numbers below the normal ones for 0. Our kernels do not, and neither may our threads, which
// inherit this from the thread that starts them.
class UsualArithmetic {
  public:
    UsualArithmetic() {
        std::fegetenv(&before_);
        std::fesetenv(FE_DFL_ENV);
    }
    ~UsualArithmetic() { std::fesetenv(&before_); }
    UsualArithmetic(const UsualArithmetic&) = delete;
    UsualArithmetic& operator=(const UsualArithmetic&) = delete;

  private:
    std::fenv_t before_;
};

Shape shape_of(const Array& x, int64_t axis) {
    Shape shape{1, 1, 1};
    const auto extents = x.dimensions();
    for (int64_t k = 0; k < int64_t(extents.size()); ++k)
        (k < axis ? shape.outer : k == axis ? shape.channels : shape.inner) *= extents[size_t(k)];
    return shape;
}

Dtype dtype_of(const Array& x) {
    switch (x.element_type()) {
        case ffi::DataType::F64: return Dtype::float64;
        case ffi::DataType::BF16: return Dtype::bfloat16;
        case ffi::DataType::F16: return Dtype::float16;
        default: return Dtype::float32;  // backnorm.jax has refused all others
    }
}

Operand operand_of(const Array& x, const Shape& shape) {
    return {x.untyped_data(), shape.channels * shape.inner, shape.inner};
}

// XLA allocates memory anew for each run of a program, and a fresh page of 4 KiB costs more than what is computed on it.
Operand result_of(const Array& y, const Shape& shape) {
    prefer_huge_pages(y.untyped_data(), y.size_bytes());
    return operand_of(y, shape);
}

// One value for each channel, which is float32 or float64 outside.
std::vector<double> widened(const Array& values) {
    const size_t count = values.element_count();
    if (values.element_type() == ffi::DataType::F64) {
        const double* from = values.typed_data<double>();
        return {from, from + count};
    }
    const float* from = values.typed_data<float>();
    return {from, from + count};
}

void narrow(const double* from, Output& to) {
    for (size_t k = 0; k < to->element_count(); ++k) {
        if (to->element_type() == ffi::DataType::F64) to->typed_data<double>()[k] = from[k];
        else to->typed_data<float>()[k] = float(from[k]);
    }
}

// The low part of the mean beside what is left of it outside: mean + low has the digits of two of its dtype.
void narrow_low(const Statistics& rows, Output& mean, Output& low) {
    for (size_t k = 0; k < low->element_count(); ++k) {
        if (low->element_type() == ffi::DataType::F64) low->typed_data<double>()[k] = rows.mean_low[k];
        else low->typed_data<float>()[k] = float((rows.mean[k] - double(mean->typed_data<float>()[k])) + rows.mean_low[k]);
    }
}

Statistics rows_of(const Array& rows, int64_t channels) {
    double* first = static_cast<double*>(rows.untyped_data());
    return {first, first + channels, first + 2 * channels, first + 3 * channels};
}

void freeze(const Array& mean, const Array& low, const Array& var, double eps, const Statistics& rows) {
    const std::vector<double> means = widened(mean), lows = widened(low), vars = widened(var);
    for (size_t k = 0; k < means.size(); ++k) {
        rows.mean[k] = means[k] + lows[k];
        rows.mean_low[k] = (means[k] - rows.mean[k]) + lows[k];
        rows.var[k] = vars[k];
        rows.inv_std[k] = 1.0 / std::sqrt(vars[k] + eps);
    }
}

template <class Body>
ffi::Error run(const Body& body) {
    const UsualArithmetic usual;
    try {
        body();
    } catch (const std::exception& error) {
        return ffi::Error::Internal(error.what());
    }
    return ffi::Error::Success();
}

ffi::Error forward(Array x, Array scale, Array bias, ffi::RemainingArgs rest, Output y, Output mean, Output low,
                   Output var, Output inv_std, Output saved, int64_t axis, double eps, int64_t activation, double slope,
                   bool, bool, bool frozen, bool residual, bool exact) {
    return run([&] {
        const Shape shape = shape_of(x, axis);
        const std::vector<double> gamma = widened(scale), beta = widened(bias);
        const Statistics rows = rows_of(*saved, shape.channels);
        const size_t first = residual ? 1 : 0;
        if (frozen)
            freeze(*rest.get<Array>(first), *rest.get<Array>(first + 1), *rest.get<Array>(first + 2), eps, rows);
        const ForwardCall call{shape, dtype_of(x), operand_of(x, shape), result_of(*y, shape),
                               residual ? operand_of(*rest.get<Array>(0), shape) : Operand{}, gamma.data(), beta.data(),
                               rows, frozen, eps, activation_of(int(activation)), slope, thread_count(), exact};
        levels()[0]->forward(call);
        narrow(rows.mean, mean);
        narrow_low(rows, mean, low);
        narrow(rows.var, var);
        narrow(rows.inv_std, inv_std);
    });
}

ffi::Error gradient(Array dy, Array x, Array scale, Array saved, ffi::RemainingArgs output, Output dx, Output dscale,
                    Output dbias, ffi::RemainingRets rest, int64_t axis, double, int64_t activation, double slope,
                    bool through_mean, bool through_variance, bool frozen, bool residual, bool exact) {
    return run([&] {
        const Shape shape = shape_of(x, axis);
        const std::vector<double> gamma = widened(scale);
        std::vector<double> sums(size_t(2 * shape.channels));
        BackwardCall call{};
        call.shape = shape;
        call.dtype = dtype_of(x);
        call.dy = operand_of(dy, shape);
        call.x = operand_of(x, shape);
        if (output.size() > 0) call.y = operand_of(*output.get<Array>(0), shape);
        call.dx = result_of(*dx, shape);
        if (residual) call.dresidual = result_of(**rest.get<Array>(0), shape);
        call.dgamma = sums.data();
        call.dbeta = sums.data() + shape.channels;
        call.gamma = gamma.data();
        call.statistics = rows_of(saved, shape.channels);
        call.frozen = frozen;
        call.through_mean = through_mean;
        call.through_variance = through_variance;
        call.activation = activation_of(int(activation));
        call.slope = slope;
        call.inverse_slope = 1.0;
        call.threads = thread_count();
        call.exact = exact;
        levels()[0]->backward(call);
        narrow(call.dgamma, dscale);
        narrow(call.dbeta, dbias);
    });
}

template <class Binding>
auto with_options(Binding binding) {
    return std::move(binding)
        .template Attr<int64_t>("axis")
        .template Attr<double>("eps")
        .template Attr<int64_t>("activation")
        .template Attr<double>("slope")
        .template Attr<bool>("through_mean")
        .template Attr<bool>("through_variance")
        .template Attr<bool>("frozen")
        .template Attr<bool>("residual")
        .template Attr<bool>("exact");
}

XLA_FFI_DEFINE_HANDLER(forward_handler, forward,
                       with_options(ffi::Ffi::Bind()
                                        .Arg<Array>()
                                        .Arg<Array>()
                                        .Arg<Array>()
                                        .RemainingArgs()
                                        .Ret<Array>()
                                        .Ret<Array>()
                                        .Ret<Array>()
                                        .Ret<Array>()
                                        .Ret<Array>()
                                        .Ret<Array>()));
XLA_FFI_DEFINE_HANDLER(gradient_handler, gradient,
                       with_options(ffi::Ffi::Bind()
                                        .Arg<Array>()
                                        .Arg<Array>()
                                        .Arg<Array>()
                                        .Arg<Array>()
                                        .RemainingArgs()
                                        .Ret<Array>()
                                        .Ret<Array>()
                                        .Ret<Array>()
                                        .RemainingRets()));

}  // namespace

nanobind::dict jax_handlers() {
    nanobind::dict handlers;
    handlers["forward"] = nanobind::capsule(reinterpret_cast<void*>(forward_handler));
    handlers["gradient"] = nanobind::capsule(reinterpret_cast<void*>(gradient_handler));
    return handlers;
}

}  // namespace backnorm

#else

namespace backnorm {

nanobind::dict jax_handlers() { return {}; }

}  // namespace backnorm

#endif
