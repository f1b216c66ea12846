// The activations and their gradients: one launch each, where the references take up to eight.

#include "numbers.cuh"

// y = f(x), a pack a thread.
template <class Function>
__device__ __forceinline__ void each(const Element* x, Element* y, Index n, Function f) {
    const Index first = place() * PACK;
    Pack pack = read(x, first, n);
#pragma unroll
    for (Index k = 0; k < PACK; ++k) pack.of[k] = element(f(real(pack.of[k])));
    write(y, first, n, pack);
}

// dx = f(dy, saved).
template <class Function>
__device__ __forceinline__ void each(const Element* dy, const Element* saved, Element* dx, Index n, Function f) {
    const Index first = place() * PACK;
    Pack pack = read(dy, first, n);
    const Pack other = read(saved, first, n);
#pragma unroll
    for (Index k = 0; k < PACK; ++k) pack.of[k] = element(f(real(pack.of[k]), real(other.of[k])));
    write(dx, first, n, pack);
}

extern "C" __global__ void relu(const Element* x, Element* y, Index n) {
    each(x, y, n, [](Real v) { return v <= 0 ? Real(0) : v; });  // a NaN is not <= 0, and stays
}

extern "C" __global__ void relu_backward(const Element* dy, const Element* y, Element* dx, Index n) {
    each(dy, y, dx, n, [](Real d, Real v) { return v > 0 ? d : Real(0); });
}

// alpha v; with an alpha of 0 it is the ReLU, for which 0 is no factor of infinity.
__device__ __forceinline__ Real times(Real alpha, Real v) { return alpha != 0 || v != v ? alpha * v : Real(0); }

extern "C" __global__ void leaky_relu(const Element* x, Element* y, Index n, Real alpha) {
    each(x, y, n, [alpha](Real v) { return v > 0 ? v : times(alpha, v); });
}

extern "C" __global__ void leaky_relu_backward(
    const Element* dy, const Element* x, Element* dx, Index n, Real alpha) {
    each(dy, x, dx, n, [alpha](Real d, Real v) { return v > 0 ? d : alpha != 0 ? alpha * d : Real(0); });
}

extern "C" __global__ void sigmoid(const Element* x, Element* y, Index n) {
    each(x, y, n, [](Real v) { return logistic(v); });
}

extern "C" __global__ void sigmoid_backward(const Element* dy, const Element* y, Element* dx, Index n) {
    each(dy, y, dx, n, [](Real d, Real v) { return d * (v * (Real(1) - v)); });
}

extern "C" __global__ void tanh_forward(const Element* x, Element* y, Index n) {
    each(x, y, n, [](Real v) { return tanh(v); });
}

extern "C" __global__ void tanh_backward(const Element* dy, const Element* y, Element* dx, Index n) {
    each(dy, y, dx, n, [](Real d, Real v) { return d * (Real(1) - v * v); });
}
