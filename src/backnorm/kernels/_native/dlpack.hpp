// Tensors of a framework as it hands them out without copying or counting: DLPack's exchange of C functions
// (DLPack 1.3, `__dlpack_c_exchange_api__`). Declared here is the part of its binary interface that is used.
#pragma once

#include <cstdint>

namespace backnorm {
namespace dlpack {

struct Tensor {
    void* data;
    struct { int32_t type, id; } device;
    int32_t axes;
    struct { uint8_t code, bits; uint16_t lanes; } dtype;
    const int64_t *shape, *strides;  // strides in elements
    uint64_t byte_offset;
};

constexpr int32_t cpu = 1;
constexpr uint8_t float_code = 2, bfloat_code = 4;

struct Exchange {
    struct { uint32_t major, minor; } version;
    Exchange* previous;
    void *allocate, *managed_from_object, *managed_to_object;
    int (*tensor_from_object)(void* object, Tensor* out);  // 0, or -1 with a Python error set
    void* current_work_stream;
};

constexpr uint32_t known_major = 1;

}  // namespace dlpack
}  // namespace backnorm
