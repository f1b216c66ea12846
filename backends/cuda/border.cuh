// How an axis of n pixels goes on beyond its ends. The numbers are places in BORDERS of launchers.

constexpr int EMPTY = 0, REFLECT = 1, SYMMETRIC = 2, NEAREST = 3, WRAPPED = 4;

// The pixel that stands at place i, or -1 where there is none. Integer is signed.
template <class Integer>
__device__ __forceinline__ Index pixel_at(Integer i, Index n, int border) {
    if (0 <= i && i < n) return i;
    if (border == EMPTY) return -1;
    if (border == NEAREST) return i < 0 ? 0 : n - 1;
    const Index period = border == WRAPPED ? n : border == SYMMETRIC ? 2 * n : n > 1 ? 2 * n - 2 : 1;
    Index k = i % period;  // of the sign of i
    if (k < 0) k += period;
    if (border == WRAPPED) return k;
    const Index back = border == SYMMETRIC ? period - 1 - k : period - k;
    return k < back ? k : back;
}
