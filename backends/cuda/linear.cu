// Of a dense layer what stands beside its products, (rows, units): bias and ReLU behind the first; before those of the
// gradient what ReLU lets pass; and sums over the rows, which are the gradient of the bias.

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

// A sum beside what rounding took from it: its error does not grow with the number of rows (Knuth's two-sum).
struct Total {
    Real sum, lost;
    __device__ __forceinline__ void include(Real x) {
        const Real next = sum + x, added = next - sum;
        lost += (sum - (next - added)) + (x - added);
        sum = next;
    }
    __device__ __forceinline__ void add(const Total& other) {
        include(other.sum);
        lost += other.lost;
    }
    // Where an infinity was added, what was lost is NaN.
    __device__ __forceinline__ Real rounded() const {
        const Real total = sum + lost;
        return total == total ? total : sum;
    }
};

// The total of this block's piece into `sums`; a piece of all rows gives the result at once.
__device__ __forceinline__ void write_total(
    Total total, Total* threads, Real* sums, Element* result, Index units, Index pieces) {
    total = over_rows(total, threads);
    const Index c = column();
    if (threadIdx.y != 0 || c >= units) return;
    if (pieces == 1) {
        result[c] = element(total.rounded());
    } else {
        sums[Index(blockIdx.y) * units + c] = total.rounded();
    }
}

extern "C" __global__ void column_sums(
    const Element* x, Real* sums, Element* result, Index rows, Index units, Index rows_a_piece, Index pieces) {
    __shared__ Total threads[THREADS];
    const Index c = column(), piece = blockIdx.y, last = last_row(rows, rows_a_piece, piece);
    Total total = {0, 0};
    if (c < units) {
        for (Index row = piece * rows_a_piece + threadIdx.y; row < last; row += blockDim.y) {
            total.include(real(x[row * units + c]));
        }
    }
    write_total(total, threads, sums, result, units, pieces);
}

// slopes = dy where y > 0, else 0, and the sums of each piece; a piece of all rows gives db at once.
extern "C" __global__ void relu_slopes(
    const Element* dy, const Element* y, Element* slopes, Real* sums, Element* db, Index rows, Index units,
    Index rows_a_piece, Index pieces) {
    __shared__ Total threads[THREADS];
    const Index c = column(), piece = blockIdx.y, last = last_row(rows, rows_a_piece, piece);
    Total total = {0, 0};
    if (c < units) {
        for (Index row = piece * rows_a_piece + threadIdx.y; row < last; row += blockDim.y) {
            const Index i = row * units + c;
            const Real slope = real(y[i]) > 0 ? real(dy[i]) : Real(0);
            slopes[i] = element(slope);
            total.include(slope);
        }
    }
    write_total(total, threads, sums, db, units, pieces);
}

extern "C" __global__ void sum_pieces(const Real* sums, Element* db, Index units, Index pieces) {
    const Index c = place();
    if (c >= units) return;
    Total total = {0, 0};
    for (Index piece = 0; piece < pieces; ++piece) total.include(sums[piece * units + c]);
    db[c] = element(total.rounded());
}
