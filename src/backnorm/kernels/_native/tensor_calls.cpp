#include "tensor_calls.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#include "arrangement.hpp"
#include "dlpack.hpp"
#include "gil.hpp"
#include "levels.hpp"
#include "memory_format.hpp"
#include "storage.hpp"
#include "tensors.hpp"
#include "threads.hpp"

namespace nb = nanobind;

namespace backnorm {
namespace {

// The framework's exchange of tensors; set once, when its adapter is imported.
const dlpack::Exchange* exchange = nullptr;

bool use_exchange(nb::handle capsule) {
    void* pointer = PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api");
    if (!pointer) throw nb::python_error();
    auto* api = static_cast<const dlpack::Exchange*>(pointer);
    while (api && api->version.major != dlpack::known_major) api = api->previous;
    exchange = api;
    return api != nullptr;
}

dlpack::Tensor tensor_of(nb::handle object) {
    dlpack::Tensor t;
    if (exchange->tensor_from_object(object.ptr(), &t) != 0) throw nb::python_error();
    return t;
}

std::optional<Dtype> dtype_of(const dlpack::Tensor& t) {
    if (t.dtype.lanes != 1) return {};
    if (t.dtype.code == dlpack::float_code && t.dtype.bits == 32) return Dtype::float32;
    if (t.dtype.code == dlpack::float_code && t.dtype.bits == 64) return Dtype::float64;
    if (t.dtype.code == dlpack::float_code && t.dtype.bits == 16) return Dtype::float16;
    if (t.dtype.code == dlpack::bfloat_code && t.dtype.bits == 16) return Dtype::bfloat16;
    return {};
}

void* start_of(const dlpack::Tensor& t) { return static_cast<char*>(t.data) + t.byte_offset; }

// A tensor that the caller's code was given, and whose storage it may have freed: an error if it did. The name is that
// of batch_norm's argument. Tensors without a name were made for this call.
dlpack::Tensor given(nb::handle object, const char* name) {
    const dlpack::Tensor t = tensor_of(object);
    if (name) check_storage(object, t, name);
    return t;
}

// Arguments checked by `accepts`: one value per channel, or None.
Parameters parameters_of(nb::handle object, const char* name = nullptr) {
    if (object.is_none()) return {nullptr, Dtype::float64};
    const dlpack::Tensor t = given(object, name);
    return {start_of(t), *dtype_of(t)};
}

// The operands of tensors of x's shape, arranged as x.
class Operands {
  public:
    explicit Operands(const dlpack::Tensor& x) : arrangement_(x) {}

    const Shape& shape() const { return arrangement_.shape(); }
    // Whether the kernels can take the strides and addresses of all operands so far.
    bool fit() const { return fit_; }

    // Empty where the tensor is None, and where it does not fit.
    Operand of(nb::handle object, const char* name = nullptr) {
        return object.is_none() ? Operand{} : of(given(object, name));
    }
    Operand of(const dlpack::Tensor& t) {
        const auto place = arrangement_.place(t);
        fit_ = fit_ && place;
        return place.value_or(Operand{});
    }

  private:
    Arrangement arrangement_;
    bool fit_ = true;
};

bool fitting(nb::handle x_, nb::handle gamma, nb::handle beta, nb::handle running_mean,
             nb::handle running_var, bool training) {
    const dlpack::Tensor x = tensor_of(x_);
    if (x.device.type != dlpack::cpu || x.axes < 2 || x.axes > most_axes) return false;
    const auto dtype = dtype_of(x);
    int64_t size = 1;
    for (int axis = 0; axis < x.axes; ++axis) size *= x.shape[axis];
    if (!dtype || size == 0) return false;
    std::optional<Dtype> parameters;
    for (const nb::handle& each : {gamma, beta, running_mean, running_var}) {
        if (each.is_none()) continue;
        const dlpack::Tensor p = tensor_of(each);
        const bool plain = p.device.type == dlpack::cpu && p.axes == 1 &&
                           p.shape[0] == x.shape[channel_axis] && (p.strides[0] == 1 || p.shape[0] == 1);
        const auto own = dtype_of(p);
        if (!plain || !own || (parameters && *parameters != *own)) return false;
        parameters = own;
    }
    const bool narrow = *dtype == Dtype::float16 || *dtype == Dtype::bfloat16;
    if (parameters && *parameters != *dtype && !(narrow && *parameters == Dtype::float32)) return false;
    if (running_mean.is_none() != running_var.is_none()) return false;
    return training ? size > x.shape[channel_axis] : !running_mean.is_none();
}

// Runs body(); calls with few values keep Python's lock: they end sooner than another thread would wake up.
template <class Body>
bool worked(int64_t values, const Body& body) {
    constexpr int64_t values_with_gil = 1 << 12;
    return values <= values_with_gil ? body() : without_gil(body);
}

}  // namespace

bool accepts(nb::handle x, nb::handle gamma, nb::handle beta, nb::handle running_mean,
             nb::handle running_var, bool training) {
    try {
        return fitting(x, gamma, beta, running_mean, running_var, training);
    } catch (const nb::python_error&) {
        return false;
    }
}

nb::object forward_tensors(int level, nb::handle x, nb::handle y, nb::handle residual, nb::handle gamma,
                   nb::handle beta, nb::handle running_mean, nb::handle running_var, bool training,
                   double momentum, double eps, int activation, double slope, int threads, bool exact) {
    const dlpack::Tensor input = given(x, "input");
    Operands operands(input);
    const Shape& shape = operands.shape();
    ForwardTensors t{shape,
                     *dtype_of(input),
                     operands.of(input),
                     operands.of(y),
                     operands.of(residual, "residual"),
                     parameters_of(gamma, "weight"),
                     parameters_of(beta, "bias"),
                     parameters_of(running_mean, "running_mean"),
                     parameters_of(running_var, "running_var"),
                     momentum,
                     nullptr,
                     !training,
                     eps,
                     activation_of(activation),
                     slope,
                     threads_of_framework(threads), exact};
    if (!operands.fit()) return nb::none();
    PyObject* rows = PyBytes_FromStringAndSize(nullptr, Py_ssize_t(4 * shape.channels * int64_t(sizeof(double))));
    if (!rows) throw nb::python_error();
    nb::object statistics = nb::steal(rows);
    t.statistics = reinterpret_cast<double*>(PyBytes_AS_STRING(rows));
    worked(shape.size(), [&] {
        const FrameworksThreads in_its_threads;
        run(*levels()[level], t);
        return true;
    });
    return statistics;
}

int backward_tensors(int level, nb::handle dy, nb::handle x, nb::handle y, nb::handle dx, nb::handle dresidual,
              nb::handle gamma, nb::handle beta, nb::handle dgamma, nb::handle dbeta,
              nb::bytes statistics, bool training, bool through_mean, bool through_variance,
              bool recomputable, bool from_output, int activation, double slope, int threads,
              bool exact) {
    const dlpack::Tensor input = given(x, from_output ? "output" : "input");
    Operands operands(input);
    // Beta may have been freed, as PyTorch's layers allow, which do not keep it. Then the output is read as it was stored.
    recomputable = recomputable && activation_of(activation) != Activation::identity &&
                   (beta.is_none() || has_storage(beta, tensor_of(beta)));
    const nb::object read_beta = from_output || recomputable ? nb::borrow(beta) : nb::none();
    const BackwardTensors t{operands.shape(),
                            *dtype_of(input),
                            operands.of(dy, "dy"),
                            operands.of(input),
                            operands.of(y, "output"),
                            operands.of(dx),
                            operands.of(dresidual),
                            parameters_of(gamma, "weight"),
                            parameters_of(read_beta, from_output ? "bias" : nullptr),
                            parameters_of(dgamma),
                            parameters_of(dbeta),
                            // Read only, though its type does not say so.
                            reinterpret_cast<double*>(const_cast<char*>(statistics.c_str())),
                            !training,
                            training && through_mean,
                            training && through_variance,
                            recomputable,
                            from_output,
                            activation_of(activation),
                            slope,
                            threads_of_framework(threads), exact};
    if (!operands.fit()) return int(Outcome::needs_layout);
    const auto body = [&] {
        const FrameworksThreads in_its_threads;
        return run(*levels()[level], t);
    };
    return int(worked(t.shape.size(), body) ? Outcome::done : Outcome::needs_output);
}

namespace {

// Whether y may take the memory of x: kernels can take its strides, and no two of its values share memory.
bool in_place(nb::handle x) {
    const dlpack::Tensor t = tensor_of(x);
    return distinct(t) && Arrangement(t).place(t);
}
// Whether x_hat can be computed from y.
bool can_invert(nb::handle x, nb::handle gamma, nb::handle beta, double slope) {
    const dlpack::Tensor t = tensor_of(x);
    return invertible(parameters_of(gamma, "weight"), parameters_of(beta, "bias"), t.shape[channel_axis],
                      *dtype_of(t), slope);
}

// The format of a result: y of x, or dx of x and dy.
struct ResultFormat {
    bool channels_last;
    bool is_like;  // x has fewer bytes than `large`, and the strides of the result

    ResultFormat(nb::handle x, nb::handle dy, int64_t large) {
        const dlpack::Tensor t = tensor_of(x), gradient = dy.is_none() ? t : tensor_of(dy);
        channels_last = result_is_channels_last(t, dy.is_none() ? nullptr : &gradient);
        int64_t bytes = t.dtype.bits / 8;
        for (int axis = 0; axis < t.axes; ++axis) bytes *= t.shape[axis];
        is_like = bytes < large && packed(t, channels_last, true);
    }
};
// Arrays of this many bytes come from recycled memory.
int64_t large = 0;

// Whether the result is channels last; None where it is like x.
nb::object result_format(nb::handle x, nb::handle dy) {
    const ResultFormat format(x, dy, large);
    return format.is_like ? nb::none() : nb::cast(format.channels_last);
}

void use_large(int64_t bytes) { large = bytes; }

}  // namespace

bool result_is_like(nb::handle x, nb::handle dy) { return ResultFormat(x, dy, large).is_like; }

bool has_memory(nb::handle tensor) {
    const dlpack::Tensor t = tensor_of(tensor);
    return t.data && t.device.type == dlpack::cpu;
}

bool increment(nb::handle counter) {
    const dlpack::Tensor t = tensor_of(counter);
    constexpr uint8_t integer_code = 0;
    if (t.device.type != dlpack::cpu || t.axes != 0 || t.dtype.code != integer_code || t.dtype.bits != 64) return false;
    if (!has_storage(counter, t)) return false;
    int64_t value;
    std::memcpy(&value, start_of(t), sizeof value);
    ++value;
    std::memcpy(start_of(t), &value, sizeof value);
    return true;
}

void define_tensor_calls(nb::module_& m) {
    const auto none = nb::arg().none();
    m.def("use_exchange", &use_exchange);
    m.def("use_storage", &use_storage);
    m.def("accepts", &accepts, none, none, none, none, none, none);
    m.def("forward_tensors", &forward_tensors, none, none, none, none, none, none, none, none, none, none, none,
          none, none, none, none);
    m.def("backward_tensors", &backward_tensors, none, none, none, none, none, none, none, none, none, none, none, none,
          none, none, none, none, none, none, none, none);
    m.def("in_place", &in_place);
    m.def("can_invert", &can_invert, none, none, none, none);
    m.def("result_format", &result_format, none, none);
    m.def("use_large", &use_large);
}

}  // namespace backnorm
