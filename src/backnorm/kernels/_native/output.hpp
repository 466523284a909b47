// The output of the activation, from which its derivative is read: as it was stored, or computed again from x.
#pragma once

#include <algorithm>
#include <type_traits>

#include "activation.hpp"
#include "call.hpp"
#include "normalize.hpp"
#include "pack.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

// Which values of a run are read: sixteen, the first `count` of sixteen, as many as are left up to sixteen, or
// those of load_end.
struct Whole {
    int64_t at;
    template <class T, class S>
    BACKNORM_INLINE Pack<T> read(const S* run) const { return load<T>(run + at); }
};
struct Some {
    int64_t at;
    int count;
    template <class T, class S>
    BACKNORM_INLINE Pack<T> read(const S* run) const { return load_part<T>(run + at, count); }
};
struct UpTo {
    int64_t at, left;
    template <class T, class S>
    BACKNORM_INLINE Pack<T> read(const S* run) const { return load_up_to<T>(run + at, left); }
};
struct End {
    int64_t length;
    int tail;
    static constexpr int64_t at = 0;  // coefficients are the same all along
    template <class T, class S>
    BACKNORM_INLINE Pack<T> read(const S* run) const { return load_end<T>(run, length, tail); }
};

// y is null without an activation.
template <class S>
struct StoredOutput {
    static constexpr bool by_exact_law = true;  // as by the other one
    const S* y;
    template <class T, class Place>
    BACKNORM_INLINE Pack<T> of(const Place& place) const {
        return y ? place.template read<T>(y) : Pack<T>::zero();
    }
};

// The value that was rounded to y, in the dtype of the computation. It is y itself, or lies on the same side of
// every kink of an activation.
template <class S, class Coefficients>
struct RecomputedOutput {
    static constexpr bool by_exact_law = false;  // see `recomputes`
    const S* x;
    Coefficients at;
    template <class T, class Place>
    BACKNORM_INLINE Pack<T> of(const Place& place) const {
        return converted<T>(at(place.template read<typename Coefficients::value>(x), place.at));
    }
};

template <Activation kind, class S>
constexpr bool can_recompute = kind != Activation::identity &&
                                (std::is_same<S, float>::value || std::is_same<S, double>::value);

// Smaller arrays may lie in a cache, from which they are read faster than they are computed.
constexpr int64_t least_bytes_recomputed = int64_t(4) << 20;

// Whether the output is computed again: only where that of every channel was computed in the usual dtype. An array
// that is there is read where that is faster.
template <class S>
inline bool recomputes(const BackwardCall& call) {
    // By the exact law it is read, and asked for where it is absent: one path less to have the same bits.
    if (!call.recomputable || call.exact || call.activation == Activation::identity) return false;
    if (call.y && call.shape.size() * int64_t(sizeof(S)) < least_bytes_recomputed) return false;
    if constexpr (std::is_same<S, double>::value) return true;
    if constexpr (!std::is_same<S, float>::value) return false;
    for (int64_t c = 0; c < call.shape.channels; ++c)
        if (!NormalizeChannel(call, c).fits_float()) return false;
    return true;
}

// Whether the output is needed and neither there nor computed again.
template <class S>
inline bool lacks_output(const BackwardCall& call) {
    return call.activation != Activation::identity && !call.y && !recomputes<S>(call);
}

template <class S>
inline NormalizeChannel in_usual_dtype(const NormalizeChannel& channel) {
    return is_double<S> ? channel : channel.for_float();
}

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
