// The output of the activation, from which its derivative is read: as it was kept, or made again from x.
#pragma once

#include <algorithm>
#include <type_traits>

#include "activation.hpp"
#include "call.hpp"
#include "normalize.hpp"
#include "pack.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

// Where sixteen values lie in a run: all of them, the first few of them, or those that load_end gives.
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
    int rest;
    static constexpr int64_t at = 0;  // coefficients are the same all along
    template <class T, class S>
    BACKNORM_INLINE Pack<T> read(const S* run) const { return load_end<T>(run, length, rest); }
};

// Null where there is no activation.
template <class S>
struct KeptOutput {
    const S* y;
    template <class T, class Place>
    BACKNORM_INLINE Pack<T> of(const Place& place) const {
        return y ? place.template read<T>(y) : Pack<T>::zero();
    }
};

// What was rounded to y, in the format that it was computed in. It is y itself, or lies on the same side of
// the places where an activation has its corners.
template <class S, class Coefficients>
struct OutputAgain {
    const S* x;
    Coefficients at;
    template <class T, class Place>
    BACKNORM_INLINE Pack<T> of(const Place& place) const {
        return converted<T>(at(place.template read<typename Coefficients::value>(x), place.at));
    }
};

template <Activation kind, class S>
constexpr bool can_make_again = kind != Activation::identity &&
                                (std::is_same<S, float>::value || std::is_same<S, double>::value);

// Below, arrays may lie in a cache, from which they are read faster than they are made.
constexpr int64_t least_bytes_made = int64_t(4) << 20;

// Whether the output is to be made again: only where each channel's was computed in the usual format.
template <class S>
inline bool makes_again(const BackwardCall& call) {
    if (!call.alone || !call.y || call.shape.size() * int64_t(sizeof(S)) < least_bytes_made) return false;
    if constexpr (std::is_same<S, double>::value) return true;
    for (int64_t c = 0; c < call.shape.channels; ++c)
        if (!NormalizeChannel(call, c).fits_float()) return false;
    return true;
}

template <class S>
inline NormalizeChannel usual(const NormalizeChannel& channel) {
    return is_double<S> ? channel : channel.for_float();
}

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
