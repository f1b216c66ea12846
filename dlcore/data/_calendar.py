"""Where a moment lies in its day, week and year, as features of a model."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from dlcore.data._clock import DAY, Clock
from dlcore.errors import DataError

__all__ = ["calendar_features"]

_EPOCH = datetime(1970, 1, 1)


def calendar_features(clock: Clock, times: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Names, and features (N, F) in [−1, 1]: sine and cosine of the hour of the day, the day of the week and the day of
    the year, of each that is longer than a step.

    times : (N,) seconds since 1970

    Raises DataError where the clock counts numbers, or steps by whole years.

    >>> clock = Clock(("date",), (), "ISO", "months", 1.0)
    >>> names, x = calendar_features(clock, np.array([0.0, 182.625 * DAY]))
    >>> names, x.round(2).tolist()
    (('year sin', 'year cos'), [[0.0, 1.0], [0.0, -1.0]])
    """
    if not clock.dated:
        raise DataError(f"calendar: column {clock.name} counts numbers, but dates are expected; leave --calendar out")
    step = {"months": 28 * DAY, "weekdays": DAY}.get(clock.unit, 1.0) * clock.step
    shares = {}
    if step < DAY:
        shares["day"] = times % DAY / DAY
    if step < 7 * DAY:
        shares["week"] = (times / DAY + 3) % 7 / 7  # 1970 began on a Thursday
    if step < 365 * DAY and not (clock.unit == "months" and clock.step >= 12):
        moments = [_EPOCH + timedelta(seconds=float(t)) for t in times]
        days = np.array([m.timetuple().tm_yday - 1 for m in moments]) + times % DAY / DAY
        shares["year"] = days / 365.25
    if not shares:
        raise DataError("calendar: the rows are whole years apart, which have no calendar; leave --calendar out")
    names = tuple(f"{name} {wave}" for name in shares for wave in ("sin", "cos"))
    waves = [wave(2 * np.pi * share) for share in shares.values() for wave in (np.sin, np.cos)]
    return names, np.stack(waves, axis=1)
