// Images NHWC sampled at other places; a thread takes one element.

#include "numbers.cuh"
#include "border.cuh"

typedef long long Place;

// x[image, row, column, c], or `value` beyond a border that is EMPTY.
struct Images {
    const Element* x;
    Index height, width, channels, border;
    Element value;
    __device__ __forceinline__ Element at(Index image, Place row, Place column, Index c) const {
        const Index i = pixel_at(row, height, border), j = pixel_at(column, width, border);
        if (i < 0 || j < 0) return value;
        return x[((image * height + i) * width + j) * channels + c];
    }
};

extern "C" __global__ void move_pixels(
    const Element* x, const Place* rows, const Place* columns, Element* y, Index n, Index height, Index width,
    Index channels, Index out_rows, Index out_columns, Index border, Real value) {
    const Index i = place();
    if (i >= n) return;
    const Images images = {x, height, width, channels, border, element(value)};
    const Index pixel = i / channels, line = pixel / out_columns, image = line / out_rows;
    const Place column = columns[image * out_columns + pixel % out_columns];
    y[i] = images.at(image, rows[line], column, i % channels);
}

// At the places maps[image] · (row, column, 1). Compiled without contraction: the places have the reference's bits.
extern "C" __global__ void resample(
    const Element* x, const Real* maps, Element* y, Index n, Index height, Index width, Index channels, Index border,
    Real value, Index bilinear) {
    const Index i = place();
    if (i >= n) return;
    const Images images = {x, height, width, channels, border, element(value)};
    const Index pixel = i / channels, line = pixel / width, image = line / height, c = i % channels;
    const Real* map = maps + image * 6;
    const Real down = map[0] * Real(line % height) + map[1] * Real(pixel % width) + map[2];
    const Real across = map[3] * Real(line % height) + map[4] * Real(pixel % width) + map[5];
    if (!bilinear) {
        y[i] = images.at(image, Place(floor(down + Real(0.5))), Place(floor(across + Real(0.5))), c);
        return;
    }
    const Real above = floor(down), before = floor(across), lower = down - above, later = across - before;
    const Place row = Place(above), column = Place(before);
    Real sum = real(images.at(image, row, column, c)) * ((Real(1) - lower) * (Real(1) - later));
    sum += real(images.at(image, row, column + 1, c)) * ((Real(1) - lower) * later);
    sum += real(images.at(image, row + 1, column, c)) * (lower * (Real(1) - later));
    sum += real(images.at(image, row + 1, column + 1, c)) * (lower * later);
    y[i] = element(sum);
}
