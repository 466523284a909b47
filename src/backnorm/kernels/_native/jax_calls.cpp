// The handlers of whole arrays, and of frozen statistics.
#include "jax_calls.hpp"

#if defined(BACKNORM_HAS_XLA)

#include <cmath>
#include <vector>

#include "jax_arrays.hpp"
#include "jax_parts.hpp"
#include "levels.hpp"

namespace backnorm::jax {
namespace {

void freeze(const Array& mean, const Array& low, const Array& var, double eps, const Statistics& rows) {
    const std::vector<double> means = widened(mean), lows = widened(low), vars = widened(var);
    for (size_t k = 0; k < means.size(); ++k) {
        rows.mean[k] = means[k] + lows[k];
        rows.mean_low[k] = (means[k] - rows.mean[k]) + lows[k];
        rows.var[k] = vars[k];
        rows.inv_std[k] = 1.0 / std::sqrt(vars[k] + eps);
    }
}

ffi::Error forward(Array x, Array scale, Array bias, ffi::RemainingArgs rest, Output y, Output mean, Output low,
                   Output var, Output inv_std, Output saved, ffi::Dictionary attributes) {
    return run([&] {
        const Options options = options_of(attributes);
        const Shape shape = shape_of(x, options.axis);
        const std::vector<double> gamma = widened(scale), beta = widened(bias);
        const Statistics rows = rows_of(*saved, shape.channels);
        const size_t first = options.residual ? 1 : 0;
        if (options.frozen)
            freeze(*rest.get<Array>(first), *rest.get<Array>(first + 1), *rest.get<Array>(first + 2), options.eps, rows);
        const ForwardCall call{shape, dtype_of(x), operand_of(x, shape), result_of(*y, shape),
                               options.residual ? operand_of(*rest.get<Array>(0), shape) : Operand{}, gamma.data(),
                               beta.data(), rows, options.frozen, options.eps, options.activation, options.slope,
                               thread_count(), options.exact};
        levels()[0]->forward(call);
        narrow(rows.mean, mean);
        narrow_low(rows, mean, low);
        narrow(rows.var, var);
        narrow(rows.inv_std, inv_std);
    });
}

ffi::Error gradient(Array dy, Array x, Array scale, Array saved, ffi::RemainingArgs output, Output dx, Output dscale,
                    Output dbias, ffi::RemainingRets rest, ffi::Dictionary attributes) {
    return run([&] {
        const Options options = options_of(attributes);
        const Shape shape = shape_of(x, options.axis);
        const std::vector<double> gamma = widened(scale);
        std::vector<double> sums(size_t(2 * shape.channels));
        BackwardCall call = backward_call(options, dy, x);
        if (output.size() > 0) call.y = operand_of(*output.get<Array>(0), shape);
        call.dx = result_of(*dx, shape);
        if (options.residual) call.dresidual = result_of(**rest.get<Array>(0), shape);
        call.dgamma = sums.data();
        call.dbeta = sums.data() + shape.channels;
        call.gamma = gamma.data();
        call.statistics = rows_of(saved, shape.channels);
        call.frozen = options.frozen;
        call.exact = options.exact;
        levels()[0]->backward(call);
        narrow(call.dgamma, dscale);
        narrow(call.dbeta, dbias);
    });
}

XLA_FFI_DEFINE_HANDLER(forward_handler, forward,
                       ffi::Ffi::Bind()
                           .Arg<Array>()
                           .Arg<Array>()
                           .Arg<Array>()
                           .RemainingArgs()
                           .Ret<Array>()
                           .Ret<Array>()
                           .Ret<Array>()
                           .Ret<Array>()
                           .Ret<Array>()
                           .Ret<Array>()
                           .Attrs());
XLA_FFI_DEFINE_HANDLER(gradient_handler, gradient,
                       ffi::Ffi::Bind()
                           .Arg<Array>()
                           .Arg<Array>()
                           .Arg<Array>()
                           .Arg<Array>()
                           .RemainingArgs()
                           .Ret<Array>()
                           .Ret<Array>()
                           .Ret<Array>()
                           .RemainingRets()
                           .Attrs());

}  // namespace
}  // namespace backnorm::jax

namespace backnorm {

nanobind::dict jax_handlers() {
    nanobind::dict handlers;
    const auto add = [&](const char* name, XLA_FFI_Handler* handler) {
        handlers[name] = nanobind::capsule(reinterpret_cast<void*>(handler));
    };
    add("forward", jax::forward_handler);
    add("gradient", jax::gradient_handler);
    for (const jax::PartHandler& part : jax::part_handlers()) add(part.name, part.handler);
    return handlers;
}

}  // namespace backnorm

#else

namespace backnorm {

nanobind::dict jax_handlers() { return {}; }

}  // namespace backnorm

#endif
