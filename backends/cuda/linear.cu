// Of a dense layer what stands beside its products, (rows, units): bias and ReLU behind the first; before those of the
// gradient what ReLU lets pass, with its sums over the rows, which are the gradient of the bias.

#include "numbers.cuh"
#include "rows.cuh"

// max(0, y + bias) in place; the bias is looked at where `biased`.
extern "C" __global__ void bias_relu(Element* y, const Element* bias, Index biased, Index n, Index units) {
    const Index i = place();
    if (i >= n) return;
    Real value = real(y[i]);
    if (biased) value += real(bias[i % units]);
    y[i] = element(value <= 0 ? Real(0) : value);  // a NaN is not <= 0, and stays
}

struct Slope {
    Real dy;
    __device__ __forceinline__ void add(const Slope& other) { dy += other.dy; }
};

// slopes = dy where y > 0, else 0, and the sums of each piece; a piece of all rows gives db at once.
extern "C" __global__ void relu_slopes(
    const Element* dy, const Element* y, Element* slopes, Real* sums, Element* db, Index rows, Index units,
    Index rows_a_piece, Index pieces) {
    __shared__ Slope threads[THREADS];
    const Index c = column(), piece = blockIdx.y, last = last_row(rows, rows_a_piece, piece);
    Slope sum = {0};
    if (c < units) {
        for (Index row = piece * rows_a_piece + threadIdx.y; row < last; row += blockDim.y) {
            const Index i = row * units + c;
            const Real slope = real(y[i]) > 0 ? real(dy[i]) : Real(0);
            slopes[i] = element(slope);
            sum.add({slope});
        }
    }
    sum = over_rows(sum, threads);
    if (threadIdx.y != 0 || c >= units) return;
    if (pieces == 1) {
        db[c] = element(sum.dy);
    } else {
        sums[piece * units + c] = sum.dy;
    }
}

extern "C" __global__ void sum_pieces(const Real* sums, Element* db, Index units, Index pieces) {
    const Index c = place();
    if (c >= units) return;
    Real sum = 0;
    for (Index piece = 0; piece < pieces; ++piece) sum += sums[piece * units + c];
    db[c] = element(sum);
}
