// Which instruction-set levels were built, and which of them this processor has.
#include "levels.hpp"

namespace backnorm {

namespace baseline { extern const Level level; }
#if defined(BACKNORM_HAS_AVX2)
namespace avx2 { extern const Level level; }
#endif
#if defined(BACKNORM_HAS_AVX512)
namespace avx512 { extern const Level level; }
#endif

namespace {

struct Found {
    const Level* list[4] = {};
    Found() {
        int count = 0;
#if defined(BACKNORM_HAS_AVX512)
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
            list[count++] = &avx512::level;
#endif
#if defined(BACKNORM_HAS_AVX2)
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
            __builtin_cpu_supports("f16c"))
            list[count++] = &avx2::level;
#endif
        list[count] = &baseline::level;
    }
};

}  // namespace

const Level* const* levels() {
    static const Found found;
    return found.list;
}

}  // namespace backnorm
