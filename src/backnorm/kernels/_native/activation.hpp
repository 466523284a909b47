// The activations on sixteen lanes. Comparisons are written so that NaN stays NaN.
#pragma once

#include <type_traits>

#include "call.hpp"
#include "pack.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

template <Activation kind>
BACKNORM_INLINE Pack activate(Pack z, double slope) {
    if constexpr (kind == Activation::identity) return z;
    using V = Doubles;
    const V zero{}, six = zero + 6.0;
    BACKNORM_UNROLL for (int k = 0; k < Pack::parts; ++k) {
        V v = z.part[k];
        if constexpr (kind == Activation::leaky_relu) v = v < zero ? v * slope : v;
        if constexpr (kind == Activation::relu) v = v < zero ? zero : v;
        if constexpr (kind == Activation::relu6) v = v < zero ? zero : (v > six ? six : v);
        z.part[k] = v;
    }
    return z;
}

// What arrives before the activation, dy times its derivative, read from its output y.
template <Activation kind>
BACKNORM_INLINE Pack arriving(Pack dy, const Pack& y, double slope) {
    if constexpr (kind == Activation::identity) return dy;
    using V = Doubles;
    const V zero{}, six = zero + 6.0;
    BACKNORM_UNROLL for (int k = 0; k < Pack::parts; ++k) {
        V v = dy.part[k];
        if constexpr (kind == Activation::leaky_relu) v = y.part[k] > zero ? v : v * slope;
        if constexpr (kind == Activation::relu) v = y.part[k] > zero ? v : zero;
        if constexpr (kind == Activation::relu6) {
            v = y.part[k] > zero ? v : zero;
            v = y.part[k] < six ? v : zero;
        }
        dy.part[k] = v;
    }
    return dy;
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
