// The kernels of one dtype at one instruction-set level: this file is compiled once for each pair, with the flags of the level.
#include "columns.hpp"
#include "planar.hpp"

#define BACKNORM_TEXT_(word) #word
#define BACKNORM_TEXT(word) BACKNORM_TEXT_(word)

namespace backnorm {
namespace BACKNORM_LEVEL {
namespace {

// Planes shorter than this are handled many channels at a time.
constexpr int64_t small_plane = 128;

template <class Call, class Operands>
bool as_columns(const Call& call, const Operands& operands) {
    const Shape& s = call.shape;
    if (s.inner == 1 && s.channels > 1) return true;
    if (s.inner >= small_plane) return false;
    for (const Operand* a : operands)
        if (*a && a->channel_stride != s.inner) return false;
    return true;
}

template <class Body>
void with_dtype(Dtype, Body&& body) {
    body(BACKNORM_VALUES());
}

template <class Body>
void with_law(bool exact, Body&& body) {
    if (exact) body(std::integral_constant<Law, Law::exact>());
    else body(std::integral_constant<Law, Law::float64>());
}

void forward(const ForwardCall& call) {
    if (call.shape.size() == 0) return;
    const std::initializer_list<const Operand*> operands{&call.x, &call.y, &call.residual};
    with_dtype(call.dtype, [&](auto s) {
        with_law(call.exact, [&](auto law) {
            if (as_columns(call, operands)) columns_forward<decltype(s), law>(call);
            else planar_forward<decltype(s), law>(call);
        });
    });
}

bool backward(const BackwardCall& call) {
    if (!call.measures && !call.limbs)
        for (int64_t c = 0; c < call.shape.channels; ++c) call.dgamma[c] = call.dbeta[c] = 0.0;
    if (call.shape.size() == 0) return true;
    bool computed = true;
    const std::initializer_list<const Operand*> operands{&call.dy, &call.x, &call.y, &call.dx,
                                                         &call.dresidual};
    with_dtype(call.dtype, [&](auto s) {
        if (lacks_output<decltype(s)>(call)) computed = false;
        else with_law(call.exact, [&](auto law) {
            if (as_columns(call, operands)) columns_backward<decltype(s), law>(call);
            else planar_backward<decltype(s), law>(call);
        });
    });
    return computed;
}

}  // namespace

extern const Level BACKNORM_PART;
const Level BACKNORM_PART{BACKNORM_TEXT(BACKNORM_LEVEL), forward, backward};

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
