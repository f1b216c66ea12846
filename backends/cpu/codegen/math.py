"""The exponential, the logistic function and the hyperbolic tangent of vectors.

Numba's own are scalar. These are polynomials in sixteen lanes, with a bound of the error that the tests hold them to: 1
unit in the last place for exp, 2.5 for sigmoid, 1.5 for tanh.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from backends.cpu.codegen.simd import LANES, _call, _constant, _fma, _operation, vector

__all__ = ["exp", "sigmoid", "tanh"]

_INT = ir.IntType(32)
_FLOATS, _INTS = (ir.VectorType(kind, LANES) for kind in (ir.FloatType(), _INT))

_LOG2_E, _LN2_HIGH, _LN2_LOW = 1.44269504088896341, 0.693359375, -2.12194440e-4
_POLYNOMIAL = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
_LOWEST, _HIGHEST = -87.33, 88.37


def _exp(builder: Any, x: Any) -> Any:
    low, high = _constant(_LOWEST), _constant(_HIGHEST)
    below = builder.fcmp_ordered("<", x, low)
    bounded = builder.select(builder.fcmp_ordered(">", x, high), high, x)
    bounded = builder.select(below, low, bounded)
    n = _call(builder, "llvm.rint.v16f32", _FLOATS, builder.fmul(bounded, _constant(_LOG2_E)))
    r = _fma(builder, n, _constant(-_LN2_LOW), _fma(builder, n, _constant(-_LN2_HIGH), bounded))
    p = _constant(_POLYNOMIAL[0])
    for coefficient in _POLYNOMIAL[1:]:
        p = _fma(builder, p, r, _constant(coefficient))
    p = builder.fadd(_fma(builder, p, builder.fmul(r, r), r), _constant(1.0))
    whole = builder.select(builder.fcmp_ordered("ord", n, n), n, _constant(0.0))  # NaN has no integer
    shift = builder.shl(builder.fptosi(whole, _INTS), ir.Constant(_INTS, [23] * LANES))
    power = builder.bitcast(builder.add(builder.bitcast(p, _INTS), shift), _FLOATS)
    return builder.select(below, _constant(0.0), power)


@_operation(vector, vector)
def exp(builder: Any, x: Any) -> Any:
    """e**x to one unit in the last place; 0 below -87.33, where float32 ends, and e**88.37 above 88.37.

    x = n log 2 + r with a whole n, so e**x = 2**n e**r, and e**r is a polynomial (Cephes, expf). NaN stays NaN.
    """
    return _exp(builder, x)


_LEAST = -88.0


@_operation(vector, vector)
def sigmoid(builder: Any, x: Any) -> Any:
    """1 / (1 + e**-x) to 2.5 units in the last place; below -88 it is 0. NaN stays NaN."""
    below = builder.fcmp_ordered("<", x, _constant(_LEAST))
    bounded = builder.select(below, _constant(0.0), x)
    power = _exp(builder, builder.fsub(_constant(-0.0), bounded))
    result = builder.fdiv(_constant(1.0), builder.fadd(_constant(1.0), power))
    return builder.select(below, _constant(0.0), result)


_ODD = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
_NEAR, _FLAT = 0.625, 10.0


@_operation(vector, vector)
def tanh(builder: Any, x: Any) -> Any:
    """The hyperbolic tangent to 1.5 units in the last place: an odd polynomial below 0.625 (Cephes, tanhf), above it
    1 - 2 / (e**2x + 1). NaN stays NaN.
    """
    size = _call(builder, "llvm.fabs.v16f32", _FLOATS, x)
    square, p = builder.fmul(x, x), _constant(_ODD[0])
    for coefficient in _ODD[1:]:
        p = _fma(builder, p, square, _constant(coefficient))
    near = _fma(builder, builder.fmul(p, square), x, x)
    # beyond 10 the result is 1, and the quotient would become a number that the processor is slow with
    bounded = builder.select(builder.fcmp_ordered(">", size, _constant(_FLAT)), _constant(_FLAT), size)
    power = _exp(builder, builder.fadd(bounded, bounded))
    far = builder.fsub(_constant(1.0), builder.fdiv(_constant(2.0), builder.fadd(power, _constant(1.0))))
    result = builder.select(builder.fcmp_unordered("<", size, _constant(_NEAR)), near, far)
    return _call(builder, "llvm.copysign.v16f32", _FLOATS, result, x)  # of -0 too
