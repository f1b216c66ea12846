// What mixed precision needs besides: parameters rounded to float16, gradients brought back from it, and whether a step is
// taken. counts are those of backends/reference/mixed.py. Compiled for float16 alone: an Element is one, a Real a float32.

#include "numbers.cuh"
#include "reduce.cuh"

extern "C" __global__ void cast(Element* half, const Real* theta, Index n) {
    const Index i = place();
    if (i < n) half[i] = element(theta[i]);
}

// How many numbers are not finite.
struct Spoilt {
    int count;
    __device__ __forceinline__ Spoilt lane(int distance) const {
        return {__shfl_xor_sync(EVERY_LANE, count, distance)};
    }
    __device__ __forceinline__ void add(const Spoilt& other) { count += other.count; }
};

// grad = half / scale, and of each block how many of its numbers are not finite.
extern "C" __global__ void unscale(
    Real* grad, const Element* half, const Real* scale, Index n, Index elements_a_block, Index* spoilt) {
    __shared__ Spoilt warps[WARP];
    const Spoilt zero = {0};
    Spoilt sum = zero;
    const Index start = blockIdx.x * elements_a_block;
    const Index stop = elements_a_block < n - start ? start + elements_a_block : n;
    const Real divisor = scale[0];
    for (Index i = start + threadIdx.x; i < stop; i += blockDim.x) {
        const Real gradient = real(half[i]) / divisor;
        grad[i] = gradient;
        if (!(fabs(gradient) < infinity())) ++sum.count;  // which NaN is not either
    }
    sum = over_block(sum, warps, zero);
    if (threadIdx.x == 0) spoilt[blockIdx.x] = sum.count;
}

// Whether the step is taken, and what follows for counts and scale; one block.
extern "C" __global__ void judge(
    Real* scale, Index* counts, const Index* spoilt, Index blocks, Index grow_every, Real least, Real most) {
    __shared__ Spoilt warps[WARP];
    const Spoilt zero = {0};
    Spoilt sum = zero;
    if (threadIdx.x < blocks) sum.count = spoilt[threadIdx.x];
    sum = over_block(sum, warps, zero);
    if (threadIdx.x != 0) return;
    const bool taken = sum.count == 0;
    counts[0] = taken;
    if (taken) {
        ++counts[1];
        if (++counts[2] >= grow_every) {
            counts[2] = 0;
            scale[0] = fmin(Real(2) * scale[0], most);
        }
        return;
    }
    counts[2] = 0;
    ++counts[3];
    if (counts[4] == 0 && scale[0] <= least) counts[4] = counts[1] + counts[3];
    scale[0] = fmax(Real(0.5) * scale[0], least);
}

// x = before where the step is left out.
extern "C" __global__ void keep(Real* x, const Real* before, const Index* counts, Index n) {
    const Index i = place();
    if (i < n && !counts[0]) x[i] = before[i];
}
