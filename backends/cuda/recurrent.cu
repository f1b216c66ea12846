// The steps of recurrent cells, a thread for each unit of each sequence that has the step. In front of a launch stands
// the product of the states before with w: behind it, on the way back.
//
// A computed step has `count` sequences, the longest first; its rows are begin ... begin + count - 1 of the M rows of
// all steps, and the first `following` of them have another step. `rows` holds where a row stands among the N T steps.

#include "numbers.cuh"

// What a thread works on, as places in the arrays.
struct Unit {
    Index row;     // of the step: 0 ... count - 1
    Index unit;    // 0 ... H - 1
    Index own;     // in (count, H)
    Index packed;  // in (M, H)
    Index state;   // in (N, H)
    Index output;  // in (N, T, H)
};

__device__ __forceinline__ Unit unit_of(const long long* rows, Index begin, Index units, Index steps) {
    const Index own = place(), row = own / units, unit = own % units;
    const Index position = Index(rows[begin + row]);
    return {row, unit, own, begin * units + own, position / steps * units + unit, position * units + unit};
}

// The first gate of a unit in (M, gates H) or in (count, gates H); the others follow `units` apart.
__device__ __forceinline__ Index gates_of(const Unit& at, Index row, Index gates, Index units) {
    return row * gates * units + at.unit;
}

// --- rows of all steps, and states in the order of the rows

extern "C" __global__ void gather_rows(
    const Element* x, const long long* rows, Element* packed, Index n, Index features) {
    const Index i = place();
    if (i >= n) return;
    packed[i] = x[Index(rows[i / features]) * features + i % features];
}

extern "C" __global__ void scatter_rows(
    const Element* packed, const long long* rows, Element* x, Index n, Index features) {
    const Index i = place();
    if (i >= n) return;
    x[Index(rows[i / features]) * features + i % features] = packed[i];
}

// h' of the first step; where none is given it is 0.
extern "C" __global__ void initial_state(
    const Element* h0, Index given, const long long* rows, Element* before, Index n, Index units, Index steps) {
    if (place() >= n) return;
    const Unit at = unit_of(rows, 0, units, steps);
    before[at.own] = given ? h0[at.state] : element(0);
}

// Its gradient; that of a GRU has a part that goes around the product.
extern "C" __global__ void initial_gradient(
    const Element* product, const Real* around, Index added, const long long* rows, Element* dh0, Index n, Index units,
    Index steps) {
    if (place() >= n) return;
    const Unit at = unit_of(rows, 0, units, steps);
    dh0[at.state] = element(real(product[at.own]) + (added ? around[at.state] : Real(0)));
}

// --- forward: `next` is the row of `before` where the states of the next step begin

__device__ __forceinline__ void hand_on(
    Real h, const Unit& at, Element* y, Element* before, Index following, Index next, Index units) {
    y[at.output] = element(h);
    if (at.row < following) before[next * units + at.own] = element(h);
}

extern "C" __global__ void rnn_step(
    const Element* sums, const Element* product, const Element* b, const long long* rows, Element* y, Element* before,
    Element* last, Index n, Index begin, Index following, Index next, Index units, Index steps) {
    if (place() >= n) return;
    const Unit at = unit_of(rows, begin, units, steps);
    const Real h = tanh(real(sums[at.packed]) + real(product[at.own]) + real(b[at.unit]));
    hand_on(h, at, y, before, following, next, units);
    if (at.row >= following) last[at.state] = element(h);
}

// The sums become the gates i, f, g, o where they are to be kept, with the cell before and tanh c. The cell is carried
// in `cell`, which is that of the last step in the end.
extern "C" __global__ void lstm_step(
    Element* sums, const Element* product, const Element* b, const long long* rows, Element* y, Element* before,
    Element* last, Real* cell, Element* cells_before, Element* bent, Index keep, Index n, Index begin, Index following,
    Index next, Index units, Index steps) {
    if (place() >= n) return;
    const Unit at = unit_of(rows, begin, units, steps);
    const Index from_x = gates_of(at, begin + at.row, 4, units), from_h = gates_of(at, at.row, 4, units);
    Real gate[4];
#pragma unroll
    for (Index k = 0; k < 4; ++k) {
        gate[k] = real(sums[from_x + k * units]) + real(product[from_h + k * units]) + real(b[at.unit + k * units]);
        gate[k] = k == 2 ? tanh(gate[k]) : logistic(gate[k]);
    }
    const Real old = cell[at.state], c = gate[1] * old + gate[0] * gate[2], curved = tanh(c), h = gate[3] * curved;
    cell[at.state] = c;
    hand_on(h, at, y, before, following, next, units);
    if (at.row >= following) last[at.state] = element(h);
    if (!keep) return;
#pragma unroll
    for (Index k = 0; k < 4; ++k) sums[from_x + k * units] = element(gate[k]);
    cells_before[at.packed] = element(old);
    bent[at.packed] = element(curved);
}

// The sums become the gates r, z, n where they are to be kept, with inner = h' W_n + b_hn. The state is carried in
// `state` as well: in float16 alone it would not see an n of which z leaves little.
extern "C" __global__ void gru_step(
    Element* sums, const Element* product, const Element* b, const Element* bn, const long long* rows, Element* y,
    Element* before, Real* state, Element* inner, Index keep, Index n, Index begin, Index following, Index next,
    Index units, Index steps) {
    if (place() >= n) return;
    const Unit at = unit_of(rows, begin, units, steps);
    const Index from_x = gates_of(at, begin + at.row, 3, units), from_h = gates_of(at, at.row, 3, units);
    Real gate[2];
#pragma unroll
    for (Index k = 0; k < 2; ++k) {
        gate[k] = real(sums[from_x + k * units]) + real(product[from_h + k * units]) + real(b[at.unit + k * units]);
        gate[k] = logistic(gate[k]);
    }
    const Real from_state = real(product[from_h + 2 * units]) + real(bn[at.unit]);
    const Real outer = real(sums[from_x + 2 * units]) + real(b[at.unit + 2 * units]);
    const Real added = tanh(outer + gate[0] * from_state), h = added + gate[1] * (state[at.state] - added);
    state[at.state] = h;
    hand_on(h, at, y, before, following, next, units);
    if (!keep) return;
    sums[from_x] = element(gate[0]);
    sums[from_x + units] = element(gate[1]);
    sums[from_x + 2 * units] = element(added);
    inner[at.packed] = element(from_state);
}

// --- backward, from the last step to the first; `used` says whether y has a gradient

__device__ __forceinline__ Real from_output(const Element* dy, Index used, const Unit& at) {
    return used ? real(dy[at.output]) : Real(0);
}

// What comes from the next step, and for sequences without one from the last state.
__device__ __forceinline__ Real from_next(const Element* product, const Real* dlast, Index following, const Unit& at) {
    return at.row < following ? real(product[at.own]) : dlast[at.state];
}

extern "C" __global__ void rnn_gradient(
    const Element* dy, Index used, const Element* product, const Real* dlast, const Element* y, const long long* rows,
    Element* da, Index n, Index begin, Index following, Index units, Index steps) {
    if (place() >= n) return;
    const Unit at = unit_of(rows, begin, units, steps);
    const Real slope = from_next(product, dlast, following, at) + from_output(dy, used, at), h = real(y[at.output]);
    da[at.packed] = element(slope * (Real(1) - h * h));
}

// The gates become their gradients. That of the cell is carried in `dc`, which is that of the first cell in the end.
extern "C" __global__ void lstm_gradient(
    const Element* dy, Index used, const Element* product, const Real* dlast, Element* gates,
    const Element* cells_before, const Element* bent, Real* dc, const long long* rows, Index n, Index begin,
    Index following, Index units, Index steps) {
    if (place() >= n) return;
    const Unit at = unit_of(rows, begin, units, steps);
    const Index first = gates_of(at, begin + at.row, 4, units);
    const Real i = real(gates[first]), f = real(gates[first + units]);
    const Real g = real(gates[first + 2 * units]), o = real(gates[first + 3 * units]);
    const Real old = real(cells_before[at.packed]), curved = real(bent[at.packed]), one = 1;
    const Real slope = from_next(product, dlast, following, at) + from_output(dy, used, at);
    const Real through = dc[at.state] + slope * o * (one - curved * curved);
    dc[at.state] = through * f;
    gates[first] = element(through * g * (i * (one - i)));
    gates[first + units] = element(through * old * (f * (one - f)));
    gates[first + 2 * units] = element(through * i * (one - g * g));
    gates[first + 3 * units] = element(slope * curved * (o * (one - o)));
}

// The gates become the gradients of x U + b; `inward` those of h' W, of which the last differs. What goes around the
// product to the state before is carried in `around`, which holds the gradients of the last states at first.
extern "C" __global__ void gru_gradient(
    const Element* dy, Index used, const Element* product, Real* around, Element* gates, const Element* before,
    const Element* inner, Element* inward, const long long* rows, Index n, Index begin, Index following, Index units,
    Index steps) {
    if (place() >= n) return;
    const Unit at = unit_of(rows, begin, units, steps);
    const Index first = gates_of(at, begin + at.row, 3, units);
    const Real r = real(gates[first]), z = real(gates[first + units]), added = real(gates[first + 2 * units]);
    const Real old = real(before[at.packed]), from_state = real(inner[at.packed]), one = 1;
    Real slope = around[at.state] + from_output(dy, used, at);
    if (at.row < following) slope += real(product[at.own]);
    around[at.state] = slope * z;
    const Real dn = slope * (one - z) * (one - added * added);
    const Real dr = dn * from_state * (r * (one - r)), dz = slope * (old - added) * (z * (one - z));
    gates[first] = inward[first] = element(dr);
    gates[first + units] = inward[first + units] = element(dz);
    gates[first + 2 * units] = element(dn);
    inward[first + 2 * units] = element(dn * r);
}
