// Dropout: the mask comes from the counter-based stream, so it is computed anew for the gradient and never stored.

#include "numbers.cuh"
#include "threefry.cuh"

// y = x * scale where the element's word is at least the threshold, else x * 0, which keeps a NaN. A thread takes the
// two neighbours of a row whose words come from one block of the cipher.
extern "C" __global__ void dropout(
    const Element* x, Element* y, Index rows, Index columns, unsigned key0, unsigned key1, unsigned first_row,
    unsigned threshold, Real scale) {
    const Index blocks = columns / 2 + columns % 2, i = place();
    const Index row = i / blocks, column = 2 * (i % blocks);
    if (row >= rows) return;
    const Words words = threefry(key0, key1, first_row + row, column / 2);
    const Index first = row * columns + column;
    y[first] = element(words.x0 >= threshold ? real(x[first]) * scale : Real(0));
    if (column + 1 < columns) y[first + 1] = element(words.x1 >= threshold ? real(x[first + 1]) * scale : Real(0));
}
