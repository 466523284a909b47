#include "storage.hpp"

#include <cstdint>

namespace nb = nanobind;

namespace backnorm {
namespace {

// Set once, when the framework's adapter is imported, and never freed: there may be calls until the very end.
struct {
    nb::handle storage, start, refusal;
} ask;

// How many bytes lie between the begin of the tensor's first value and the end of its last one.
int64_t reach(const dlpack::Tensor& t) {
    int64_t last = 0;
    for (int axis = 0; axis < t.axes; ++axis) {
        if (t.shape[axis] == 0) return 0;
        last += (t.shape[axis] - 1) * t.strides[axis];
    }
    return (last + 1) * (t.dtype.bits / 8);
}

uintptr_t address(nb::handle number) {
    void* pointer = PyLong_AsVoidPtr(number.ptr());
    if (!pointer && PyErr_Occurred()) throw nb::python_error();
    return reinterpret_cast<uintptr_t>(pointer);
}

// How long a tensor's storage must be, and is.
struct Bytes {
    int64_t needed, held;
};
Bytes bytes_of(nb::handle object, const dlpack::Tensor& tensor) {
    Bytes bytes{reach(tensor), 0};
    if (bytes.needed == 0) return bytes;
    const nb::object storage = ask.storage(object);
    bytes.held = PyObject_Size(storage.ptr());
    if (bytes.held < 0) throw nb::python_error();
    if (bytes.held < bytes.needed) return bytes;
    const uintptr_t first = reinterpret_cast<uintptr_t>(tensor.data) + tensor.byte_offset;
    bytes.needed += int64_t(first - address(ask.start(storage)));
    return bytes;
}

}  // namespace

void use_storage(nb::object storage, nb::object start, nb::object refusal) {
    ask = {storage.release(), start.release(), refusal.release()};
}

void check_storage(nb::handle object, const dlpack::Tensor& tensor, const char* name) {
    const Bytes bytes = bytes_of(object, tensor);
    if (bytes.needed <= bytes.held) return;
    const nb::object error = ask.refusal(name, bytes.needed, bytes.held);
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
    throw nb::python_error();
}

bool has_storage(nb::handle object, const dlpack::Tensor& tensor) {
    const Bytes bytes = bytes_of(object, tensor);
    return bytes.needed <= bytes.held;
}

}  // namespace backnorm
