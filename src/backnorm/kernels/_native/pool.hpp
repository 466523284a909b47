// Our own threads: who calls claims pieces of work, and never waits for a thread that has not begun.
//
// OpenMP's threads share the work in equal parts, and all wait for the last. After a rest the others have to wake up
// first, which takes up to some milliseconds, and longer on the processor on which the caller spins for them.
#pragma once

#include "threads.hpp"

namespace backnorm {

// As `share`, with up to `threads` threads. A call from within a piece does its work alone.
void share_in_pool(const Work& work, int threads);

}  // namespace backnorm
