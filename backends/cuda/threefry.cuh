// Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw, SC 2011): the words of backends/random.py.

struct Words {
    unsigned x0, x1;
};

__device__ __forceinline__ unsigned rotated(unsigned x, int r) { return (x << r) | (x >> (32 - r)); }

__device__ __forceinline__ Words threefry(unsigned key0, unsigned key1, unsigned x0, unsigned x1) {
    const unsigned keys[3] = {key0, key1, 0x1bd11bdau ^ key0 ^ key1};
    const int rotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
    x0 += keys[0];
    x1 += keys[1];
#pragma unroll
    for (int injection = 1; injection < 6; ++injection) {
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            x0 += x1;
            x1 = rotated(x1, rotations[(injection - 1) % 2][r]) ^ x0;
        }
        x0 += keys[injection % 3];
        x1 += keys[(injection + 1) % 3] + injection;
    }
    return {x0, x1};
}
