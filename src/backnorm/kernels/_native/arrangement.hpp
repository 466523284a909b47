// Any strides seen as outer x channel x inner, as _layout.py does it for arrays; the channel axis is 1.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "call.hpp"
#include "dlpack.hpp"

namespace backnorm {

// The channel axis, and the most axes that are arranged.
constexpr int channel_axis = 1, most_axes = 8;

// Sorts a few axes; equal ones stay in their order. std::stable_sort takes memory for that.
template <class Before>
inline void order(int* axes, int count, const Before& before) {
    for (int k = 1; k < count; ++k)
        for (int j = k; j > 0 && before(axes[j], axes[j - 1]); --j) std::swap(axes[j], axes[j - 1]);
}

class Arrangement {
  public:
    // x has 2 to most_axes axes. Axes with longer strides than the channel's are outer ones.
    explicit Arrangement(const dlpack::Tensor& x) : axes_(x.axes) {
        int reduced[most_axes], count = 0;
        for (int axis = 0; axis < axes_; ++axis)
            if (axis != channel_axis) reduced[count++] = axis;
        order(reduced, count, [&](int a, int b) { return rank(x, a) > rank(x, b); });
        const int64_t channel_stride = x.strides[channel_axis];
        for (int k = 0; k < count; ++k) {
            const int axis = reduced[k];
            const bool is_outer = x.shape[axis] == 1 || x.strides[axis] > channel_stride;
            if (is_outer) outer_[outer_count_++] = axis;
            else inner_[inner_count_++] = axis;
        }
        shape_ = {extent(x, outer_, outer_count_), x.shape[channel_axis], extent(x, inner_, inner_count_)};
    }

    const Shape& shape() const { return shape_; }

    // A tensor of x's shape; nothing where it would have to be copied, for its strides or for its address.
    std::optional<Operand> place(const dlpack::Tensor& a) const {
        char* const start = static_cast<char*>(a.data) + a.byte_offset;
        if (reinterpret_cast<uintptr_t>(start) % (a.dtype.bits / 8) != 0) return {};
        int64_t outer, inner;
        if (!step(a, outer_, outer_count_, outer) || !step(a, inner_, inner_count_, inner)) return {};
        const int64_t channel = a.strides[channel_axis];
        const bool contiguous = shape_.inner > 1 ? inner == 1 : channel == 1 || shape_.channels == 1;
        if (!contiguous) return {};
        return Operand{start, outer, channel};
    }

  private:
    using Axes = std::array<int, most_axes>;

    // Axes of length 1 come first, then longer strides.
    static int64_t rank(const dlpack::Tensor& x, int axis) {
        return x.shape[axis] == 1 ? INT64_MAX : x.strides[axis];
    }
    static int64_t extent(const dlpack::Tensor& x, const Axes& axes, int count) {
        int64_t product = 1;
        for (int k = 0; k < count; ++k) product *= x.shape[axes[size_t(k)]];
        return product;
    }
    // The stride of some axes seen as one.
    static bool step(const dlpack::Tensor& a, const Axes& axes, int count, int64_t& stride) {
        int64_t length = 0;
        stride = 0;
        for (int k = count; k-- > 0;) {
            const int axis = axes[size_t(k)];
            if (a.shape[axis] == 1) continue;
            if (!length) stride = a.strides[axis], length = a.shape[axis];
            else if (a.strides[axis] == stride * length) length *= a.shape[axis];
            else return false;
        }
        return true;
    }

    int axes_;
    Axes outer_, inner_;
    int outer_count_ = 0, inner_count_ = 0;
    Shape shape_;
};

// Whether no two values share memory.
inline bool distinct(const dlpack::Tensor& x) {
    int axes[most_axes], count = 0;
    for (int axis = 0; axis < x.axes; ++axis)
        if (x.shape[axis] > 1) axes[count++] = axis;
    order(axes, count, [&](int a, int b) { return x.strides[a] < x.strides[b]; });
    int64_t reach = 1;
    for (int k = 0; k < count; ++k) {
        if (x.strides[axes[k]] < reach) return false;
        reach = x.strides[axes[k]] * x.shape[axes[k]];
    }
    return true;
}

}  // namespace backnorm
