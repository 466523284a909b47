// What the handlers for XLA share: arrays of XLA as operands of a call, and the options of a call.
//
// XLA calls a handler in one of its threads, without Python's lock. The work is shared by our own threads, as in a call from
// NumPy: XLA has no threads to lend to a handler that asks for none, and its own sleep meanwhile.
#pragma once

#include <cfenv>
#include <exception>
#include <string_view>
#include <vector>

#include "call.hpp"
#include "memory.hpp"
#include "threads.hpp"
#include "xla/ffi/api/ffi.h"

namespace backnorm::jax {

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

inline Shape shape_of(const Array& x, int64_t axis) {
    Shape shape{1, 1, 1};
    const auto extents = x.dimensions();
    for (int64_t k = 0; k < int64_t(extents.size()); ++k)
        (k < axis ? shape.outer : k == axis ? shape.channels : shape.inner) *= extents[size_t(k)];
    return shape;
}

inline Dtype dtype_of(const Array& x) {
    switch (x.element_type()) {
        case ffi::DataType::F64: return Dtype::float64;
        case ffi::DataType::BF16: return Dtype::bfloat16;
        case ffi::DataType::F16: return Dtype::float16;
        default: return Dtype::float32;  // backnorm.jax has refused all others
    }
}

inline Operand operand_of(const Array& x, const Shape& shape) {
    return {x.untyped_data(), shape.channels * shape.inner, shape.inner};
}

// XLA allocates memory anew for each run of a program, and a fresh page of 4 KiB costs more than what is computed on it.
inline Operand result_of(const Array& y, const Shape& shape) {
    prefer_huge_pages(y.untyped_data(), y.size_bytes());
    return operand_of(y, shape);
}

// One value for each channel, which is float32 or float64 outside.
inline std::vector<double> widened(const Array& values) {
    const size_t count = values.element_count();
    if (values.element_type() == ffi::DataType::F64) {
        const double* from = values.typed_data<double>();
        return {from, from + count};
    }
    const float* from = values.typed_data<float>();
    return {from, from + count};
}

inline void narrow(const double* from, Output& to) {
    for (size_t k = 0; k < to->element_count(); ++k) {
        if (to->element_type() == ffi::DataType::F64) to->typed_data<double>()[k] = from[k];
        else to->typed_data<float>()[k] = float(from[k]);
    }
}

// The low part of the mean beside what is left of it outside: mean + low has the digits of two of its dtype.
inline void narrow_low(const Statistics& rows, Output& mean, Output& low) {
    for (size_t k = 0; k < low->element_count(); ++k) {
        if (low->element_type() == ffi::DataType::F64) low->typed_data<double>()[k] = rows.mean_low[k];
        else low->typed_data<float>()[k] = float((rows.mean[k] - double(mean->typed_data<float>()[k])) + rows.mean_low[k]);
    }
}

inline Statistics rows_of(const Array& rows, int64_t channels) {
    double* first = static_cast<double*>(rows.untyped_data());
    return {first, first + channels, first + 2 * channels, first + 3 * channels};
}

// The attributes of a call: PrimitiveOptions.
struct Options {
    int64_t axis;
    double eps;
    Activation activation;
    double slope;
    bool through_mean, through_variance, frozen, residual, exact, shared;
};

inline Options options_of(const ffi::Dictionary& of) {
    const auto flag = [&](std::string_view name) { return of.get<bool>(name).value(); };
    return {of.get<int64_t>("axis").value(),
            of.get<double>("eps").value(),
            activation_of(int(of.get<int64_t>("activation").value())),
            of.get<double>("slope").value(),
            flag("through_mean"),
            flag("through_variance"),
            flag("frozen"),
            flag("residual"),
            flag("exact"),
            flag("shared")};
}

// What all calls of the backward pass have.
inline BackwardCall backward_call(const Options& options, const Array& dy, const Array& x) {
    BackwardCall call{};
    call.shape = shape_of(x, options.axis);
    call.dtype = dtype_of(x);
    call.dy = operand_of(dy, call.shape);
    call.x = operand_of(x, call.shape);
    call.through_mean = options.through_mean;
    call.through_variance = options.through_variance;
    call.activation = options.activation;
    call.slope = options.slope;
    call.inverse_slope = 1.0;
    call.threads = thread_count();
    return call;
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

}  // namespace backnorm::jax
