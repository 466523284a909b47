// Which instruction-set levels were built, and which of them this processor has.
#include "levels.hpp"

namespace backnorm {

// level.cpp defines them, each compiled alone.
#define BACKNORM_PARTS(level) namespace level { extern const Level of_float, of_double, of_bfloat16, of_float16; }
BACKNORM_PARTS(baseline)
#if defined(BACKNORM_HAS_AVX2)
BACKNORM_PARTS(avx2)
#endif
#if defined(BACKNORM_HAS_AVX512)
BACKNORM_PARTS(avx512)
#endif
#if defined(BACKNORM_HAS_BF16)
namespace avx512_bf16 { extern const Level of_bfloat16; }
#endif

namespace {

// A level for all dtypes.
template <const Level& of_float, const Level& of_double, const Level& of_bfloat16, const Level& of_float16>
struct Whole {
    static const Level& of(Dtype dtype) {
        switch (dtype) {
            case Dtype::float32: return of_float;
            case Dtype::float64: return of_double;
            case Dtype::bfloat16: return of_bfloat16;
            case Dtype::float16: return of_float16;
        }
        return of_float;
    }
    static void forward(const ForwardCall& call) { of(call.dtype).forward(call); }
    static bool backward(const BackwardCall& call) { return of(call.dtype).backward(call); }
    static const Level* level(const char* name = of_float.name) {
        static const Level whole{name, forward, backward};
        return &whole;
    }
};
#define BACKNORM_WHOLE(name) Whole<name::of_float, name::of_double, name::of_bfloat16, name::of_float16>::level

struct Found {
    const Level* list[5] = {};
    Found() {
        int count = 0;
#if defined(BACKNORM_HAS_AVX512)
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
            const char* rest = "avx512";
#if defined(BACKNORM_HAS_BF16)
            if (__builtin_cpu_supports("avx512bf16")) {
                list[count++] = Whole<avx512::of_float, avx512::of_double, avx512_bf16::of_bfloat16, avx512::of_float16>::level();
                rest = "avx512-without-bf16";  // the same bits, for tests and comparisons
            }
#endif
            list[count++] = BACKNORM_WHOLE(avx512)(rest);
        }
#endif
#if defined(BACKNORM_HAS_AVX2)
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
            __builtin_cpu_supports("f16c"))
            list[count++] = BACKNORM_WHOLE(avx2)();
#endif
        list[count] = BACKNORM_WHOLE(baseline)();
    }
};

}  // namespace

const Level* const* levels() {
    static const Found found;
    return found.list;
}

}  // namespace backnorm
