// Sums over a warp and over a block, in one fixed order: the same bits at every run.

constexpr unsigned EVERY_LANE = 0xffffffffu;
constexpr int WARP = 32;

// A sum is a struct with lane(distance), the sum that the lane at that distance holds, and add(other). Adding commutes,
// so after the last exchange every lane holds the same bits.
template <class Sum>
__device__ __forceinline__ Sum over_warp(Sum sum) {
#pragma unroll
    for (int distance = WARP / 2; distance > 0; distance /= 2) sum.add(sum.lane(distance));
    return sum;
}

// For a block of whole warps and one axis; `warps` is shared memory for 32 sums, and `zero` adds nothing. Once a kernel:
// a second call with the same memory would need a barrier before it.
template <class Sum>
__device__ __forceinline__ Sum over_block(Sum sum, Sum* warps, Sum zero) {
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    sum = over_warp(sum);
    if (lane == 0) warps[warp] = sum;
    __syncthreads();
    return over_warp(lane < blockDim.x / WARP ? warps[lane] : zero);
}

// Two sums at once.
struct Sums {
    Real a, b;
    __device__ __forceinline__ Sums lane(int distance) const {
        return {__shfl_xor_sync(EVERY_LANE, a, distance), __shfl_xor_sync(EVERY_LANE, b, distance)};
    }
    __device__ __forceinline__ void add(const Sums& other) {
        a += other.a;
        b += other.b;
    }
};

// The sum of squares as largest^2 * squares: numbers are divided by the largest before they are squared, so nothing
// overflows. Of infinities the squares are their number; a NaN makes them NaN.
struct SumOfSquares {
    Real largest, squares;
    __device__ __forceinline__ SumOfSquares lane(int distance) const {
        return {__shfl_xor_sync(EVERY_LANE, largest, distance), __shfl_xor_sync(EVERY_LANE, squares, distance)};
    }
    __device__ __forceinline__ void include(Real x) {
        const Real size = fabs(x);
        const bool larger = size > largest;
        const Real ratio = size == largest ? Real(1) : larger ? largest / size : size / largest;
        squares = larger ? squares * (ratio * ratio) + Real(1) : squares + ratio * ratio;
        if (larger) largest = size;
    }
    __device__ __forceinline__ void add(const SumOfSquares& other) {
        const Real high = fmax(largest, other.largest);
        const Real mine = largest == high ? Real(1) : largest / high;
        const Real its = other.largest == high ? Real(1) : other.largest / high;
        squares = squares * (mine * mine) + other.squares * (its * its);
        largest = high;
    }
};
