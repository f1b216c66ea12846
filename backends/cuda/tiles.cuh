// Products of matrices, and what is summed like them, by tiles: a block of 256 threads has 32 x 32 results, 2 x 2 a
// thread. Each sum goes along the inner axis in its order.

constexpr int TILE = 32;
constexpr int DEEP = 8;        // of the inner axis at once
constexpr int ROW = TILE + 1;  // so that neighbours along the inner axis lie in different banks
constexpr int SIDE = TILE / 2;

// How the elements of b lie: neighbours along the inner axis, or along the outer one.
constexpr bool INNER = true, OUTER = false;

// out[i, j] = added(j) + the sum over d of term(a(i, d), b(d, j)): (m, depth), (depth, k) -> (m, k). `some_a` and
// `some_b` are shared memory for DEEP * ROW numbers each.
template <bool neighbours, class A, class B, class Term, class Added>
__device__ __forceinline__ void by_tiles(
    A a, B b, Term term, Added added, Real* some_a, Real* some_b, Element* out, Index m, Index k, Index depth) {
    const int thread = threadIdx.x, across = thread % SIDE, down = thread / SIDE;
    const Index first_row = blockIdx.x * TILE, first_column = blockIdx.y * TILE;
    const int deep = neighbours == INNER ? thread % DEEP : thread / TILE;
    const int wide = neighbours == INNER ? thread / DEEP : thread % TILE;
    Real sums[2][2] = {{0, 0}, {0, 0}};
    for (Index start = 0; start < depth; start += DEEP) {
        const Index i = first_row + thread / DEEP, d = start + thread % DEEP;
        some_a[thread % DEEP * ROW + thread / DEEP] = i < m && d < depth ? a(i, d) : Real(0);
        const Index j = first_column + wide, e = start + deep;
        some_b[deep * ROW + wide] = j < k && e < depth ? b(e, j) : Real(0);
        __syncthreads();
#pragma unroll
        for (int t = 0; t < DEEP; ++t) {
#pragma unroll
            for (int p = 0; p < 2; ++p) {
#pragma unroll
                for (int q = 0; q < 2; ++q) {
                    sums[p][q] += term(some_a[t * ROW + down + p * SIDE], some_b[t * ROW + across + q * SIDE]);
                }
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int p = 0; p < 2; ++p) {
#pragma unroll
        for (int q = 0; q < 2; ++q) {
            const Index i = first_row + down + p * SIDE, j = first_column + across + q * SIDE;
            if (i < m && j < k) out[i * k + j] = element(sums[p][q] + added(j));
        }
    }
}

template <bool neighbours, class A, class B, class Term>
__device__ __forceinline__ void by_tiles(
    A a, B b, Term term, Real* some_a, Real* some_b, Element* out, Index m, Index k, Index depth) {
    by_tiles<neighbours>(a, b, term, [](Index) { return Real(0); }, some_a, some_b, out, m, k, depth);
}
