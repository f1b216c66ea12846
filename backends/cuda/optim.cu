// The steps of the optimisers: one launch each, on a run of the flat vector. Every element is computed by the
// operations of the reference in their order, and compiled without contraction: see FLAGS in compile.py.
//
// Each rule has two kernels: one takes the step, and the other, of mixed precision, where counts say so, see mixed.cu.

#include "numbers.cuh"
#include "reduce.cuh"

__device__ __forceinline__ void sgd_step(Element* theta, const Element* grad, Index n, Real lr) {
    const Index first = place() * PACK;
    Pack t = read(theta, first, n);
    const Pack g = read(grad, first, n);
#pragma unroll
    for (Index k = 0; k < PACK; ++k) t.of[k] -= lr * g.of[k];
    write(theta, first, n, t);
}

__device__ __forceinline__ void momentum_step(
    Element* theta, Element* velocity, const Element* grad, Index n, Real beta, Real rest, Real lr, Index nesterov) {
    const Index first = place() * PACK;
    Pack t = read(theta, first, n), v = read(velocity, first, n);
    const Pack g = read(grad, first, n);
#pragma unroll
    for (Index k = 0; k < PACK; ++k) {
        v.of[k] = v.of[k] * beta + rest * g.of[k];
        t.of[k] -= lr * (nesterov ? beta * v.of[k] + rest * g.of[k] : v.of[k]);
    }
    write(velocity, first, n, v);
    write(theta, first, n, t);
}

__device__ __forceinline__ void rmsprop_step(
    Element* theta, Element* square, const Element* grad, Index n, Real beta, Real rest, Real lr, Real eps) {
    const Index first = place() * PACK;
    Pack t = read(theta, first, n), s = read(square, first, n);
    const Pack g = read(grad, first, n);
#pragma unroll
    for (Index k = 0; k < PACK; ++k) {
        s.of[k] = s.of[k] * beta + rest * (g.of[k] * g.of[k]);
        t.of[k] -= lr * g.of[k] / (sqrt(s.of[k]) + eps);
    }
    write(square, first, n, s);
    write(theta, first, n, t);
}

// shrink is 1 - lr * decay; without decay theta is multiplied by 1, which changes no bit.
__device__ __forceinline__ void adam_step(
    Element* theta, Element* mean, Element* square, const Element* grad, Index n, Real beta1, Real rest1, Real beta2,
    Real rest2, Real eps, Real rate, Real shrink) {
    const Index first = place() * PACK;
    Pack t = read(theta, first, n), m = read(mean, first, n), s = read(square, first, n);
    const Pack g = read(grad, first, n);
#pragma unroll
    for (Index k = 0; k < PACK; ++k) {
        m.of[k] = m.of[k] * beta1 + rest1 * g.of[k];
        s.of[k] = s.of[k] * beta2 + rest2 * (g.of[k] * g.of[k]);
        t.of[k] = t.of[k] * shrink - m.of[k] / (sqrt(s.of[k]) + eps) * rate;
    }
    write(mean, first, n, m);
    write(square, first, n, s);
    write(theta, first, n, t);
}

__device__ __forceinline__ void adagrad_step(
    Element* theta, Element* total, const Element* grad, Index n, Real lr, Real eps) {
    const Index first = place() * PACK;
    Pack t = read(theta, first, n), s = read(total, first, n);
    const Pack g = read(grad, first, n);
#pragma unroll
    for (Index k = 0; k < PACK; ++k) {
        s.of[k] += g.of[k] * g.of[k];
        t.of[k] -= lr * g.of[k] / (sqrt(s.of[k]) + eps);
    }
    write(total, first, n, s);
    write(theta, first, n, t);
}

// --- steps that are taken

extern "C" __global__ void sgd(Element* theta, const Element* grad, Index n, Real lr) { sgd_step(theta, grad, n, lr); }

extern "C" __global__ void momentum(
    Element* theta, Element* velocity, const Element* grad, Index n, Real beta, Real rest, Real lr, Index nesterov) {
    momentum_step(theta, velocity, grad, n, beta, rest, lr, nesterov);
}

extern "C" __global__ void rmsprop(
    Element* theta, Element* square, const Element* grad, Index n, Real beta, Real rest, Real lr, Real eps) {
    rmsprop_step(theta, square, grad, n, beta, rest, lr, eps);
}

extern "C" __global__ void adam(
    Element* theta, Element* mean, Element* square, const Element* grad, Index n, Real beta1, Real rest1, Real beta2,
    Real rest2, Real eps, Real rate, Real shrink) {
    adam_step(theta, mean, square, grad, n, beta1, rest1, beta2, rest2, eps, rate, shrink);
}

extern "C" __global__ void adagrad(
    Element* theta, Element* total, const Element* grad, Index n, Real lr, Real eps) {
    adagrad_step(theta, total, grad, n, lr, eps);
}

// --- steps that are taken if counts[0] is not 0, as the step of number counts[1]

// 1 - beta^t, from the logarithm of beta: what the weights of an average of t numbers add up to.
__device__ __forceinline__ Real weights(Real t, Real log_beta) { return -expm1(t * log_beta); }

extern "C" __global__ void sgd_if(Element* theta, const Element* grad, const Index* counts, Index n, Real lr) {
    if (counts[0]) sgd_step(theta, grad, n, lr);
}

// log_beta is 0 where v is not corrected.
extern "C" __global__ void momentum_if(
    Element* theta, Element* velocity, const Element* grad, const Index* counts, Index n, Real beta, Real rest, Real lr,
    Real log_beta, Index nesterov) {
    if (!counts[0]) return;
    if (log_beta) lr /= weights(Real(counts[1] + nesterov), log_beta);
    momentum_step(theta, velocity, grad, n, beta, rest, lr, nesterov);
}

extern "C" __global__ void rmsprop_if(
    Element* theta, Element* square, const Element* grad, const Index* counts, Index n, Real beta, Real rest, Real lr,
    Real eps) {
    if (counts[0]) rmsprop_step(theta, square, grad, n, beta, rest, lr, eps);
}

extern "C" __global__ void adam_if(
    Element* theta, Element* mean, Element* square, const Element* grad, const Index* counts, Index n, Real beta1,
    Real rest1, Real log_beta1, Real beta2, Real rest2, Real log_beta2, Real eps, Real lr, Real shrink) {
    if (!counts[0]) return;
    const Real t = counts[1], root = sqrt(weights(t, log_beta2)), rate = lr * root / weights(t, log_beta1);
    adam_step(theta, mean, square, grad, n, beta1, rest1, beta2, rest2, eps * root, rate, shrink);
}

extern "C" __global__ void adagrad_if(
    Element* theta, Element* total, const Element* grad, const Index* counts, Index n, Real lr, Real eps) {
    if (counts[0]) adagrad_step(theta, total, grad, n, lr, eps);
}

// --- clipping, by value and by norm

extern "C" __global__ void clip(Element* x, Index n, Real limit) {
    const Index first = place() * PACK;
    Pack pack = read(x, first, n);
#pragma unroll
    for (Index k = 0; k < PACK; ++k) {
        const Real v = pack.of[k];
        pack.of[k] = v > limit ? limit : v < -limit ? -limit : v;  // a NaN is neither, and stays
    }
    write(x, first, n, pack);
}

// Of each block's elements the largest, and the squares of all divided by it. What is shorter than the smallest normal
// number counts as 0.
extern "C" __global__ void squares_by_blocks(
    const Element* x, Index n, Index elements_a_block, Real* largest, Real* squares) {
    __shared__ SumOfSquares warps[WARP];
    const SumOfSquares zero = {SMALLEST_NORMAL, 0};
    SumOfSquares sum = zero;
    const Index start = blockIdx.x * elements_a_block;
    const Index stop = elements_a_block < n - start ? start + elements_a_block : n;
    for (Index first = start + threadIdx.x * PACK; first < stop; first += blockDim.x * PACK) {
        const Pack pack = read(x, first, stop);
#pragma unroll
        for (Index k = 0; k < PACK; ++k) sum.include(pack.of[k]);
    }
    sum = over_block(sum, warps, zero);
    if (threadIdx.x == 0) {
        largest[blockIdx.x] = sum.largest;
        squares[blockIdx.x] = sum.squares;
    }
}

// x * min(1, limit / norm); of infinite elements the limit of that for ever larger ones. Each block adds up the sums of all blocks, of which there are no more than its threads, so
// that nothing waits for a norm; the first one writes it.
extern "C" __global__ void clip_by_norm(
    Element* x, Element* norm, Index n, const Real* largest, const Real* squares, Index sums, Real limit) {
    __shared__ SumOfSquares warps[WARP];
    const SumOfSquares zero = {SMALLEST_NORMAL, 0};
    SumOfSquares sum = zero;
    if (threadIdx.x < sums) sum = {largest[threadIdx.x], squares[threadIdx.x]};
    sum = over_block(sum, warps, zero);
    const Real root = sqrt(sum.squares), length = sum.largest * root;
    if (place() == 0) norm[0] = length;
    const Real floor = Real(1e-20) * limit;
    const bool endless = sum.largest == infinity() && length == length;
    const Real factor = length > limit ? limit / fmax(sum.largest, floor) / fmax(root, Real(1)) : Real(1);
    const Index first = place() * PACK;
    Pack pack = read(x, first, n);
#pragma unroll
    for (Index k = 0; k < PACK; ++k) {
        const Real v = pack.of[k];
        if (endless) {
            pack.of[k] = fabs(v) == sum.largest ? (v > 0 ? limit : -limit) / root : Real(0);
        } else {
            pack.of[k] = v * factor;
        }
    }
    write(x, first, n, pack);
}
