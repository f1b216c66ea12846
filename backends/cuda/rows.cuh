// Sums over the rows of a matrix. A block takes a few columns and a piece of the rows: the threads along x read
// neighbouring columns, those along y every blockDim.y-th row. The pieces are combined by one thread a column, in their
// order.

constexpr int THREADS = 256;  // of a block of sums: blockDim.x * blockDim.y, both powers of 2

// The sum over the threads along y, for those with threadIdx.y == 0.
template <class Sum>
__device__ __forceinline__ Sum over_rows(Sum sum, Sum* threads) {
    Sum* own = threads + threadIdx.y * blockDim.x + threadIdx.x;
    *own = sum;
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) own->add(own[half * blockDim.x]);
    }
    return *own;
}

__device__ __forceinline__ Index column() { return blockIdx.x * blockDim.x + threadIdx.x; }

__device__ __forceinline__ Index last_row(Index rows, Index rows_a_piece, Index piece) {
    return rows_a_piece < rows - piece * rows_a_piece ? (piece + 1) * rows_a_piece : rows;
}
