#pragma once

#include "call.hpp"

namespace backnorm {

// The levels this processor has, the best first; ends with a null pointer.
const Level* const* levels();

}  // namespace backnorm
