// The Python module: takes arrays through the buffer protocol, fills a call, runs it without the GIL.
//
// The callers (native_kernel.py) have checked and arranged everything: see _contract.py. The two
// 16-bit dtypes come as unsigned integers, since NumPy exports no buffer of bfloat16.
#include <nanobind/nanobind.h>

#include <memory>
#include <vector>

#include "call.hpp"
#include "copy.hpp"
#include "exact_limbs.hpp"
#include "gil.hpp"
#include "jax_calls.hpp"
#include "levels.hpp"
#include "memory.hpp"
#include "moment_bins.hpp"
#include "numpy_calls.hpp"
#include "openmp.hpp"
#include "processors.hpp"
#include "tensor_calls.hpp"
#include "threads.hpp"
#include "usual_tensors.hpp"

namespace nb = nanobind;

namespace backnorm {
namespace {

// A view of an array's memory, held as long as the object lives; None gives an empty one.
class Buffer {
  public:
    explicit Buffer(nb::handle array, bool writable = false) {
        if (array.is_none()) return;
        const int flags = writable ? PyBUF_STRIDES | PyBUF_WRITABLE : PyBUF_STRIDES;
        if (PyObject_GetBuffer(array.ptr(), &view_, flags) != 0) throw nb::python_error();
        held_ = true;
    }
    ~Buffer() {
        if (held_) PyBuffer_Release(&view_);
    }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    explicit operator bool() const { return held_; }
    int64_t extent(int axis) const { return view_.shape[axis]; }
    int64_t stride(int axis) const { return view_.strides[axis] / view_.itemsize; }
    void* data() const { return view_.buf; }
    int64_t bytes() const { return view_.len; }
    double* numbers() const { return held_ ? static_cast<double*>(view_.buf) : nullptr; }
    int64_t* integers() const { return held_ ? static_cast<int64_t*>(view_.buf) : nullptr; }

    Operand operand() const {
        if (!held_) return {};
        return {view_.buf, stride(0), stride(1)};
    }
    Shape shape() const { return {extent(0), extent(1), extent(2)}; }

  private:
    Py_buffer view_{};
    bool held_ = false;
};

Statistics statistics_of(const Buffer& rows) {
    double* p = rows.numbers();
    const int64_t c = rows.extent(1);
    return {p, p + c, p + 2 * c, p + 3 * c};
}

// Runs body(threads) without the lock: in our own threads, or in up to so many of a framework's.
template <class Body>
auto computed(int of_framework, const Body& body) {
    return without_gil([&] {
        if (of_framework == 0) return body(thread_count());
        const FrameworksThreads in_its_threads;
        return body(threads_of_framework(of_framework));
    });
}

void forward(int level, int dtype, nb::handle x, nb::handle y, nb::handle residual,
             nb::handle gamma, nb::handle beta, nb::handle statistics, bool frozen, double eps,
             int activation, double slope, bool exact, int64_t total, nb::handle limbs, int of_framework) {
    const Buffer x_(x), y_(y, true), residual_(residual), gamma_(gamma), beta_(beta);
    const Buffer statistics_(statistics, !frozen), limbs_(limbs, true);
    ForwardCall call{x_.shape(), Dtype(dtype), x_.operand(), y_.operand(),
                           residual_.operand(), gamma_.numbers(), beta_.numbers(),
                           statistics_of(statistics_), frozen, eps, activation_of(activation), slope,
                           0, exact, total, limbs_.integers()};
    computed(of_framework, [&](int threads) {
        call.threads = threads;
        levels()[level]->forward(call);
    });
}

void backward(int level, int dtype, nb::handle dy, nb::handle x, nb::handle y, nb::handle dx,
              nb::handle dresidual, nb::handle sums, nb::handle gamma, nb::handle statistics,
              bool frozen, bool through_mean, bool through_variance, bool add_dx,
              bool add_dresidual, int activation, double slope, bool exact, int64_t total, nb::handle limbs,
              nb::handle measures, int of_framework) {
    const Buffer dy_(dy), x_(x), y_(y), dx_(dx, true), dresidual_(dresidual, true);
    const Buffer sums_(sums, true), gamma_(gamma), statistics_(statistics), limbs_(limbs, true), measures_(measures);
    BackwardCall call{x_.shape(), Dtype(dtype), dy_.operand(), x_.operand(), y_.operand(),
                            dx_.operand(), dresidual_.operand(), sums_.numbers(),
                            sums_.numbers() + sums_.extent(1), gamma_.numbers(),
                            nullptr, statistics_of(statistics_), false, frozen, through_mean, through_variance,
                            add_dx, add_dresidual, activation_of(activation), slope, 1.0, 0, exact, total,
                            limbs_.integers(), measures_.numbers()};
    const bool done = computed(of_framework, [&](int threads) {
        call.threads = threads;
        return levels()[level]->backward(call);
    });
    if (!done) throw std::invalid_argument("the output is missing");
}

// The statistics of n values a channel, from their limbs, shape (C, moment_limbs).
void limb_statistics(nb::handle limbs, int64_t n, double eps, nb::handle statistics) {
    const Buffer limbs_(limbs), statistics_(statistics, true);
    const Statistics rows = statistics_of(statistics_);
    for (int64_t c = 0; c < limbs_.extent(0); ++c)
        store_moments(moments_of(limbs_.integers() + c * moment_limbs, n), eps, rows, c);
}

// dgamma, dbeta and the sum of |dz|, shape (3, C), from limbs of shape (C, sides, comoment_limbs).
void limb_sums(nb::handle limbs, nb::handle statistics, double slope, nb::handle sums) {
    const Buffer limbs_(limbs), statistics_(statistics), sums_(sums, true);
    const int64_t channels = limbs_.extent(0), sides = limbs_.extent(1);
    BackwardCall call{};
    call.statistics = statistics_of(statistics_);
    call.dgamma = sums_.numbers();
    call.dbeta = call.dgamma + channels;
    call.slope = slope;
    call.inverse_slope = 1.0;
    for (int64_t c = 0; c < channels; ++c)
        call.dbeta[channels + c] =
            store_sums(comoments_of(limbs_.integers() + c * sides * comoment_limbs, int(sides)), call, c);
}

// The places of sums, shape (sums, 4), as in SumPlace.
std::vector<SumPlace> places_of(const Buffer& places) {
    std::vector<SumPlace> all;
    for (int64_t k = 0; k < places.extent(0); ++k) {
        const int64_t* at = places.integers() + 4 * k;
        all.push_back({int(at[0]), int(at[1]), int(at[2]), int(at[3])});
    }
    return all;
}

// Limbs in windows; low has a number for each sum of each row. False if one does not fit.
bool narrow_limbs(nb::handle limbs, nb::handle places, nb::handle low, nb::handle out) {
    const Buffer limbs_(limbs), places_(places), low_(low), out_(out, true);
    const std::vector<SumPlace> all = places_of(places_);
    const int64_t* lows = low_.integers();
    int64_t* narrow = out_.integers();
    for (int64_t row = 0; row < limbs_.extent(0); ++row)
        for (const SumPlace& place : all) {
            if (!to_window(limbs_.integers() + row * limbs_.extent(1), place, int(*lows++), narrow)) return false;
            narrow += place.narrow;
        }
    return true;
}

void wide_limbs(nb::handle narrow, nb::handle places, nb::handle low, nb::handle limbs) {
    const Buffer narrow_(narrow), places_(places), low_(low), limbs_(limbs, true);
    const std::vector<SumPlace> all = places_of(places_);
    const int64_t *lows = low_.integers(), *from = narrow_.integers();
    for (int64_t row = 0; row < limbs_.extent(0); ++row)
        for (const SumPlace& place : all) {
            from_window(from, place, int(*lows++), limbs_.integers() + row * limbs_.extent(1));
            from += place.narrow;
        }
}

// (low, high) of exponent_range.
nb::tuple exponents(int dtype, nb::handle x) {
    const Buffer x_(x);
    const ExponentRange range =
        without_gil([&] { return exponent_range(Dtype(dtype), x_.shape(), x_.operand(), thread_count()); });
    return nb::make_tuple(range.low, range.high);
}

void moments(int dtype, nb::handle x, int low, nb::handle bins, nb::handle special) {
    const Buffer x_(x), bins_(bins, true), special_(special, true);
    const ExponentRange range{low, low + int(bins_.extent(2)) - 1};
    without_gil([&] {
        add_moments(Dtype(dtype), x_.shape(), x_.operand(), range, static_cast<int64_t*>(bins_.data()),
                    special_.numbers(), thread_count());
    });
}

// Memory from the pool, for NumPy to make an array of; it goes back when the last view of it dies.
class Memory {
  public:
    explicit Memory(size_t size) : loan_(borrow(size)), size_(size) {}
    ~Memory() {
        if (loan_.data) give_back(loan_);
    }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    static int get_buffer(PyObject* self, Py_buffer* view, int flags) {
        const Memory& memory = *nb::inst_ptr<Memory>(self);
        return PyBuffer_FillInfo(view, self, memory.loan_.data, Py_ssize_t(memory.size_), 0, flags);
    }
    explicit operator bool() const { return loan_.data != nullptr; }

  private:
    Loan loan_;
    size_t size_;
};

PyType_Slot memory_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(Memory::get_buffer)},
                              {0, nullptr}};

nb::object borrow_memory(size_t bytes) {
    auto memory = std::make_unique<Memory>(bytes);
    return *memory ? nb::cast(memory.release(), nb::rv_policy::take_ownership) : nb::none();
}

void copy_bytes(nb::handle target, nb::handle source, bool streaming) {
    const Buffer target_(target, true), source_(source);
    without_gil([&] { copy(target_.data(), source_.data(), size_t(source_.bytes()), streaming, thread_count()); });
}

void least_move_bytes(nb::handle target, nb::handle x, nb::handle z, size_t piece, int read_first, bool streaming) {
    const Buffer target_(target, true), x_(x), z_(z);
    const bool two = !z.is(x);
    const nb::gil_scoped_release released;
    least_move({target_.data(), x_.data(), two ? z_.data() : nullptr, size_t(x_.bytes()), piece, read_first, streaming},
               thread_count());
}

nb::dict usage() {
    const MemoryUsage now = memory_usage();
    nb::dict result;
    result["limit"] = now.limit;
    result["idle"] = now.idle;
    result["lent"] = now.lent;
    result["fresh"] = now.fresh;
    result["recycled"] = now.recycled;
    return result;
}

// {name: (code, invertible)}, for the test that compares it with the Python table.
nb::dict activations() {
    nb::dict result;
#define BACKNORM_ENTRY(name, code, invertible) result[#name] = nb::make_tuple(code, invertible);
    BACKNORM_ACTIVATIONS(BACKNORM_ENTRY)
#undef BACKNORM_ENTRY
    return result;
}

nb::tuple level_names() {
    nb::list names;
    for (const Level* const* level = levels(); *level; ++level) names.append((*level)->name);
    return nb::tuple(names);
}

}  // namespace
}  // namespace backnorm

NB_MODULE(_native_ext, m) {
    nb::set_leak_warnings(false);  // tensors that live until the end keep their memory until then
    m.def("levels", &backnorm::level_names);
    m.def("activations", &backnorm::activations);
    m.def("forward", &backnorm::forward, nb::arg().none(), nb::arg().none(), nb::arg().none(),
          nb::arg().none(), nb::arg().none(), nb::arg().none(), nb::arg().none(), nb::arg().none(),
          nb::arg().none(), nb::arg().none(), nb::arg().none(), nb::arg().none(), nb::arg().none(),
          nb::arg().none(), nb::arg().none(), nb::arg().none());
    m.def("backward", &backnorm::backward, nb::arg().none(), nb::arg().none(), nb::arg().none(),
          nb::arg().none(), nb::arg().none(), nb::arg().none(), nb::arg().none(), nb::arg().none(),
          nb::arg().none(), nb::arg().none(), nb::arg().none(), nb::arg().none(), nb::arg().none(),
          nb::arg().none(), nb::arg().none(), nb::arg().none(), nb::arg().none(), nb::arg().none(),
          nb::arg().none(), nb::arg().none(), nb::arg().none(), nb::arg().none());
    m.def("limb_statistics", &backnorm::limb_statistics);
    m.def("limb_sums", &backnorm::limb_sums);
    m.def("narrow_limbs", &backnorm::narrow_limbs);
    m.def("wide_limbs", &backnorm::wide_limbs);
    m.def("exponent_range", &backnorm::exponents);
    m.def("add_moments", &backnorm::moments);
    backnorm::define_tensor_calls(m);
    backnorm::define_usual_tensors(m);
    if (!backnorm::define_numpy_calls(m.ptr())) throw nb::python_error();
    m.def("jax_handlers", &backnorm::jax_handlers);
    m.def("set_thread_count", &backnorm::set_thread_count);
    m.def("thread_count", &backnorm::thread_count);
    m.def("openmp_is_awake", &backnorm::openmp_is_awake);
    m.def("idle_spin", [] { return int64_t(backnorm::idle_spin().count()); });
    m.def("first_count", [](nb::str value) { return backnorm::first_count(value.c_str()); });
    m.def("group_limit", [](nb::str groups, nb::str mount) {
        return backnorm::group_limit(groups.c_str(), mount.c_str());
    });
    nb::class_<backnorm::Memory>(m, "Memory", nb::type_slots(backnorm::memory_slots));
    m.def("borrow", &backnorm::borrow_memory);
    m.def("copy", &backnorm::copy_bytes);
    m.def("least_move", &backnorm::least_move_bytes);
    m.def("empty_cache", &backnorm::empty_cache);
    m.def("set_cache_limit", &backnorm::set_cache_limit);
    m.def("memory_usage", &backnorm::usage);
}
