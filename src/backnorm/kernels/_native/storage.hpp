// Whether the memory behind a framework's tensor is still there: it may have been freed or shrunk since the tensor
// was made, to save memory between two uses.
#pragma once

#include <nanobind/nanobind.h>

#include "dlpack.hpp"

namespace backnorm {

// DLPack does not say how long a storage is, so the framework's own functions do: `storage` of a tensor, a sequence of
// bytes, and `start` of a storage, an address. `refusal` makes the error of (name, needed bytes, held bytes).
void use_storage(nanobind::object storage, nanobind::object start, nanobind::object refusal);

// Raises that error if the storage of `object`, which is `tensor`, ends before the tensor's last value.
void check_storage(nanobind::handle object, const dlpack::Tensor& tensor, const char* name);
// Whether it does not.
bool has_storage(nanobind::handle object, const dlpack::Tensor& tensor);

}  // namespace backnorm
