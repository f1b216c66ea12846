// Filters of images NHWC: each channel correlated with one kernel. A thread takes one element; sums go through the taps
// in row-major order.

#include "numbers.cuh"
#include "reduce.cuh"
#include "border.cuh"

extern "C" __global__ void correlate2d(
    const Element* x, const Element* h, Element* y, Index n, Index height, Index width, Index channels, Index rows,
    Index columns, Index kernel_rows, Index kernel_columns, Index down, Index right, Index top, Index left,
    Index border) {
    const Index i = place();
    if (i >= n) return;
    const Index pixel = i / channels, line = pixel / columns, c = i % channels;
    Real sum = 0;
    for (Index u = 0; u < kernel_rows; ++u) {
        const Index row = pixel_at(line % rows * down + u - top, height, border);
        if (row < 0) continue;
        for (Index v = 0; v < kernel_columns; ++v) {
            const Index column = pixel_at(pixel % columns * right + v - left, width, border);
            if (column < 0) continue;
            const Index at = ((line / rows * height + row) * width + column) * channels + c;
            sum += real(h[u * kernel_columns + v]) * real(x[at]);
        }
    }
    y[i] = element(sum);
}

// The same with the kernel column · row. A block has a tile of outputs; it goes down the columns that the tile needs,
// and keeps them in shared memory to go across.
extern "C" __global__ void correlate_separable(
    const Element* x, const Element* column, const Element* row, Element* y, Index tile_rows, Index tile_columns,
    Index tile_channels, Index height, Index width, Index channels, Index rows, Index columns, Index kernel_rows,
    Index kernel_columns, Index down, Index right, Index top, Index left, Index border) {
    extern __shared__ Real halves[];  // (tile_rows, wide, tile_channels)
    const Index wide = (tile_columns - 1) * right + kernel_columns;
    const Index tiles_across = (columns + tile_columns - 1) / tile_columns;
    const Index tiles_down = (rows + tile_rows - 1) / tile_rows;
    const Index first_row = blockIdx.x / tiles_across % tiles_down * tile_rows;
    const Index first_column = blockIdx.x % tiles_across * tile_columns;
    const Index image = blockIdx.x / (tiles_across * tiles_down), first_channel = blockIdx.y * tile_channels;
    for (Index e = threadIdx.x; e < tile_rows * wide * tile_channels; e += blockDim.x) {
        const Index c = first_channel + e % tile_channels, i = first_row + e / tile_channels / wide;
        const Index pixel = pixel_at(first_column * right + e / tile_channels % wide - left, width, border);
        Real sum = 0;
        for (Index u = 0; u < kernel_rows && c < channels && i < rows && pixel >= 0; ++u) {
            const Index line = pixel_at(i * down + u - top, height, border);
            if (line >= 0) sum += real(column[u]) * real(x[((image * height + line) * width + pixel) * channels + c]);
        }
        halves[e] = sum;
    }
    __syncthreads();
    for (Index e = threadIdx.x; e < tile_rows * tile_columns * tile_channels; e += blockDim.x) {
        const Index own = e % tile_channels, c = first_channel + own, across = e / tile_channels % tile_columns;
        const Index i = e / tile_channels / tile_columns, j = first_column + across;
        if (c >= channels || first_row + i >= rows || j >= columns) continue;
        Real sum = 0;
        for (Index v = 0; v < kernel_columns; ++v) {
            sum += real(row[v]) * halves[(i * wide + across * right + v) * tile_channels + own];
        }
        y[((image * rows + first_row + i) * columns + j) * channels + c] = element(sum);
    }
}

// --- the gradients

// The places along an axis where a pixel stands: number 0 is its own; the others lie beyond the ends, `before` on the
// one side and the rest on the other, and count where they hold a copy of it.
struct Copies {
    Index pixel, n, before, border;
    __device__ __forceinline__ bool at(Index number, Index* where) const {
        *where = number == 0 ? pixel : number <= before ? -number : n + number - before - 1;
        return number == 0 || pixel_at(*where, n, border) == pixel;
    }
};

// For the images: each pixel gathers from the windows that hold it, or a copy of it beyond the border.
extern "C" __global__ void correlate2d_images(
    const Element* dy, const Element* h, Element* dx, Index n, Index copies_down, Index copies_across, Index height,
    Index width, Index channels, Index rows, Index columns, Index kernel_rows, Index kernel_columns, Index down,
    Index right, Index top, Index left, Index border) {
    const Index i = place();
    if (i >= n) return;
    const Index pixel = i / channels, line = pixel / width;
    const Copies vertical = {line % height, height, top, border}, horizontal = {pixel % width, width, left, border};
    Real gradient = 0;
    for (Index p = 0; p <= copies_down; ++p) {
        Index row, column;
        if (!vertical.at(p, &row)) continue;
        for (Index q = 0; q <= copies_across; ++q) {
            if (!horizontal.at(q, &column)) continue;
            for (Index u = 0; u < kernel_rows; ++u) {
                const Index i0 = row + top - u;
                if (i0 < 0 || i0 % down != 0 || i0 / down >= rows) continue;
                for (Index v = 0; v < kernel_columns; ++v) {
                    const Index j0 = column + left - v;
                    if (j0 < 0 || j0 % right != 0 || j0 / right >= columns) continue;
                    const Index output = (line / height * rows + i0 / down) * columns + j0 / right;
                    gradient += real(h[u * kernel_columns + v]) * real(dy[output * channels + i % channels]);
                }
            }
        }
    }
    dx[i] = element(gradient);
}

struct Total {
    Real value;
    __device__ __forceinline__ Total lane(int distance) const { return {__shfl_xor_sync(EVERY_LANE, value, distance)}; }
    __device__ __forceinline__ void add(const Total& other) { value += other.value; }
};

// For the kernel: a block sums a piece of the outputs for one tap.
extern "C" __global__ void correlate2d_kernel(
    const Element* x, const Element* dy, Real* sums, Index n, Index elements_a_piece, Index height, Index width,
    Index channels, Index rows, Index columns, Index kernel_rows, Index kernel_columns, Index down, Index right,
    Index top, Index left, Index border) {
    __shared__ Total warps[WARP];
    const Index tap = blockIdx.x, first = blockIdx.y * elements_a_piece;
    const Index last = elements_a_piece < n - first ? first + elements_a_piece : n;
    Total total = {0};
    for (Index i = first + threadIdx.x; i < last; i += blockDim.x) {
        const Index pixel = i / channels, line = pixel / columns;
        const Index row = pixel_at(line % rows * down + tap / kernel_columns - top, height, border);
        const Index column = pixel_at(pixel % columns * right + tap % kernel_columns - left, width, border);
        if (row >= 0 && column >= 0) {
            total.value +=
                real(dy[i]) * real(x[((line / rows * height + row) * width + column) * channels + i % channels]);
        }
    }
    total = over_block(total, warps, {0});
    if (threadIdx.x == 0) sums[blockIdx.y * gridDim.x + tap] = total.value;
}

extern "C" __global__ void sum_pieces(const Real* sums, Element* dh, Index n, Index pieces) {
    const Index i = place();
    if (i >= n) return;
    Real sum = 0;
    for (Index piece = 0; piece < pieces; ++piece) sum += sums[piece * n + i];
    dh[i] = element(sum);
}
