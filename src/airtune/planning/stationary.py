"""A deadline at which N·T has a zero derivative: Newton's method in a bracket."""

from collections.abc import Callable

import numpy as np

_PROBES = 60
_EDGE = 0.01  # how far into the bracket to look where N·T seems to rise from the least deadline on
_STRIDE = 3.0  # the longest step of log(T - T_least)


def stationary(
    probe: Callable[[float, float], tuple[float, float]], first: float, last: float, guess: float, gap: float
) -> tuple[float, float]:
    """A deadline between `first` and `last` that takes about the least N·T, or one next to an end.

    Its N·T is known to some hundredths of the relative `gap`, unless it only is one of several valleys.

    Args:
        probe: of a deadline and its relative distance from the one sought gives f, which is above 0 where N·T
            falls, and -df/dlog T; the closer, the more exactly. Of f = log(1 - dlog(N·T)/dlog T), the second
            is d²log(N·T)/d(log T)² at the deadline sought.

    Returns:
        The deadline, and that second derivative or 1 if it is below.
    """
    low, high, time, step = first, last, guess, 0.3
    bend, before = 1.0, np.inf
    for _ in range(_PROBES):
        if not low < time < high:
            time = low + (_EDGE if low == first else 0.5) * (high - low)
        excess, fall = probe(time, step)
        low, high = (time, high) if excess > 0 else (low, time)
        bend = max(fall, 1.0) if np.isfinite(fall) else bend
        near = 0.2 * np.sqrt(gap / bend)
        # Close to the least deadline bandwidth is dear: f is close to a straight line over log(T - T_least).
        change = float(np.divide(excess * time, fall * (time - first)))
        change = min(max(change, -_STRIDE), _STRIDE)
        ahead = first + (time - first) * np.exp(change)
        if not fall > 0 or abs(excess) > 0.5 * before:
            ahead = first + np.sqrt((low - first) * (high - first))
        if ahead >= high:
            ahead = high * (1.0 - near) if high == last else 0.5 * (low + high)
        before, step = abs(excess), ahead / time - 1.0
        # What a Newton step leaves is about its square.
        close = change * change * (time - first) <= near * time
        time = ahead
        if high - low <= near * high or (close and low < ahead < high):
            break
    return time if low < time < high else 0.5 * (low + high), bend
