// In which memory format PyTorch lays out the results of batch normalization, whatever the strides of x
// (batch_norm_cpu in aten/src/ATen/native/Normalization.cpp, c10/core/MemoryFormat.h; PyTorch 2.13).
#pragma once

#include <cstdint>

#include "dlpack.hpp"

namespace backnorm {

// Calls body(axis) for each axis, the innermost in memory first, until it returns false.
template <class Body>
inline bool each_axis(const dlpack::Tensor& x, bool channels_last, Body&& body) {
    if (channels_last && !body(1)) return false;
    for (int axis = x.axes; --axis >= 0;)
        if (!(channels_last && axis == 1) && !body(axis)) return false;
    return true;
}

// Whether x has the strides of a new tensor in that format; those along axes of length 1 count only if `all` do.
inline bool packed(const dlpack::Tensor& x, bool channels_last, bool all) {
    int64_t stride = 1;
    return each_axis(x, channels_last, [&](int axis) {
        if (x.strides[axis] != stride && (all || x.shape[axis] != 1)) return false;
        stride *= x.shape[axis];
        return true;
    });
}

// Whether the order of the strides is that of channels last, with gaps or without.
inline bool suggests_channels_last(const dlpack::Tensor& x) {
    if ((x.axes != 4 && x.axes != 5) || x.strides[1] == 0) return false;
    int64_t least = 0;
    return each_axis(x, true, [&](int axis) {
        if (x.strides[axis] < least) return false;
        // Of one channel and one position in each sample both formats have the same strides: contiguous is meant.
        if (axis == 0 && least == x.strides[1]) return false;
        least = x.strides[axis] * x.shape[axis];
        return true;
    });
}

// Whether x has no gaps in one of the two formats; in channels last if `channels_last`.
inline bool packed_at_all(const dlpack::Tensor& x, bool& channels_last) {
    if (packed(x, false, false)) return channels_last = false, true;
    channels_last = (x.axes == 4 || x.axes == 5) && packed(x, true, false);
    return channels_last;
}

// Whether y of x is channels last, or dx of x and dy. Where x has an axis of length 1, it may have no gaps in one format
// and the order of strides of the other: then the first counts for y, and for dx if dy is like x.
inline bool result_is_channels_last(const dlpack::Tensor& x, const dlpack::Tensor* dy) {
    bool channels_last, ignored;
    const bool suggested = suggests_channels_last(x);
    if (!packed_at_all(x, channels_last)) return suggested;
    const bool alike = !dy || (packed_at_all(*dy, ignored) && suggests_channels_last(*dy) == suggested);
    return alike ? channels_last : suggested;
}

}  // namespace backnorm
