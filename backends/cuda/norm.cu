// Batch normalisation of (rows, channels); for the sums over rows see rows.cuh.

#include "numbers.cuh"
#include "rows.cuh"

// How many numbers there are, their mean and the sum of (x - mean)^2: Welford's rule to include one, and that of Chan,
// Golub and LeVeque (1983) to add others. Neither loses anything where the mean is far from zero. Infinities have the mean
// that their sum says, and no sum of squares.
struct Moments {
    Real count, mean, squares;
    __device__ __forceinline__ void include(Real x) {
        const Real before = x - mean;
        count += 1;
        mean += fabs(before) < infinity() ? before / count : x;
        squares += before * (x - mean);
    }
    __device__ __forceinline__ void add(const Moments& other) {
        const Real both = count + other.count;
        if (other.count == 0) return;
        const Real apart = other.mean - mean, share = other.count / both;
        mean += fabs(apart) < infinity() ? apart * share : other.mean;
        squares += other.squares + apart * apart * (count * share);
        count = both;
    }
};

// What the gradient needs of each channel: the sums of dy and of dy (x - mean).
constexpr Index RUN = 32;  // rows that a thread adds up before they go to what it has: the error of few roundings, twice

struct Slopes {
    Real dy, product;
    __device__ __forceinline__ void add(const Slopes& other) {
        dy += other.dy;
        product += other.product;
    }
};

extern "C" __global__ void batch_norm_moments(
    const Element* x, Real* means, Real* squares, Index rows, Index channels, Index rows_a_piece) {
    __shared__ Moments threads[THREADS];
    const Index c = column(), piece = blockIdx.y, last = last_row(rows, rows_a_piece, piece);
    Moments moments = {0, 0, 0};
    if (c < channels) {
        Index row = piece * rows_a_piece + threadIdx.y;
        while (row < last) {
            Moments run = {0, 0, 0};
            for (Index k = 0; k < RUN && row < last; ++k, row += blockDim.y) {
                run.include(real(x[row * channels + c]));
            }
            moments.add(run);
        }
    }
    moments = over_rows(moments, threads);
    if (threadIdx.y == 0 && c < channels) {
        means[piece * channels + c] = moments.mean;
        squares[piece * channels + c] = moments.squares;
    }
}

// The statistics, once as outputs, which of float16 are float32, and once as they are computed with: inverse = 1 / sqrt(variance + eps).
extern "C" __global__ void batch_norm_statistics(
    const Real* means, const Real* squares, const Element* gamma, Real* mean, Real* variance, Real* centre,
    Real* inverse, Real* scale, Index rows, Index channels, Index pieces, Index rows_a_piece, Real eps) {
    const Index c = place();
    if (c >= channels) return;
    Moments moments = {0, 0, 0};
    for (Index piece = 0; piece < pieces; ++piece) {
        const Index count = last_row(rows, rows_a_piece, piece) - piece * rows_a_piece;
        moments.add({Real(count), means[piece * channels + c], squares[piece * channels + c]});
    }
    const Real spread = moments.squares / Real(rows);
    mean[c] = moments.mean;
    variance[c] = spread;
    centre[c] = moments.mean;
    inverse[c] = Real(1) / sqrt(spread + eps);
    scale[c] = real(gamma[c]) * inverse[c];
}

// The same for statistics that are given.
extern "C" __global__ void batch_norm_given(
    const Element* gamma, const Element* mean, const Element* variance, Real* centre, Real* inverse, Real* scale,
    Index channels, Real eps) {
    const Index c = place();
    if (c >= channels) return;
    centre[c] = real(mean[c]);
    inverse[c] = Real(1) / sqrt(real(variance[c]) + eps);
    scale[c] = real(gamma[c]) * inverse[c];
}

extern "C" __global__ void batch_norm_apply(
    const Element* x, const Real* centre, const Real* scale, const Element* beta, Element* y, Index n, Index channels) {
    const Index i = place();
    if (i >= n) return;
    const Index c = i % channels;
    y[i] = element((real(x[i]) - centre[c]) * scale[c] + real(beta[c]));
}

// --- the gradient

extern "C" __global__ void batch_norm_slopes(
    const Element* x, const Element* dy, const Real* centre, Real* sums, Real* products, Index rows, Index channels,
    Index rows_a_piece) {
    __shared__ Slopes threads[THREADS];
    const Index c = column(), piece = blockIdx.y, last = last_row(rows, rows_a_piece, piece);
    Slopes slopes = {0, 0};
    if (c < channels) {
        Index row = piece * rows_a_piece + threadIdx.y;
        while (row < last) {
            Slopes run = {0, 0};
            for (Index k = 0; k < RUN && row < last; ++k, row += blockDim.y) {
                const Real slope = real(dy[row * channels + c]);
                run.add({slope, slope * (real(x[row * channels + c]) - centre[c])});
            }
            slopes.add(run);
        }
    }
    slopes = over_rows(slopes, threads);
    if (threadIdx.y == 0 && c < channels) {
        sums[piece * channels + c] = slopes.dy;
        products[piece * channels + c] = slopes.product;
    }
}

// dgamma, dbeta, and what is taken from dy · scale to give dx: (x - mean) slope + offset.
extern "C" __global__ void batch_norm_gradients(
    const Real* sums, const Real* products, const Real* inverse, const Real* scale, Element* dgamma, Element* dbeta,
    Real* slope, Real* offset, Index rows, Index channels, Index pieces) {
    const Index c = place();
    if (c >= channels) return;
    Slopes slopes = {0, 0};
    for (Index piece = 0; piece < pieces; ++piece) {
        slopes.add({sums[piece * channels + c], products[piece * channels + c]});
    }
    const Real of_gamma = slopes.product * inverse[c];
    dgamma[c] = element(of_gamma);
    dbeta[c] = element(slopes.dy);
    slope[c] = scale[c] * inverse[c] * of_gamma / Real(rows);
    offset[c] = scale[c] * slopes.dy / Real(rows);
}

extern "C" __global__ void batch_norm_backward(
    const Element* x, const Element* dy, const Real* centre, const Real* scale, const Real* slope, const Real* offset,
    Element* dx, Index n, Index channels) {
    const Index i = place();
    if (i >= n) return;
    const Index c = i % channels;
    dx[i] = element(real(dy[i]) * scale[c] - ((real(x[i]) - centre[c]) * slope[c] + offset[c]));
}

// dx where the statistics are given.
extern "C" __global__ void batch_norm_given_backward(
    const Element* dy, const Real* scale, Element* dx, Index n, Index channels) {
    const Index i = place();
    if (i < n) dx[i] = element(real(dy[i]) * scale[i % channels]);
}

// --- with ReLU and pooling: windows of the images that neither overlap nor hang over

// Where the first pixel of window i / channels lies.
__device__ __forceinline__ Index first_pixel(
    Index window, Index height, Index width, Index rows, Index columns, Index window_rows, Index window_columns) {
    const Index line = window / columns;
    return (line / rows * height + line % rows * window_rows) * width + window % columns * window_columns;
}

// Of each window the largest normalised pixel, not below 0, and the number of it; the first of equals. Without a pool
// the window is one pixel.
extern "C" __global__ void batch_norm_relu_pool(
    const Element* x, const Real* centre, const Real* scale, const Element* beta, Element* y, unsigned char* winner,
    Index pooled, Index n, Index height, Index width, Index channels, Index rows, Index columns, Index window_rows,
    Index window_columns) {
    const Index i = place();
    if (i >= n) return;
    const Index c = i % channels;
    const Index first = first_pixel(i / channels, height, width, rows, columns, window_rows, window_columns);
    Real best = -infinity();
    int number = 0;
    for (int tap = 0; tap < window_rows * window_columns; ++tap) {
        const Index pixel = first + tap / window_columns * width + tap % window_columns;
        Real value = (real(x[pixel * channels + c]) - centre[c]) * scale[c] + real(beta[c]);
        if (value <= 0) value = 0;  // a NaN is not <= 0, and stays
        if (best == best && !(value <= best)) {
            best = value;
            number = tap;
        }
    }
    y[i] = element(best);
    if (pooled) winner[i] = number;
}

// batch_norm_slopes over the windows: all but the winners that are above 0 have a gradient of 0.
extern "C" __global__ void batch_norm_relu_slopes(
    const Element* x, const Element* dy, const Element* y, const unsigned char* winner, Index pooled,
    const Real* centre, Real* sums, Real* products, Index windows, Index channels, Index windows_a_piece, Index height,
    Index width, Index rows, Index columns, Index window_rows, Index window_columns) {
    __shared__ Slopes threads[THREADS];
    const Index c = column(), piece = blockIdx.y, last = last_row(windows, windows_a_piece, piece);
    Slopes slopes = {0, 0};
    if (c < channels) {
        Index window = piece * windows_a_piece + threadIdx.y;
        while (window < last) {
            Slopes run = {0, 0};
            for (Index k = 0; k < RUN && window < last; ++k, window += blockDim.y) {
                const Index at = window * channels + c;
                if (!(real(y[at]) > 0)) continue;
                const int tap = pooled ? winner[at] : 0;
                const Index pixel = first_pixel(window, height, width, rows, columns, window_rows, window_columns) +
                                    tap / window_columns * width + tap % window_columns;
                const Real slope = real(dy[at]);
                run.add({slope, slope * (real(x[pixel * channels + c]) - centre[c])});
            }
            slopes.add(run);
        }
    }
    slopes = over_rows(slopes, threads);
    if (threadIdx.y == 0 && c < channels) {
        sums[piece * channels + c] = slopes.dy;
        products[piece * channels + c] = slopes.product;
    }
}

extern "C" __global__ void batch_norm_relu_backward(
    const Element* x, const Element* dy, const Element* y, const unsigned char* winner, Index pooled,
    const Real* centre, const Real* scale, const Real* slope, const Real* offset, Element* dx, Index n, Index channels,
    Index height, Index width, Index rows, Index columns, Index window_rows, Index window_columns) {
    const Index i = place();
    if (i >= n) return;
    const Index c = i % channels, pixel = i / channels, line = pixel / width, row = line % height;
    const Index down = row / window_rows, right = pixel % width / window_columns;
    Real gradient = 0;
    if (down < rows && right < columns) {
        const Index window = ((line / height * rows + down) * columns + right) * channels + c;
        const int tap = row % window_rows * window_columns + pixel % width % window_columns;
        if (real(y[window]) > 0 && (!pooled || winner[window] == tap)) gradient = real(dy[window]);
    }
    dx[i] = element(gradient * scale[c] - ((real(x[i]) - centre[c]) * slope[c] + offset[c]));
}

// --- the average that evaluation uses

extern "C" __global__ void running_average(Element* average, const Element* value, Index n, Real momentum, Real rest) {
    const Index i = place();
    if (i < n) average[i] = element(momentum * real(average[i]) + rest * real(value[i]));
}
