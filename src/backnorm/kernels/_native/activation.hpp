// The activations on sixteen lanes, one struct for each name in BACKNORM_ACTIVATIONS (call.hpp).
//
// `apply` returns y of z, `grad_through` the gradient with respect to z, read from dy and y. An invertible
// activation has `undo` too, which returns z of y, where `inverse_slope` is 1/slope; with inverse_slope 1 it
// returns what it was given, so that one loop serves x and the output in its place. Comparisons are written
// so that NaN stays NaN. Where the derivative is 0 the gradient is selected, not multiplied: an infinite dy
// gives 0.
#pragma once

#include "call.hpp"
#include "pack.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

// v where `chosen` has all bits, +0 where it has none: one instruction, where a selection takes three.
template <class T, class Mask>
BACKNORM_INLINE Native<T> where(const Mask& chosen, const Native<T>& v) {
    return same_bits<Native<T>>(same_bits<Mask>(v) & chosen);
}

template <Activation kind>
struct ActivationOf;

template <>
struct ActivationOf<Activation::identity> {
    template <class T>
    static BACKNORM_INLINE Native<T> apply(const Native<T>& z, double) { return z; }
    template <class T>
    static BACKNORM_INLINE Native<T> grad_through(const Native<T>& dy, const Native<T>&, double) { return dy; }
    template <class T>
    static BACKNORM_INLINE Native<T> undo(const Native<T>& y, double) { return y; }
};

template <>
struct ActivationOf<Activation::relu> {
    template <class T>
    static BACKNORM_INLINE Native<T> apply(const Native<T>& z, double) {
        return where<T>(~(z < Native<T>{}), z);
    }
    template <class T>
    static BACKNORM_INLINE Native<T> grad_through(const Native<T>& dy, const Native<T>& y, double) {
        return where<T>(~(y <= Native<T>{}), dy);  // NaN lets dy through, as in PyTorch
    }
};

template <>
struct ActivationOf<Activation::relu6> {
    template <class T>
    static BACKNORM_INLINE Native<T> apply(const Native<T>& z, double) {
        const Native<T> zero{}, six = zero + T(6);
        return z < zero ? zero : (z > six ? six : z);
    }
    template <class T>
    static BACKNORM_INLINE Native<T> grad_through(const Native<T>& dy, const Native<T>& y, double) {
        const Native<T> zero{}, six = zero + T(6);
        return where<T>((y > zero) & (y < six), dy);
    }
};

template <>
struct ActivationOf<Activation::leaky_relu> {
    template <class T>
    static BACKNORM_INLINE Native<T> apply(const Native<T>& z, double slope) {
        return z < Native<T>{} ? z * T(slope) : z;
    }
    template <class T>
    static BACKNORM_INLINE Native<T> grad_through(const Native<T>& dy, const Native<T>& y, double slope) {
        return y > Native<T>{} ? dy : dy * T(slope);
    }
    template <class T>
    static BACKNORM_INLINE Native<T> undo(const Native<T>& y, double inverse_slope) {
        return y < Native<T>{} ? y * T(inverse_slope) : y;
    }
};

template <Activation kind, class T>
BACKNORM_INLINE Pack<T> activate(Pack<T> z, double slope) {
    BACKNORM_UNROLL for (int k = 0; k < Pack<T>::parts; ++k)
        z.part[k] = ActivationOf<kind>::template apply<T>(z.part[k], slope);
    return z;
}

// dz: dy times the activation's derivative, read from its output y.
template <Activation kind, class T>
BACKNORM_INLINE Pack<T> grad_through_activation(Pack<T> dy, const Pack<T>& y, double slope) {
    BACKNORM_UNROLL for (int k = 0; k < Pack<T>::parts; ++k)
        dy.part[k] = ActivationOf<kind>::template grad_through<T>(dy.part[k], y.part[k], slope);
    return dy;
}

// What was normalized, where v is x; what the activation was applied to, where v is its output and
// inverse_slope is 1/slope.
template <Activation kind, class T>
BACKNORM_INLINE Pack<T> undo_activation(Pack<T> v, double inverse_slope) {
    if constexpr (is_invertible(kind))
        BACKNORM_UNROLL for (int k = 0; k < Pack<T>::parts; ++k)
            v.part[k] = ActivationOf<kind>::template undo<T>(v.part[k], inverse_slope);
    return v;
}

// Calls body(std::integral_constant<Activation, kind>) for the kind known at run time. The bindings have
// refused every code without a name (`activation_of`).
template <class Body>
inline void with_activation(Activation kind, Body&& body) {
    switch (kind) {
#define BACKNORM_CASE(name, code, invertible) \
    case Activation::name: return body(std::integral_constant<Activation, Activation::name>());
        BACKNORM_ACTIVATIONS(BACKNORM_CASE)
#undef BACKNORM_CASE
    }
}

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
