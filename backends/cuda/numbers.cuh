// The numbers of a compilation unit: what is stored, what is computed with, and packs of 16 bytes.

#if defined(FLOAT16)
#include <cuda_fp16.h>
typedef __half Element;  // as stored
typedef float Real;      // as computed
#elif defined(FLOAT32)
typedef float Element;
typedef float Real;
#elif defined(FLOAT64)
typedef double Element;
typedef double Real;
#else
#error "define FLOAT16, FLOAT32 or FLOAT64"
#endif

typedef int Index;  // the launchers refuse arrays whose indices would not fit, see accept.py

// NVRTC knows neither INFINITY nor <limits>, and a conversion of __half in a ?: is ambiguous: everything goes through
// real() and element().
#if defined(FLOAT16)
__device__ __forceinline__ Real real(Element x) { return __half2float(x); }
__device__ __forceinline__ Element element(Real x) { return __float2half_rn(x); }
constexpr Real LARGEST = 65504.0f, SMALLEST_NORMAL = 6.103515625e-05f;
#else
__device__ __forceinline__ Real real(Element x) { return x; }
__device__ __forceinline__ Element element(Real x) { return x; }
#endif

#if defined(FLOAT64)
constexpr Real LARGEST = 1.7976931348623157e308, SMALLEST_NORMAL = 2.2250738585072014e-308;
__device__ __forceinline__ Real infinity() { return __longlong_as_double(0x7ff0000000000000LL); }
#else
__device__ __forceinline__ Real infinity() { return __int_as_float(0x7f800000); }
#endif
#if defined(FLOAT32)
constexpr Real LARGEST = 3.402823466385288599e38f, SMALLEST_NORMAL = 1.175494350822287508e-38f;
#endif

// 1 / (1 + exp(-x)), of which no part overflows.
__device__ __forceinline__ Real logistic(Real x) {
    const Real e = exp(-fabs(x));  // never above 1
    return (x >= 0 ? Real(1) : e) / (Real(1) + e);
}

// The number of this thread among all of the grid; both have one axis.
__device__ __forceinline__ Index place() { return blockIdx.x * blockDim.x + threadIdx.x; }

// Neighbours that are read and written at once, where they lie at a multiple of their size: 16 bytes are the widest
// access of a thread, and runs of the flat parameter vector begin at multiples of 64 elements.
constexpr Index PACK = 16 / sizeof(Element);
struct alignas(16) Pack {
    Element of[PACK];
};

__device__ __forceinline__ bool at_once(const Element* x, Index first, Index n) {
    return first + PACK <= n && reinterpret_cast<size_t>(x) % sizeof(Pack) == 0;
}

// The elements first ... first + PACK - 1 of n; 0 beyond the last.
__device__ __forceinline__ Pack read(const Element* x, Index first, Index n) {
    if (at_once(x, first, n)) return *reinterpret_cast<const Pack*>(x + first);
    Pack pack;
#pragma unroll
    for (Index k = 0; k < PACK; ++k) pack.of[k] = first + k < n ? x[first + k] : element(0);
    return pack;
}

__device__ __forceinline__ void write(Element* x, Index first, Index n, const Pack& pack) {
    if (at_once(x, first, n)) {
        *reinterpret_cast<Pack*>(x + first) = pack;
        return;
    }
#pragma unroll
    for (Index k = 0; k < PACK; ++k) {
        if (first + k < n) x[first + k] = pack.of[k];
    }
}
