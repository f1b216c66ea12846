// Softmax cross-entropy. A warp takes a row of logits; the exponentials are computed anew for the gradient.

#include "numbers.cuh"
#include "reduce.cuh"

// The larger of two, and NaN where one is.
__device__ __forceinline__ Real larger(Real a, Real b) { return a >= b || a != a ? a : b; }

struct Largest {
    Real value;
    __device__ __forceinline__ Largest lane(int distance) const {
        return {__shfl_xor_sync(EVERY_LANE, value, distance)};
    }
    __device__ __forceinline__ void add(const Largest& other) { value = larger(value, other.value); }
};

// Of each row z: the loss, max z, and the sum of exp(z - max z). `own` is the target's share of the label, `every` that
// of each class; a label of no class has no loss of its own.
extern "C" __global__ void softmax_losses(
    const Element* logits, const long long* labels, Real* losses, Real* highest, Real* sums, Index rows, Index classes,
    Real own, Real every) {
    const Index row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    const int lane = threadIdx.x % WARP;
    if (row >= rows) return;  // the whole warp
    const Element* z = logits + row * classes;
    Largest largest = {-infinity()};
    for (Index k = lane; k < classes; k += WARP) largest.value = larger(largest.value, real(z[k]));
    const Real most = over_warp(largest).value;
    Sums sum = {0, 0};  // of the exponentials, and of the differences
    for (Index k = lane; k < classes; k += WARP) {
        const Real difference = real(z[k]) - most;
        sum.a += exp(difference);
        sum.b += difference;
    }
    sum = over_warp(sum);
    if (lane == 0) {
        const long long label = labels[row];
        Real loss = log(sum.a);
        if (0 <= label && label < classes) loss -= own * (real(z[label]) - most);
        if (every != 0) loss -= every * sum.b;  // else a logit of minus infinity would make a NaN of 0
        losses[row] = loss;
        highest[row] = most;
        sums[row] = sum.a;
    }
}

// By one block: the mean of the losses, weighted where there are weights, and what its terms are divided by. Where all
// weights are 0 the mean is 0.
extern "C" __global__ void mean_loss(
    const Real* losses, const Element* weight, Index weighted, Element* mean, Real* divisor, Index rows) {
    __shared__ Sums warps[WARP];
    Sums sum = {0, 0};
    Index row = threadIdx.x;
    while (row < rows) {
        Sums run = {0, 0};  // of a few rows, so that the error does not grow with their number
        for (int k = 0; k < 32 && row < rows; ++k, row += blockDim.x) {
            const Real share = weighted ? real(weight[row]) : Real(1);
            run.add({share != 0 ? share * losses[row] : Real(0), share});
        }
        sum.add(run);
    }
    sum = over_block(sum, warps, {0, 0});
    if (threadIdx.x == 0) {
        divisor[0] = weighted ? fmax(sum.b, SMALLEST_NORMAL) : Real(rows);
        mean[0] = element(sum.a / divisor[0]);
    }
}

// dy weight / divisor · (softmax(z) - target), a thread an element.
extern "C" __global__ void softmax_gradient(
    const Element* logits, const long long* labels, const Real* highest, const Real* sums, const Element* weight,
    Index weighted, const Real* divisor, const Element* dy, Element* dlogits, Index n, Index classes, Real own,
    Real every) {
    const Index i = place();
    if (i >= n) return;
    const Index row = i / classes;
    const Real share = weighted ? real(weight[row]) : Real(1);
    if (share == 0) {  // whatever its logits are
        dlogits[i] = element(Real(0));
        return;
    }
    const Real probability = exp(real(logits[i]) - highest[row]) / sums[row];
    const Real target = labels[row] == i % classes ? own + every : every;
    dlogits[i] = element((probability - target) * (real(dy[0]) * share / divisor[0]));
}
