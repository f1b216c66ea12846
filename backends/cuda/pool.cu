// Pooling of images NHWC: the forward passes go through the output, the backward passes through the image, where each
// pixel gathers from the windows that hold it. A thread takes one element; neighbouring threads take neighbouring channels.

#include "numbers.cuh"

// Where element i of (N, height, width, channels) lies.
struct Position {
    Index image, row, column, channel;
};

__device__ __forceinline__ Position position(Index i, Index height, Index width, Index channels) {
    const Index pixel = i / channels, line = pixel / width;
    return {line / height, line % height, pixel % width, i % channels};
}

// The windows that hold a pixel of the padded image: numbers first ... last along one axis, of `places`.
struct Range {
    Index first, last;
};

__device__ __forceinline__ Range windows_of(Index pixel, Index kernel, Index stride, Index places) {
    const Index first = pixel < kernel ? 0 : (pixel - kernel) / stride + 1, last = pixel / stride;
    return {first, last < places ? last : places - 1};
}

// Of each window the largest pixel, and the number of it; the first of equals. Padding is not looked at.
extern "C" __global__ void max_pool(
    const Element* x, Element* y, unsigned char* winner, Index n, Index height, Index width, Index channels, Index rows,
    Index columns, Index kernel_rows, Index kernel_columns, Index down, Index right, Index top, Index left) {
    const Index i = place();
    if (i >= n) return;
    const Position at = position(i, rows, columns, channels);
    Real best = -infinity();
    int number = -1;
    for (int tap = 0; tap < kernel_rows * kernel_columns; ++tap) {
        const Index row = at.row * down - top + tap / kernel_columns;
        const Index column = at.column * right - left + tap % kernel_columns;
        if (row < 0 || row >= height || column < 0 || column >= width) continue;
        const Real pixel = real(x[((at.image * height + row) * width + column) * channels + at.channel]);
        if (number < 0 || (best == best && !(pixel <= best))) {  // a NaN is taken, and then stays
            best = pixel;
            number = tap;
        }
    }
    y[i] = element(best);
    winner[i] = number;
}

extern "C" __global__ void max_pool_backward(
    const Element* dy, const unsigned char* winner, Element* dx, Index n, Index height, Index width, Index channels,
    Index rows, Index columns, Index kernel_rows, Index kernel_columns, Index down, Index right, Index top, Index left) {
    const Index i = place();
    if (i >= n) return;
    const Position at = position(i, height, width, channels);
    const Range vertical = windows_of(at.row + top, kernel_rows, down, rows);
    const Range horizontal = windows_of(at.column + left, kernel_columns, right, columns);
    Real gradient = 0;
    for (Index row = vertical.first; row <= vertical.last; ++row) {
        for (Index column = horizontal.first; column <= horizontal.last; ++column) {
            const Index window = ((at.image * rows + row) * columns + column) * channels + at.channel;
            const int tap = (at.row + top - row * down) * kernel_columns + at.column + left - column * right;
            if (winner[window] == tap) gradient += real(dy[window]);
        }
    }
    dx[i] = element(gradient);
}

// How many places of a window along one axis lie in the image itself.
__device__ __forceinline__ Index inside(Index window, Index kernel, Index stride, Index before, Index size) {
    const Index start = window * stride - before, stop = start + kernel;
    const Index first = start < 0 ? 0 : start < size ? start : size, last = stop < 0 ? 0 : stop < size ? stop : size;
    return last - first;
}

// The mean of each window; padded places do not count.
extern "C" __global__ void avg_pool(
    const Element* x, Element* y, Index n, Index height, Index width, Index channels, Index rows, Index columns,
    Index kernel_rows, Index kernel_columns, Index down, Index right, Index top, Index left) {
    const Index i = place();
    if (i >= n) return;
    const Position at = position(i, rows, columns, channels);
    Real sum = 0;
    for (int tap = 0; tap < kernel_rows * kernel_columns; ++tap) {
        const Index row = at.row * down - top + tap / kernel_columns;
        const Index column = at.column * right - left + tap % kernel_columns;
        if (0 <= row && row < height && 0 <= column && column < width) {
            sum += real(x[((at.image * height + row) * width + column) * channels + at.channel]);
        }
    }
    const Index count = inside(at.row, kernel_rows, down, top, height) *
                        inside(at.column, kernel_columns, right, left, width);
    y[i] = element(sum / Real(count));
}

extern "C" __global__ void avg_pool_backward(
    const Element* dy, Element* dx, Index n, Index height, Index width, Index channels, Index rows, Index columns,
    Index kernel_rows, Index kernel_columns, Index down, Index right, Index top, Index left) {
    const Index i = place();
    if (i >= n) return;
    const Position at = position(i, height, width, channels);
    const Range vertical = windows_of(at.row + top, kernel_rows, down, rows);
    const Range horizontal = windows_of(at.column + left, kernel_columns, right, columns);
    Real gradient = 0;
    for (Index row = vertical.first; row <= vertical.last; ++row) {
        const Index high = inside(row, kernel_rows, down, top, height);
        for (Index column = horizontal.first; column <= horizontal.last; ++column) {
            const Index count = high * inside(column, kernel_columns, right, left, width);
            const Index window = ((at.image * rows + row) * columns + column) * channels + at.channel;
            gradient += real(dy[window]) / Real(count);
        }
    }
    dx[i] = element(gradient);
}
