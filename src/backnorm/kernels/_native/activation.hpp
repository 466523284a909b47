// The activations on sixteen lanes. Comparisons are written so that NaN stays NaN.
#pragma once

#include <type_traits>

#include "call.hpp"
#include "pack.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

// v where `chosen` has all bits, +0 where it has none: one instruction, where a selection takes three.
template <class T, class Mask>
BACKNORM_INLINE Native<T> where(const Mask& chosen, const Native<T>& v) {
    return same_bits<Native<T>>(same_bits<Mask>(v) & chosen);
}

template <Activation kind, class T>
BACKNORM_INLINE Pack<T> activate(Pack<T> z, double slope) {
    if constexpr (kind == Activation::identity) return z;
    using V = Native<T>;
    const V zero{}, six = zero + T(6);
    BACKNORM_UNROLL for (int k = 0; k < Pack<T>::parts; ++k) {
        V v = z.part[k];
        if constexpr (kind == Activation::leaky_relu) v = v < zero ? v * T(slope) : v;
        if constexpr (kind == Activation::relu) v = where<T>(~(v < zero), v);
        if constexpr (kind == Activation::relu6) v = v < zero ? zero : (v > six ? six : v);
        z.part[k] = v;
    }
    return z;
}

// What arrives before the activation, dy times its derivative, read from its output y.
template <Activation kind, class T>
BACKNORM_INLINE Pack<T> arriving(Pack<T> dy, const Pack<T>& y, double slope) {
    if constexpr (kind == Activation::identity) return dy;
    using V = Native<T>;
    const V zero{}, six = zero + T(6);
    BACKNORM_UNROLL for (int k = 0; k < Pack<T>::parts; ++k) {
        V v = dy.part[k];
        if constexpr (kind == Activation::leaky_relu) v = y.part[k] > zero ? v : v * T(slope);
        if constexpr (kind == Activation::relu) v = where<T>(y.part[k] > zero, v);
        if constexpr (kind == Activation::relu6) {
            v = where<T>((y.part[k] > zero) & (y.part[k] < six), v);
        }
        dy.part[k] = v;
    }
    return dy;
}

// What the activation was applied to, where v is its output and `back` 1/slope; with back 1, v itself.
template <Activation kind, class T>
BACKNORM_INLINE Pack<T> before(Pack<T> v, double back) {
    if constexpr (kind == Activation::leaky_relu) {
        const Native<T> zero{};
        BACKNORM_UNROLL for (int k = 0; k < Pack<T>::parts; ++k)
            v.part[k] = v.part[k] < zero ? v.part[k] * T(back) : v.part[k];
    }
    return v;
}

// Calls body(std::integral_constant<Activation, kind>) for the kind known at run time.
template <class Body>
inline void with_activation(Activation kind, Body&& body) {
    switch (kind) {
        case Activation::identity: return body(std::integral_constant<Activation, Activation::identity>());
        case Activation::relu: return body(std::integral_constant<Activation, Activation::relu>());
        case Activation::relu6: return body(std::integral_constant<Activation, Activation::relu6>());
        case Activation::leaky_relu: return body(std::integral_constant<Activation, Activation::leaky_relu>());
    }
}

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
