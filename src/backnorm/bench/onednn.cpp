// Batch normalization by oneDNN, for `backnorm bench`: onednn.py compiles this file where the library is installed.
// A plain C interface, so that ctypes can call it in the process and on the arrays of the other calls.
#include <dnnl.hpp>
#include <omp.h>

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <unordered_map>

namespace {

using dnnl::memory;
using flags = dnnl::normalization_flags;

thread_local std::string last_error;

struct Arrays {
    void *x, *dy, *out, *gamma, *beta, *mean, *variance, *dgamma, *dbeta;
};

struct Layer {
    dnnl::engine engine{dnnl::engine::kind::cpu, 0};
    dnnl::stream stream{engine};
    dnnl::primitive primitive;
    std::unordered_map<int, memory> arguments;
    std::string implementation;
    int threads;
};

#if DNNL_VERSION_MAJOR >= 3
auto forward_of(const dnnl::engine& engine, const memory::desc& values, float eps, flags with) {
    return dnnl::batch_normalization_forward::primitive_desc(engine, dnnl::prop_kind::forward_training, values, values,
                                                             eps, with);
}
auto backward_of(const dnnl::engine& engine, const memory::desc& values, float eps, flags with,
                 const dnnl::batch_normalization_forward::primitive_desc& hint) {
    return dnnl::batch_normalization_backward::primitive_desc(engine, dnnl::prop_kind::backward, values, values, values,
                                                              eps, with, hint);
}
#else
auto forward_of(const dnnl::engine& engine, const memory::desc& values, float eps, flags with) {
    return dnnl::batch_normalization_forward::primitive_desc({dnnl::prop_kind::forward_training, values, eps, with},
                                                             engine);
}
auto backward_of(const dnnl::engine& engine, const memory::desc& values, float eps, flags with,
                 const dnnl::batch_normalization_forward::primitive_desc& hint) {
    return dnnl::batch_normalization_backward::primitive_desc({dnnl::prop_kind::backward, values, values, eps, with},
                                                              engine, hint);
}
#endif

memory::data_type type_of(const std::string& name) {
    if (name == "bfloat16") return memory::data_type::bf16;
    if (name == "float16") return memory::data_type::f16;
    return memory::data_type::f32;
}

std::unique_ptr<Layer> make(bool backward, bool nhwc, const char* dtype, const int64_t* shape, float eps, int threads,
                            const Arrays& arrays) {
    omp_set_num_threads(threads);
    auto layer = std::make_unique<Layer>();
    layer->threads = threads;
    const dnnl::engine& engine = layer->engine;
    const memory::dims extent(shape, shape + 4);
    const auto order = nhwc ? memory::format_tag::nhwc : memory::format_tag::nchw;
    const memory::desc values(extent, type_of(dtype), order);
    const memory::desc channels({shape[1]}, memory::data_type::f32, memory::format_tag::a);
    const flags with = flags::use_scale | flags::use_shift;
    const auto forward = forward_of(engine, values, eps, with);
    const auto add = [&](int name, const memory::desc& of, void* at) {
        layer->arguments.emplace(name, memory(of, engine, at));
    };
    add(DNNL_ARG_SRC, values, arrays.x);
    add(DNNL_ARG_MEAN, channels, arrays.mean);
    add(DNNL_ARG_VARIANCE, channels, arrays.variance);
    add(DNNL_ARG_SCALE, channels, arrays.gamma);
    add(DNNL_ARG_SHIFT, channels, arrays.beta);
    if (!backward) {
        add(DNNL_ARG_DST, values, arrays.out);
        layer->primitive = dnnl::batch_normalization_forward(forward);
        layer->implementation = forward.impl_info_str();
        return layer;
    }
    const auto description = backward_of(engine, values, eps, with, forward);
    add(DNNL_ARG_DIFF_DST, values, arrays.dy);
    add(DNNL_ARG_DIFF_SRC, values, arrays.out);
    add(DNNL_ARG_DIFF_SCALE, channels, arrays.dgamma);
    add(DNNL_ARG_DIFF_SHIFT, channels, arrays.dbeta);
    layer->primitive = dnnl::batch_normalization_backward(description);
    layer->implementation = description.impl_info_str();
    return layer;
}

}  // namespace

extern "C" {

// The words of the last call that returned null or a number other than zero.
const char* backnorm_onednn_error() { return last_error.c_str(); }

// Of the library that is loaded: major * 10000 + minor * 100 + patch.
int backnorm_onednn_version() {
    const dnnl_version_t* version = dnnl_version();
    return version->major * 10000 + version->minor * 100 + version->patch;
}

void* backnorm_onednn_make(int backward, int nhwc, const char* dtype, const int64_t* shape, float eps, int threads,
                           const Arrays* arrays) {
    try {
        return make(backward, nhwc, dtype, shape, eps, threads, *arrays).release();
    } catch (const std::exception& error) {
        last_error = error.what();
        return nullptr;
    }
}

const char* backnorm_onednn_implementation(const void* layer) {
    return static_cast<const Layer*>(layer)->implementation.c_str();
}

int backnorm_onednn_run(void* handle) {
    try {
        auto* layer = static_cast<Layer*>(handle);
        omp_set_num_threads(layer->threads);
        layer->primitive.execute(layer->stream, layer->arguments);
        layer->stream.wait();
        return 0;
    } catch (const std::exception& error) {
        last_error = error.what();
        return 1;
    }
}

void backnorm_onednn_free(void* layer) { delete static_cast<Layer*>(layer); }

}  // extern "C"
