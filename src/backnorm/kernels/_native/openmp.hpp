// The threads of a framework's OpenMP, where one is loaded. We link none: a second copy would have a second pool.
#pragma once

#include "threads.hpp"

namespace backnorm {

// As `share`, in equal parts. Only where a library of OpenMP is loaded, which openmp_is_awake has found.
void share_in_openmp(const Work& work, int threads);

// Whether a library is loaded, and its threads are not known to be asleep.
bool openmp_is_awake();

// What omp_get_max_threads says; the largest int without a library.
int openmp_thread_count();

}  // namespace backnorm
