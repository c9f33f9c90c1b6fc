"""Numbers as people read them: SI prefixes, durations, and the unit that suits an axis."""

PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def si_scale(largest: float, unit: str) -> tuple[float, str]:
    """What to divide by, and the unit then, so that `largest` has one to three digits before the point."""
    for factor, prefix in PREFIXES:
        if largest >= factor:
            return factor, prefix + unit
    return 1.0, unit


def amount(value: float, unit: str) -> str:
    """`amount(1.234e7, "B")` is "12.3 MB"."""
    # Round first: 999.96 kB is 1 MB, not 1000 kB.
    value = float(f"{value:.3g}")
    factor, scaled_unit = si_scale(value, unit)
    return f"{value / factor:.3g} {scaled_unit}"


def time_scale(longest: float) -> tuple[float, str]:
    """What to divide seconds by, and the unit then, for an axis that reaches `longest` seconds."""
    if longest <= 300:
        return 1.0, "s"
    return (60.0, "min") if longest <= 5 * 3600 else (3600.0, "h")


def duration(seconds: float) -> str:
    """`duration(200)` is "3 min 20 s"; below a minute three digits."""
    if round(seconds) < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def number(value: float) -> str:
    """Four digits, never an exponent for numbers of everyday size: 0.3104, 31.04, 3,104."""
    if value == 0 or not 1e-4 <= abs(value) < 1e9:
        return f"{value:.4g}"
    digits = len(str(int(abs(value)))) if abs(value) >= 1 else 1
    return f"{value:,.{max(0, 4 - digits)}f}"
