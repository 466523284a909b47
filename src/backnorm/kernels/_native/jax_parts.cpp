#if defined(BACKNORM_HAS_XLA)

#include "jax_parts.hpp"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "jax_arrays.hpp"
#include "levels.hpp"
#include "limb_words.hpp"

namespace backnorm::jax {
namespace {

// The limbs of rows of words, which begin at the word that is asked for.
class Limbs {
  public:
    Limbs(const Array& words, const LimbRow& row)
        : words_(static_cast<const int32_t*>(words.untyped_data())), row_(row), limbs_(size_t(row.limbs())) {}
    const int64_t* at(int64_t index) {
        from_words(words_ + index * row_.words(), row_, limbs_.data());
        return limbs_.data();
    }

  private:
    const int32_t* words_;
    LimbRow row_;
    std::vector<int64_t> limbs_;
};

void write_words(const std::vector<int64_t>& limbs, const LimbRow& row, Output& words) {
    int32_t* out = static_cast<int32_t*>(words->untyped_data());
    const int64_t rows = int64_t(limbs.size()) / row.limbs();
    if (int64_t(words->element_count()) != rows * row.words()) throw std::logic_error("other words than these");
    for (int64_t k = 0; k < rows; ++k) to_words(limbs.data() + k * row.limbs(), row, out + k * row.words());
}

// How many values of each channel count, at least 1: of no values the sums are 0, and so are the statistics.
std::vector<int64_t> counts_of(const Array& counts) {
    const int32_t* from = counts.typed_data<int32_t>();
    std::vector<int64_t> all(from, from + counts.element_count());
    for (int64_t& n : all) n = std::max<int64_t>(n, 1);
    return all;
}

// Calls body(first channel, channels, count) for channels with the same count: all of them, unless vmap has made channels
// of batches with different masks.
template <class Body>
void for_equal(const std::vector<int64_t>& counts, const Body& body) {
    for (size_t first = 0, end; first < counts.size(); first = end) {
        for (end = first; end < counts.size() && counts[end] == counts[first];) ++end;
        body(int64_t(first), int64_t(end - first), counts[first]);
    }
}

Operand from_channel(const Operand& all, int64_t first, Dtype dtype) {
    if (!all) return all;
    const int64_t size = dtype == Dtype::float64 ? 8 : dtype == Dtype::float32 ? 4 : 2;
    return {static_cast<char*>(all.data) + first * all.channel_stride * size, all.outer_stride, all.channel_stride};
}

Statistics from_channel(const Statistics& all, int64_t first) {
    return {all.mean + first, all.mean_low + first, all.var + first, all.inv_std + first};
}

ffi::Error write_moments(Array x, Output words, ffi::Dictionary attributes) {
    return run([&] {
        const Options options = options_of(attributes);
        ForwardCall call{};
        call.shape = shape_of(x, options.axis);
        call.dtype = dtype_of(x);
        call.x = operand_of(x, call.shape);
        call.exact = true;
        call.threads = thread_count();
        std::vector<double> unused(size_t(4 * call.shape.channels));
        const int64_t c = call.shape.channels;
        call.statistics = {unused.data(), unused.data() + c, unused.data() + 2 * c, unused.data() + 3 * c};
        std::vector<int64_t> limbs(size_t(c * moment_limbs));
        call.limbs = limbs.data();
        levels()[0]->forward(call);
        write_words(limbs, moment_row, words);
    });
}

ffi::Error normalize(Array x, Array scale, Array bias, Array words, Array counts, ffi::RemainingArgs residual, Output y,
                     Output mean, Output low, Output var, Output inv_std, Output saved, ffi::Dictionary attributes) {
    return run([&] {
        const Options options = options_of(attributes);
        const Shape shape = shape_of(x, options.axis);
        const Dtype dtype = dtype_of(x);
        const std::vector<double> gamma = widened(scale), beta = widened(bias);
        const std::vector<int64_t> n = counts_of(counts);
        const Statistics rows = rows_of(*saved, shape.channels);
        Limbs limbs(words, moment_row);
        for (int64_t c = 0; c < shape.channels; ++c)
            store_moments(moments_of(limbs.at(c), n[size_t(c)]), options.eps, rows, c);
        const Operand from = operand_of(x, shape), to = result_of(*y, shape);
        const Operand added = options.residual ? operand_of(*residual.get<Array>(0), shape) : Operand{};
        for_equal(n, [&](int64_t first, int64_t channels, int64_t total) {
            ForwardCall call{};
            call.shape = {shape.outer, channels, shape.inner};
            call.dtype = dtype;
            call.x = from_channel(from, first, dtype);
            call.y = from_channel(to, first, dtype);
            call.residual = from_channel(added, first, dtype);
            call.gamma = gamma.data() + first;
            call.beta = beta.data() + first;
            call.statistics = from_channel(rows, first);
            call.frozen = call.exact = true;
            call.eps = options.eps;
            call.activation = options.activation;
            call.slope = options.slope;
            call.threads = thread_count();
            call.total = total;
            levels()[0]->forward(call);
        });
        narrow(rows.mean, mean);
        narrow_low(rows, mean, low);
        narrow(rows.var, var);
        narrow(rows.inv_std, inv_std);
    });
}

ffi::Error write_comoments(Array dy, Array x, ffi::RemainingArgs output, Output words, ffi::Dictionary attributes) {
    return run([&] {
        const Options options = options_of(attributes);
        BackwardCall call = backward_call(options, dy, x);
        if (output.size() > 0) call.y = operand_of(*output.get<Array>(0), call.shape);
        const int64_t c = call.shape.channels;
        std::vector<double> unused(size_t(6 * c));
        double* row = unused.data();
        call.statistics = {row, row + c, row + 2 * c, row + 3 * c};
        call.dgamma = row + 4 * c;
        call.dbeta = row + 5 * c;
        call.exact = true;
        std::vector<int64_t> limbs(size_t(c * sides_of(options.activation) * comoment_limbs));
        call.limbs = limbs.data();
        levels()[0]->backward(call);
        write_words(limbs, comoment_row, words);
    });
}

// The sums of dz*x_hat, of dz and of |dz| of each channel, in this order.
std::vector<double> sums_of(const Array& words, const Options& options, const Statistics& rows, int64_t channels) {
    std::vector<double> sums(size_t(3 * channels));
    BackwardCall call{};
    call.statistics = rows;
    call.dgamma = sums.data();
    call.dbeta = sums.data() + channels;
    call.slope = options.slope;
    call.inverse_slope = 1.0;
    const int sides = sides_of(options.activation);
    std::vector<int64_t> all(size_t(sides * comoment_limbs));
    Limbs limbs(words, comoment_row);
    for (int64_t c = 0; c < channels; ++c) {
        for (int side = 0; side < sides; ++side) {
            const int64_t* from = limbs.at(c * sides + side);
            std::copy(from, from + comoment_limbs, all.begin() + side * comoment_limbs);
        }
        sums[size_t(2 * channels + c)] = store_sums(comoments_of(all.data(), sides), call, c);
    }
    return sums;
}

ffi::Error store_gradients(Array dy, Array x, Array scale, Array saved, Array total, Array own, Array counts,
                           Array alike, ffi::RemainingArgs output, Output dx, Output dscale, Output dbias, ffi::RemainingRets rest,
                           ffi::Dictionary attributes) {
    return run([&] {
        // All parts find the same, so that none waits for another one.
        if (!*alike.typed_data<bool>())
            throw std::invalid_argument("scale must be the same on all devices of axis_name with sums=\"exact\". The sums of "
                                        "the gradient are those of all devices. Pass one scale, or sums=\"float64\".");
        const Options options = options_of(attributes);
        const BackwardCall whole = backward_call(options, dy, x);
        const Shape shape = whole.shape;
        const std::vector<double> gamma = widened(scale);
        const Statistics rows = rows_of(saved, shape.channels);
        std::vector<double> sums = sums_of(total, options, rows, shape.channels);
        const Operand y = output.size() > 0 ? operand_of(*output.get<Array>(0), shape) : Operand{};
        const Operand to_x = result_of(*dx, shape);
        const Operand to_residual = options.residual ? result_of(**rest.get<Array>(0), shape) : Operand{};
        for_equal(counts_of(counts), [&](int64_t first, int64_t channels, int64_t n) {
            BackwardCall call = whole;
            call.shape = {shape.outer, channels, shape.inner};
            call.dy = from_channel(whole.dy, first, whole.dtype);
            call.x = from_channel(whole.x, first, whole.dtype);
            call.y = from_channel(y, first, whole.dtype);
            call.dx = from_channel(to_x, first, whole.dtype);
            call.dresidual = from_channel(to_residual, first, whole.dtype);
            call.gamma = gamma.data() + first;
            call.dgamma = sums.data() + first;
            call.dbeta = call.dgamma + shape.channels;
            call.measures = call.dbeta + shape.channels;
            call.statistics = from_channel(rows, first);
            call.exact = true;
            call.total = n;
            levels()[0]->backward(call);
        });
        // Where the parameters are those of all parts, so are their gradients; elsewhere JAX adds the parts'.
        if (!options.shared) sums = sums_of(own, options, rows, shape.channels);
        narrow(sums.data(), dscale);
        narrow(sums.data() + shape.channels, dbias);
    });
}

XLA_FFI_DEFINE_HANDLER(moments_handler, write_moments, ffi::Ffi::Bind().Arg<Array>().Ret<Array>().Attrs());
XLA_FFI_DEFINE_HANDLER(normalize_handler, normalize,
                       ffi::Ffi::Bind()
                           .Arg<Array>()
                           .Arg<Array>()
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
XLA_FFI_DEFINE_HANDLER(comoments_handler, write_comoments,
                       ffi::Ffi::Bind().Arg<Array>().Arg<Array>().RemainingArgs().Ret<Array>().Attrs());
XLA_FFI_DEFINE_HANDLER(gradients_handler, store_gradients,
                       ffi::Ffi::Bind()
                           .Arg<Array>()
                           .Arg<Array>()
                           .Arg<Array>()
                           .Arg<Array>()
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

std::vector<PartHandler> part_handlers() {
    return {{"part_moments", moments_handler},
            {"part_normalize", normalize_handler},
            {"part_comoments", comoments_handler},
            {"part_gradients", gradients_handler}};
}

}  // namespace backnorm::jax

#endif
