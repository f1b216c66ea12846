// __half for the host: 16 bits and the two conversions, the second to nearest with ties to even.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

struct __half {
    uint16_t bits;
};

inline float __half2float(__half x) {
    const int exponent = x.bits >> 10 & 31, mantissa = x.bits & 1023;
    float value;
    if (exponent == 31) {
        value = mantissa ? NAN : INFINITY;
    } else {
        value = exponent ? std::ldexp(1024.0f + mantissa, exponent - 25) : std::ldexp(float(mantissa), -24);
    }
    return std::copysign(value, x.bits >> 15 ? -1.0f : 1.0f);
}

inline __half __float2half_rn(float x) {
    const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
    const float size = std::fabs(x);
    if (std::isnan(x)) return {uint16_t(0x7fff)};  // as the device writes it
    if (size >= 65520.0f) return {uint16_t(sign | 0x7c00)};
    // One unit in the last place, as a power of 2: not below that of the smallest normal number.
    const int unit = size < 0x1p-14f ? -24 : std::ilogb(size) - 10;
    const int units = int(std::nearbyint(std::ldexp(size, -unit)));  // 1024 ... 2048, fewer below the normal numbers
    return {uint16_t(sign | (units + ((unit + 24) << 10)))};
}
