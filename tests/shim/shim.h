// CUDA C++ as g++ reads it: what a kernel may name, on the host. The threads of a block come from runtime.cpp.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>

#include "cuda_fp16.h"

using std::ceil, std::exp, std::fabs, std::floor, std::fmax, std::fmin, std::log, std::rint, std::sqrt, std::tanh;

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __constant__ static const
// All in one section, which is filled with NaN before each block.
#define __shared__ static __attribute__((section("shim_shared")))

struct uint3 {
    unsigned x, y, z;
};

#ifdef SHIM_THREADS
#define SHIM_LOCAL __thread
#else
#define SHIM_LOCAL
#endif
extern SHIM_LOCAL uint3 threadIdx, blockIdx;
extern uint3 blockDim, gridDim;

namespace shim {

extern unsigned char* dynamic;  // the launch's dynamic shared memory

void barrier(int line);
void warp_barrier(unsigned mask, int line);
// Gives `value` to the other lanes of the warp, and returns what `lane` gave.
uint64_t exchange(uint64_t value, int lane, unsigned mask, int line);

template <class Value>
Value exchanged(Value value, int lane, unsigned mask, int line) {
    static_assert(sizeof(Value) <= 8);
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = exchange(bits, lane, mask, line);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// A parameter's type as three characters: "*" array, "&" array that is only read, "=" number; then NumPy's code.
template <class T>
std::string type() {
    if constexpr (std::is_pointer_v<T>) {
        using Element = std::remove_pointer_t<T>;
        return (std::is_const_v<Element> ? "&" : "*") + type<std::remove_const_t<Element>>().substr(1);
    } else if constexpr (std::is_same_v<T, __half>) {
        return "=f2";
    } else if constexpr (std::is_floating_point_v<T>) {
        return "=f" + std::to_string(sizeof(T));
    } else {
        static_assert(std::is_integral_v<T>);
        return (std::is_signed_v<T> ? "=i" : "=u") + std::to_string(sizeof(T));
    }
}

template <auto kernel>
struct Kernel;

template <class... Parameters, void (*kernel)(Parameters...)>
struct Kernel<kernel> {
    static const char* signature() {
        static const std::string text = (std::string() + ... + type<Parameters>());
        return text.c_str();
    }
    template <size_t... i>
    static void call(void** arguments, std::index_sequence<i...>) {
        kernel(*static_cast<Parameters*>(arguments[i])...);
    }
    static void run(void** arguments) { call(arguments, std::index_sequence_for<Parameters...>()); }
};

struct Entry {
    const char* name;
    void (*run)(void**);
    const char* (*signature)();
};
extern const Entry kernels[];  // ends with a name of nullptr

}  // namespace shim

inline void __syncthreads(int line = __builtin_LINE()) { shim::barrier(line); }
inline void __syncwarp(unsigned mask = ~0u, int line = __builtin_LINE()) { shim::warp_barrier(mask, line); }

inline int shim_lane() { return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32; }

template <class Value>
Value __shfl_sync(unsigned mask, Value value, int lane, int line = __builtin_LINE()) {
    return shim::exchanged(value, lane % 32, mask, line);
}
template <class Value>
Value __shfl_xor_sync(unsigned mask, Value value, int distance, int line = __builtin_LINE()) {
    return shim::exchanged(value, shim_lane() ^ distance, mask, line);
}
template <class Value>
Value __shfl_down_sync(unsigned mask, Value value, int distance, int line = __builtin_LINE()) {
    const int lane = shim_lane() + distance;
    return shim::exchanged(value, lane < 32 ? lane : shim_lane(), mask, line);
}

inline float __int_as_float(int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
inline double __longlong_as_double(long long bits) {
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
