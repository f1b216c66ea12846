"""Measured numbers in words, the same in lines, tables and pages."""

from __future__ import annotations

__all__ = ["figure"]


def figure(value: float) -> str:
    """A count whole; another number with 4 decimals, or with 4 digits where those would hide it or run on.

    >>> figure(1200), figure(0.98765), figure(-12345.678), figure(0.0)
    ('1,200', '0.9877', '-12,345.6780', '0.0000')
    >>> figure(2.7476e-15), figure(3.27795e8), figure(float("nan"))
    ('2.748e-15', '3.278e+08', 'nan')
    """
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4f}" if value == 0 or 1e-3 <= abs(value) < 1e7 else f"{value:.4g}"
