"""Whether a plan file is a plan for a problem file: a judge that shares no code with the planner.

It computes in decimals of 28 digits whose exponents have no end, so that what the planner says in floats is
held against what the files say, whatever their numbers.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, localcontext
from typing import Any

File = Mapping[str, Any]
RANGE, FILLED, RECOMPUTED, BLOCK = (Decimal(text) for text in ("1e-9", "1e-9", "1e-6", "1e-9"))
# What rounding in double precision may do to 1 - penalty·E, and numbers that a float holds with fewer digits.
ROUNDING, SMALLEST = Decimal("1e-13"), Decimal("1e-300")
# How far 1 - relative_gap and lower_bound_s / total_s may part.
GAP = Decimal("1e-9")
PLAN_KEYS = {"schema", "method", "round_s", "rounds", "total_s", "lower_bound_s", "relative_gap", "solve_s"}
CLIENT_KEYS = {"id", "participates", "prune", "bandwidth_hz", "uplink_s", "round_s"}


def violations(problem: File, plan: File, block_hz: float | None = None) -> list[str]:
    """What is wrong with `plan`, both as read from JSON; empty for a valid plan.

    Args:
        block_hz: then every bandwidth has to be a whole number of these.
    """
    strange = list(_not_numbers(plan))
    if strange:
        return strange
    with localcontext() as context:
        context.Emax, context.Emin = 10**9, -(10**9)
        return list(_violations(problem, plan, block_hz))


def total(problem: File, plan: File) -> Decimal:
    """N·T that the ρ and b of a plan make, infinite where N is: no lower bound may be above it."""
    with localcontext() as context:
        context.Emax, context.Emin = 10**9, -(10**9)
        planned = {row["id"]: row for row in plan["clients"]}
        present = [client for client in problem["clients"] if planned[client["id"]]["participates"]]
        slowest = max(_seconds(problem, client, planned[client["id"]]) for client in present)
        left = 1 - _exact(problem["rounds"]["penalty"]) * _weighted_error(problem, planned)
        return slowest * _exact(problem["rounds"]["base"]) / left if left > 0 else Decimal("Infinity")


def _seconds(problem: File, client: File, row: File) -> Decimal:
    prune = _exact(row["prune"])
    bits = _bits(client, prune)
    if bits == 0:
        return _busy(client, prune)
    link = _exact(row["bandwidth_hz"]), _exact(client["snr_hz"]), problem.get("rate", "shannon")
    return _busy(client, prune) + bits / rate(*link)


def _violations(problem: File, plan: File, block_hz: float | None) -> Iterator[str]:
    planned = {row["id"]: row for row in plan["clients"]}
    wanted = [client["id"] for client in problem["clients"]]
    if sorted(planned) != sorted(wanted) or len(plan["clients"]) != len(wanted):
        yield "clients: not those of the problem"
        return
    present = [client for client in problem["clients"] if planned[client["id"]]["participates"]]
    if not present:
        yield "clients: nobody participates"
        return
    for client in problem["clients"]:
        row = planned[client["id"]]
        check = _of_present if row["participates"] else _of_absent
        for found in check(problem, client, row):
            yield f"client {client['id']}: {found}"
    yield from _of_cells(problem, planned, block_hz)
    yield from _of_totals(problem, plan, planned)


def _of_present(problem: File, client: File, row: File) -> Iterator[str]:
    prune, hertz = _exact(row["prune"]), _exact(row["bandwidth_hz"])
    keep = 1 - prune
    if not _exact(client["prune_min"]) - RANGE <= prune <= _exact(client["prune_max"]) + RANGE:
        yield f"prune {row['prune']} out of range"
    if hertz < _exact(client.get("bandwidth_min_hz", 0)) * (1 - FILLED):
        yield f"bandwidth_hz {row['bandwidth_hz']} below its floor"
    memory = client.get("memory")
    if memory:
        need = _exact(memory["fixed_bytes"]) + _exact(memory["prunable_bytes"]) * keep
        if need > _exact(memory["budget_bytes"]) * (1 + RANGE):
            yield f"needs {need:.6g} bytes"
    bits, seconds = _bits(client, prune), _busy(client, prune)
    if bits > 0 and hertz == 0:
        yield "bits to send and no bandwidth"
        return
    uplink = (
        bits / rate(hertz, _exact(client["snr_hz"]), problem.get("rate", "shannon")) if bits > 0 else bits
    )
    if not _agree(row["uplink_s"], uplink):
        yield f"uplink_s {row['uplink_s']}, recomputed {uplink:.9g}"
    if not _agree(row["round_s"], seconds + uplink):
        yield f"round_s {row['round_s']}, recomputed {seconds + uplink:.9g}"
    energy = client.get("energy")
    if energy:
        spent = _exact(energy["transmit_w"]) * uplink + _exact(energy["fixed_j"])
        spent += _exact(energy["compute_j"]) * keep
        if spent > _exact(energy["budget_j"]) * (1 + RANGE):
            yield f"spends {spent:.6g} J"


def _of_absent(problem: File, client: File, row: File) -> Iterator[str]:
    if (row["prune"], row["bandwidth_hz"], row["uplink_s"], row["round_s"]) != (1, 0, 0, 0):
        yield "left out, and yet it takes time or bandwidth"


def _of_cells(problem: File, planned: File, block_hz: float | None) -> Iterator[str]:
    for cell in problem["cells"]:
        rows = [planned[client["id"]] for client in problem["clients"] if client["cell"] == cell["id"]]
        whole, used = _exact(cell["bandwidth_hz"]), sum(_exact(row["bandwidth_hz"]) for row in rows)
        if used > whole * (1 + FILLED):
            yield f"cell {cell['id']}: {used:.12g} Hz of {whole:.12g} Hz"
        if block_hz is None:
            continue
        block = _exact(block_hz)
        for row in rows:
            blocks = _exact(row["bandwidth_hz"]) / block
            if abs(blocks - round(blocks)) > BLOCK * max(blocks, 1):
                yield f"client {row['id']}: {blocks:.9g} blocks"
        if round(used / block) > whole / block * (1 + FILLED):
            yield f"cell {cell['id']}: {used / block:.9g} blocks of {whole / block:.9g}"


def _of_totals(problem: File, plan: File, planned: File) -> Iterator[str]:
    total, rounds, round_s = (_exact(plan[name]) for name in ("total_s", "rounds", "round_s"))
    slowest = max(_exact(row["round_s"]) for row in planned.values())
    if not _agree(plan["round_s"], slowest):
        yield f"round_s {plan['round_s']}, the slowest client's {slowest:.9g}"
    weighted = _weighted_error(problem, planned)
    penalty, base = (_exact(problem["rounds"][name]) for name in ("penalty", "base"))
    left = 1 - penalty * weighted
    allowed = RECOMPUTED * abs(left) + ROUNDING * (1 + len(planned)) * (1 + penalty * weighted)
    if rounds == 0 or (abs(left - base / rounds) > allowed and not _agree(plan["rounds"], base / left)):
        yield f"rounds {plan['rounds']}, recomputed with 1 - penalty·E = {left:.9g}"
    if not _agree(plan["total_s"], rounds * round_s):
        yield f"total_s {plan['total_s']}, recomputed {rounds * round_s:.9g}"
    if _exact(plan.get("round_lower_bound_s", 0)) > round_s:
        yield f"round_lower_bound_s {plan['round_lower_bound_s']} above round_s {plan['round_s']}"
    bound, gap = plan["lower_bound_s"], plan["relative_gap"]
    if (bound is None) != (gap is None):
        yield "lower_bound_s without relative_gap, or the other way round"
    elif bound is not None:
        if _exact(bound) > total:
            yield f"lower_bound_s {bound} above total_s {plan['total_s']}"
        implied = 1 - _exact(bound) / total if total > SMALLEST else Decimal(0)
        if not 0 <= gap <= 1 or (total > SMALLEST and abs(implied - _exact(gap)) > GAP):
            yield f"relative_gap {gap}, recomputed {implied:.9g}"


def _weighted_error(problem: File, planned: File) -> Decimal:
    weighted = Decimal(0)
    for client in problem["clients"]:
        row = planned[client["id"]]
        curve = client.get("error") or problem["rounds"]["error"]
        harm = _error(curve, _exact(row["prune"])) if row["participates"] else client.get("drop_error", 1.0)
        weighted += _exact(client["weight"]) * _exact(harm)
    return weighted


def rate(hertz: Decimal, snr_hz: Decimal, kind: str) -> Decimal:
    """Bits per second on `hertz` > 0: b·log2(1 + g/b), or its mean over Rayleigh fading."""
    log2_e = 1 / Decimal(2).ln()
    if kind == "shannon":
        return hertz * log2_e * _log1p(snr_hz / hertz)
    return hertz * log2_e * _scaled_e1(hertz / snr_hz)


def _log1p(x: Decimal) -> Decimal:
    return (1 + x).ln() if x > Decimal("1e-9") else x - x * x / 2 + x * x * x / 3


def _scaled_e1(z: Decimal) -> Decimal:
    """exp(z)·E1(z): Abramowitz and Stegun 5.1.11 (a power series), from 1 on 5.1.22 (a fraction)."""
    if z < 1:
        euler = Decimal("0.5772156649015328606065120901")
        term, series = Decimal(1), Decimal(0)
        for n in range(1, 40):
            term *= -z / n
            series -= term / n
        return z.exp() * (series - euler - z.ln())
    # From the far end: 1/(z+1 - 1/(z+3 - 4/(z+5 - ...))); 120 levels are exact to 15 digits at z = 1.
    tail = Decimal(0)
    for n in range(120, 0, -1):
        tail = n * n / (z + 2 * n + 1 - tail)
    return 1 / (z + 1 - tail)


def _bits(client: File, prune: Decimal) -> Decimal:
    table = client.get("payload")
    if table:
        return _interpolate(table["prune"], table["bits"], prune)
    return _exact(client["fixed_bits"]) + _exact(client["payload_bits"]) * (1 - prune)


def _busy(client: File, prune: Decimal) -> Decimal:
    """Seconds of the round without the upload."""
    table = client.get("compute")
    if table:
        return _exact(client["fixed_s"]) + _interpolate(table["prune"], table["s"], prune)
    return _exact(client["fixed_s"]) + _exact(client["compute_s"]) * (1 - prune)


def _error(curve: File, prune: Decimal) -> Decimal:
    if curve["kind"] == "power":
        return prune ** _exact(curve["exponent"]) if prune > 0 else prune
    return _interpolate(curve["prune"], curve["error"], prune)


def _interpolate(across: Sequence[float], values: Sequence[float], at: Decimal) -> Decimal:
    """On the straight line between two points of a table; the last line goes on."""
    right = next((n for n in range(1, len(across) - 1) if at <= _exact(across[n])), len(across) - 1)
    x0, x1, y0, y1 = (
        _exact(value) for value in (across[right - 1], across[right], values[right - 1], values[right])
    )
    return y0 + (y1 - y0) * (at - x0) / (x1 - x0)


def _agree(said: float, recomputed: Decimal) -> bool:
    return abs(_exact(said) - recomputed) <= RECOMPUTED * abs(recomputed) + SMALLEST


def _exact(value: float | Decimal) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(float(value))


def _not_numbers(plan: File) -> Iterator[str]:
    """Fields that are missing or unknown, and numbers that are none or not finite and at least 0."""
    clients = plan.get("clients")
    if set(plan) - {"round_lower_bound_s"} != PLAN_KEYS | {"clients"} or not isinstance(clients, list):
        yield "fields that are not a plan's"
        return
    for place, row, keys in [("", plan, PLAN_KEYS), *((row.get("id"), row, CLIENT_KEYS) for row in clients)]:
        if not keys <= set(row):
            yield f"{place}: fields that are not a plan's"
            continue
        for key in keys - {"id", "schema", "method", "participates"}:
            value = row[key]
            if value is None and key in ("lower_bound_s", "relative_gap"):
                continue
            if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                yield f"{place}: {key} {value}"
