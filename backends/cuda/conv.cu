// Convolution of images NHWC with filters HWIO. By columns: the windows of a block of outputs are laid out as rows, a
// product of CuPy's follows, and for the gradient of the images each pixel gathers from the rows that hold it. Without
// columns: the product itself, which reads the windows where they are. A thread takes one element, but in the product.

#include "numbers.cuh"
#include "tiles.cuh"

// How windows lie on the images; `spread` is the dilation.
#define SIZES \
    Index height, Index width, Index channels, Index rows, Index columns, Index kernel_rows, Index kernel_columns, \
    Index down, Index right, Index top, Index left, Index spread_down, Index spread_right
#define WINDOWS \
    {height, width, channels, rows, columns, kernel_rows, kernel_columns, down, right, top, left, spread_down, \
     spread_right}

struct Windows {
    Index height, width, channels, rows, columns, kernel_rows, kernel_columns, down, right, top, left, spread_down;
    Index spread_right;

    __device__ __forceinline__ int taps() const { return kernel_rows * kernel_columns; }

    // The pixel of the images that an output has under a tap, or -1 for padding.
    __device__ __forceinline__ Index pixel(Index output, int tap) const {
        const Index line = output / columns;
        const Index row = line % rows * down - top + tap / kernel_columns * spread_down;
        const Index column = output % columns * right - left + tap % kernel_columns * spread_right;
        if (row < 0 || row >= height || column < 0 || column >= width) return -1;
        return (line / rows * height + row) * width + column;
    }

    // The output that has a pixel under a tap, or -1.
    __device__ __forceinline__ Index output(Index pixel, int tap) const {
        const Index line = pixel / width;
        const Index row = line % height + top - tap / kernel_columns * spread_down;
        const Index column = pixel % width + left - tap % kernel_columns * spread_right;
        if (row < 0 || row % down != 0 || column < 0 || column % right != 0) return -1;
        if (row / down >= rows || column / right >= columns) return -1;
        return (line / height * rows + row / down) * columns + column / right;
    }
};

// --- by columns

// The windows of the outputs from `first` on, a row each: taps in row-major order, of each its channels.
extern "C" __global__ void gather_columns(const Element* x, Element* target, Index n, Index first, SIZES) {
    const Index i = place();
    if (i >= n) return;
    const Windows windows = WINDOWS;
    const Index depth = windows.taps() * channels, part = i % depth;
    const Index pixel = windows.pixel(first + i / depth, part / channels);
    target[i] = element(0);
    if (pixel >= 0) target[i] = x[pixel * channels + part % channels];
}

// The gradient for the images' elements from `from` on, of what the outputs first ... first + outputs - 1 give to each
// tap, (outputs, taps, channels). It is added where other outputs have given something before.
extern "C" __global__ void gather_gradient(
    const Element* given, Element* dx, Index n, Index from, Index first, Index outputs, Index begun, SIZES) {
    if (place() >= n) return;
    const Windows windows = WINDOWS;
    const Index i = from + place();
    Real gradient = begun ? real(dx[i]) : Real(0);
    for (int tap = 0; tap < windows.taps(); ++tap) {
        const Index output = windows.output(i / channels, tap);
        if (output >= first && output - first < outputs) {
            gradient += real(given[((output - first) * windows.taps() + tap) * channels + i % channels]);
        }
    }
    dx[i] = element(gradient);
}

// --- what follows the product

// max(0, sums + bias), and where it is pooled the largest of each window with its number; the first of equals. Without
// a pool the window is one pixel, and y may be the sums.
extern "C" __global__ void bias_relu_pool(
    const Element* sums, const Element* bias, Index biased, Element* y, unsigned char* winner, Index pooled, Index n,
    Index height, Index width, Index channels, Index rows, Index columns, Index window_rows, Index window_columns) {
    const Index i = place();
    if (i >= n) return;
    const Index pixel = i / channels, line = pixel / columns, c = i % channels;
    const Index first =
        (line / rows * height + line % rows * window_rows) * width + pixel % columns * window_columns;
    const Real offset = biased ? real(bias[c]) : Real(0);
    Real best = -infinity();
    int number = 0;
    for (int tap = 0; tap < window_rows * window_columns; ++tap) {
        const Index at = first + tap / window_columns * width + tap % window_columns;
        Real value = real(element(real(sums[at * channels + c]) + offset));  // rounded: equal ones are those of y
        if (value <= 0) value = 0;                                            // a NaN is not <= 0, and stays
        if (best == best && !(value <= best)) {
            best = value;
            number = tap;
        }
    }
    y[i] = element(best);
    if (pooled) winner[i] = number;
}

// The gradient for what bias_relu_pool was given: dy at the winner of each window, where y > 0.
extern "C" __global__ void unpool(
    const Element* dy, const Element* y, const unsigned char* winner, Element* dx, Index n, Index height, Index width,
    Index channels, Index rows, Index columns, Index window_rows, Index window_columns) {
    const Index i = place();
    if (i >= n) return;
    const Index pixel = i / channels, line = pixel / width, row = line % height, column = pixel % width;
    const Index down = row / window_rows, right = column / window_columns;
    Real gradient = 0;
    if (down < rows && right < columns) {
        const Index window = ((line / height * rows + down) * columns + right) * channels + i % channels;
        const int tap = row % window_rows * window_columns + column % window_columns;
        if (winner[window] == tap && real(y[window]) > 0) gradient = real(dy[window]);
    }
    dx[i] = element(gradient);
}

// --- without columns

__device__ __forceinline__ Real times(Real a, Real b) { return a * b; }

// (outputs, depth), (depth, filters), (filters,) -> (outputs, filters); the bias is looked at where `biased`.
extern "C" __global__ void convolve(
    const Element* x, const Element* w, const Element* bias, Index biased, Element* y, Index outputs, Index filters,
    SIZES) {
    __shared__ Real some_a[DEEP * ROW], some_b[DEEP * ROW];
    const Windows windows = WINDOWS;
    const auto a = [=](Index output, Index d) {
        const Index pixel = windows.pixel(output, d / channels);
        return pixel < 0 ? Real(0) : real(x[pixel * channels + d % channels]);
    };
    const auto b = [=](Index d, Index filter) { return real(w[d * filters + filter]); };
    const auto offset = [=](Index filter) { return biased ? real(bias[filter]) : Real(0); };
    by_tiles<OUTER>(a, b, times, offset, some_a, some_b, y, outputs, filters, windows.taps() * channels);
}

// (pixels, taps filters), (taps filters, channels) -> (pixels, channels)
extern "C" __global__ void convolve_images(
    const Element* dy, const Element* w, Element* dx, Index pixels, Index filters, SIZES) {
    __shared__ Real some_a[DEEP * ROW], some_b[DEEP * ROW];
    const Windows windows = WINDOWS;
    const auto a = [=](Index pixel, Index d) {
        const Index output = windows.output(pixel, d / filters);
        return output < 0 ? Real(0) : real(dy[output * filters + d % filters]);
    };
    const auto b = [=](Index d, Index c) { return real(w[(d / filters * channels + c) * filters + d % filters]); };
    by_tiles<INNER>(a, b, times, some_a, some_b, dx, pixels, channels, windows.taps() * filters);
}

// (depth, outputs), (outputs, filters) -> (depth, filters)
extern "C" __global__ void convolve_filters(
    const Element* x, const Element* dy, Element* dw, Index outputs, Index filters, SIZES) {
    __shared__ Real some_a[DEEP * ROW], some_b[DEEP * ROW];
    const Windows windows = WINDOWS;
    const auto a = [=](Index d, Index output) {
        const Index pixel = windows.pixel(output, d / channels);
        return pixel < 0 ? Real(0) : real(x[pixel * channels + d % channels]);
    };
    const auto b = [=](Index output, Index filter) { return real(dy[output * filters + filter]); };
    by_tiles<OUTER>(a, b, times, some_a, some_b, dw, windows.taps() * channels, filters, outputs);
}
