// Distances between rows: (Q, D), (N, D) -> (Q, N).

#include "numbers.cuh"
#include "tiles.cuh"

extern "C" __global__ void l1_distances(
    const Element* a, const Element* b, Element* out, Index queries, Index rows, Index features) {
    __shared__ Real some_a[DEEP * ROW], some_b[DEEP * ROW];
    const auto query = [=](Index i, Index d) { return real(a[i * features + d]); };
    const auto row = [=](Index d, Index j) { return real(b[j * features + d]); };
    const auto apart = [](Real p, Real q) { return fabs(p - q); };
    by_tiles<INNER>(query, row, apart, some_a, some_b, out, queries, rows, features);
}

// |x|^2 of each row; a warp takes one, and after the last exchange each of its lanes has the whole sum.
extern "C" __global__ void squares_of_rows(const Element* x, Real* squares, Index rows, Index features) {
    constexpr int warp = 32;
    const Index row = blockIdx.x * (blockDim.x / warp) + threadIdx.x / warp;
    if (row >= rows) return;  // the whole warp
    Real sum = 0;
    for (Index d = threadIdx.x % warp; d < features; d += warp) {
        const Real value = real(x[row * features + d]);
        sum += value * value;
    }
#pragma unroll
    for (int distance = warp / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    if (threadIdx.x % warp == 0) squares[row] = sum;
}

// |a|^2 - 2ab + |b|^2 in the place of the products ab, never below 0.
extern "C" __global__ void squared_distances(
    Element* products, const Real* of_a, const Real* of_b, Index n, Index columns) {
    const Index i = place();
    if (i >= n) return;
    const Real squared = of_a[i / columns] + of_b[i % columns] - Real(2) * real(products[i]);
    products[i] = element(squared < 0 ? Real(0) : squared);  // a NaN is not < 0, and stays
}
