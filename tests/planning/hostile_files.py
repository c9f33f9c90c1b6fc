"""Problem files that nobody would write, and what the planner makes of them.

Every maker takes a `random.Random`, so that a number names a file; hypothesis brings a Random that shrinks.
"""

import json
import math
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from decimal import Decimal
from functools import partial
from io import StringIO
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
from feasibility import total, violations
from rich.console import Console

import airtune
from airtune.errors import AirtuneError, InfeasibleError
from airtune.planning import SOLVERS, Plan, Problem, evaluate, plan
from airtune.planning.bandwidth_only import finish_together
from airtune.planning.blocks import in_blocks
from airtune.planning.explain import explain
from airtune.planning.fleet import Fleet
from airtune.planning.pruning_only import best_keep
from airtune.results.plan_table import plan_lines, plan_table

LONGEST_S = 5.0  # of processor time to plan files of up to 20 clients
JUDGED_S = 60.0  # with all that is done to judge the plan
RIVALS = ("jcpba", "pruning-only")
LOOSE = 1e-3  # the gap of another search for the same optimum
FEW = 12  # clients of whom some may be left out, or whose plan is explained
WITH_FEW = ("explain", "allow-drop")
METHODS = (*SOLVERS, "drop-slowest", *WITH_FEW)
EDGES = (0.0, 1e-12, 1e-9, 1.0, 1.0 + 2.3e-16, 1e15, 1e18)  # 1e-12 and 1e18 are the ends of what is read
BEYOND = (5e-324, 2.2e-308, 1e-13, 1.1e18, 1.7976931348623157e308)
SHARES = (0.0, 5e-324, 1e-17, 1e-9, 0.5, 1 - 1e-9, 1 - 1.1e-16, 1.0)
USUAL = {
    "bandwidth_hz": 2e7,
    "snr_hz": 1e9,
    "fixed_s": 1.0,
    "compute_s": 10.0,
    "fixed_bits": 1e7,
    "payload_bits": 1e7,
    "base": 20.0,
    "penalty": 0.8,
    "drop_error": 1.0,
    "budget_bytes": 4e9,
    "fixed_bytes": 1e9,
    "prunable_bytes": 2e9,
    "budget_j": 50.0,
    "fixed_j": 1.0,
    "compute_j": 20.0,
    "transmit_w": 0.2,
}


def structured(random: Random) -> bytes:
    """A file of the right form: numbers over few or all decades, edges, tables, empty cells, twins."""
    return json.dumps(_problem(random)).encode()


def misshapen(random: Random) -> bytes:
    """Such a file with up to three entries removed, renamed, doubled or replaced, or its text damaged."""
    whole = _problem(random, spread=random.choice((0.3, 6)))
    for _ in range(random.randint(0, 3)):
        _spoil(whole, random)
    text = json.dumps(whole, ensure_ascii=random.random() < 0.7)
    if random.random() < 0.5:
        return text.encode("utf-8", "surrogatepass")
    return random.choice(_DAMAGES)(text, random)


def scrambled(random: Random) -> bytes:
    """Such a file with a few bytes flipped, put in, taken out or copied elsewhere."""
    data = bytearray(json.dumps(_problem(random, spread=0.3)).encode())
    for _ in range(random.randint(1, 4)):
        at, length = random.randrange(len(data) + 1), random.randint(1, 12)
        change = random.randrange(5)
        if change == 0:
            data[at : at + 1] = bytes([random.randrange(256)])
        elif change == 1:
            data[at : at + 1] = random.choice('09-e.,]}"[{').encode()
        elif change == 2:
            del data[at : at + length]
        elif change == 3:
            start = random.randrange(len(data) + 1)
            data[at:at] = data[start : start + length]
        else:
            data[at:at] = random.choice((b"e30", b"e308", b"e-320", b"0" * 20, b"null", b"NaN", b"\x00"))
        if not data:
            return b""
    return bytes(data)


MAKERS: dict[str, Callable[[Random], bytes]] = {
    "structured": structured,
    "misshapen": misshapen,
    "scrambled": scrambled,
}


def _problem(random: Random, spread: float | None = None) -> dict[str, Any]:
    """`spread`: decades that a number may be off its usual value."""
    spread = random.choice((0.3, 1, 3, 6, 12, 30)) if spread is None else spread
    edges = random.choice((0.0, 0.0, 0.02, 0.2))
    wild = random.random() < 0.02

    def number(name: str) -> float:
        if random.random() < edges:
            return random.choice(EDGES)
        if wild and random.random() < 0.2:
            return random.choice(BEYOND)
        size = USUAL[name] * 10.0 ** random.uniform(-spread, spread)
        return size if wild else min(max(size, 1e-12), 1e18)

    count = random.choice((1, 1, 2, 2, 3, 4, 5, 6, 8, 20))
    floors = random.random() < 0.1
    cells = [{"id": f"cell-{n}", "bandwidth_hz": number("bandwidth_hz")} for n in range(random.randint(1, 3))]
    clients: list[dict[str, Any]] = []
    for k, weight in enumerate(_weights(count, random)):
        low, high = sorted(_share(random, edges) for _ in range(2))
        one = {name: number(name) for name in ("fixed_s", "compute_s", "fixed_bits", "payload_bits")}
        one = {name: value * (random.random() > 0.08) for name, value in one.items()}
        one["snr_hz"] = number("snr_hz")
        if clients and random.random() < 0.1:
            one = {name: clients[-1][name] for name in one}
        client: dict[str, Any] = {"id": f"c{k}", "cell": random.choice(cells)["id"], "weight": weight, **one}
        client["prune_min"] = low if random.random() < 0.3 else 0.0
        client["prune_max"] = high if random.random() < 0.7 else 1.0
        if random.random() < 0.15:
            client["error"] = _curve(random, edges)
        if random.random() < 0.1:
            client["drop_error"] = number("drop_error")
        if random.random() < 0.1:
            client["memory"] = {n: number(n) for n in ("budget_bytes", "fixed_bytes", "prunable_bytes")}
        if floors and random.random() < 0.5:
            whole_hz = next(cell["bandwidth_hz"] for cell in cells if cell["id"] == client["cell"])
            client["bandwidth_min_hz"] = random.choice(
                (number("bandwidth_hz"), whole_hz * random.random() / count)
            )
        if random.random() < 0.01:
            client["energy"] = {n: number(n) for n in ("budget_j", "fixed_j", "compute_j", "transmit_w")}
        clients.append(client)
    rounds = {"base": number("base"), "penalty": number("penalty"), "error": _curve(random, edges)}
    whole = {"schema": "airtune-problem/1", "cells": cells, "clients": clients, "rounds": rounds}
    if random.random() < 0.4:
        whole["rate"] = random.choice(("shannon", "ergodic-rayleigh"))
    budgets, tables = (random.choice((0.0, 0.0, 0.0, 0.5)) for _ in range(2))
    for client in clients:
        if random.random() < budgets:
            client["energy"] = {n: number(n) for n in ("budget_j", "fixed_j", "compute_j", "transmit_w")}
        if random.random() < tables:
            most = client.pop("fixed_bits") + client.pop("payload_bits")
            client["payload"] = _falling(random, "bits", most)
        if random.random() < tables:
            client["compute"] = _falling(random, "s", client.pop("compute_s"))
    return whole


def _share(random: Random, edges: float) -> float:
    return random.choice(SHARES) if random.random() < max(edges, 0.1) else random.random()


def _weights(count: int, random: Random) -> list[float]:
    kind = random.randrange(5)
    if kind == 0:
        return [float(k == 0) for k in range(count)]
    decades = (0, 0, 1, 6, 11)[kind]
    raw = [10.0 ** random.uniform(-decades, 0) * (random.random() > 0.05) for _ in range(count)]
    total = math.fsum(raw)
    return [value / total for value in raw] if total > 0 else [1 / count] * count


def _curve(random: Random, edges: float) -> dict[str, Any]:
    if random.random() < 0.5:
        usual = random.choice((1.0, 1.3, 2.0, random.uniform(1, 6)))
        odd = (1 + 2.3e-16, 1 + 1e-9, 50.0, 100.0, 1e4)
        return {"kind": "power", "exponent": random.choice(odd) if random.random() < edges + 0.05 else usual}
    prune = sorted({random.random() for _ in range(random.choice((0, 1, 2, 5, 40)))} - {0.0})
    if random.random() < edges:
        prune = sorted({*prune, random.choice((1e-9, 1e-6, 1 - 1e-6, 1 - 1.1e-16))})
    prune = [0.0, *prune, 1.0]
    scale = 10.0 ** random.uniform(-10, 15) if random.random() < edges else 1.0
    slopes = sorted(random.expovariate(1.0) * scale * (random.random() > 0.1) for _ in prune[1:])
    error = [0.0]
    for left, right, slope in zip(prune[:-1], prune[1:], slopes, strict=True):
        error.append(error[-1] + slope * (right - left))
    return {"kind": "table", "prune": prune, "error": error}


def _falling(random: Random, name: str, most: float) -> dict[str, Any]:
    """Bits or seconds over ρ from `most` down, convex, sometimes flat at the end."""
    prune = [0.0, *sorted(random.random() for _ in range(random.choice((0, 1, 3, 30)))), 1.0]
    slopes = sorted((random.expovariate(1.0) * (random.random() > 0.1) for _ in prune[1:]), reverse=True)
    falls = [slope * (right - left) for left, right, slope in zip(prune[:-1], prune[1:], slopes, strict=True)]
    share = most * random.random() / (math.fsum(falls) or 1.0)
    return {"prune": prune, name: [most - share * math.fsum(falls[:n]) for n in range(len(prune))]}


def _spoil(whole: dict[str, Any], random: Random) -> None:
    places = list(_places(whole))
    if not places:
        return
    holder, key = random.choice(places)
    change = random.randrange(6)
    if change == 0:
        del holder[key]
    elif change == 1 and isinstance(holder, dict):
        holder[random.choice(("", "color", "é\n\x1b[31m", str(key).upper(), f"{key}_"))] = holder.pop(key)
    elif change == 2:
        holder[key] = random.choice(([holder[key]], {str(key): holder[key]}, str(holder[key])))
    elif change == 3 and isinstance(holder, list):
        holder.append(deepcopy(holder[key]))
    elif change == 4:
        holder[key] = deepcopy(random.choice(places)[0])
    else:
        holder[key] = deepcopy(random.choice(_JUNK))


_JUNK: tuple[Any, ...] = (
    *(None, True, False, [], {}, [[]]),
    *("", "nan", "c0", "cell-0", "a\nb", "\u202e", "\x00", "\ud800", "x" * 300),
    *(-1, 0, 1, 2, 10**40, 10**400, -0.0, 1e308, -1e308, 5e-324, 1e-17),
    *(math.nan, math.inf, -math.inf),
    {"kind": "power", "exponent": 1},
    {"kind": "table", "prune": [0, 1], "error": [0, 1e308]},
    {"kind": "table", "prune": [0, 1e-300, 1], "error": [0, 0, 1e300]},
    {"kind": "table", "prune": [0, 5e-324, 1], "error": [0, 1e-320, 1e300]},
    {"prune": [0, 1], "bits": [1e30, 0]},
    {"prune": [0, 1e-6, 1], "s": [1, 0, 0]},
    {"budget_bytes": 1, "fixed_bytes": 1e308, "prunable_bytes": 1e308},
)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every entry of nested lists and mappings, as its holder and key."""
    if isinstance(value, dict | list):
        for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, key
            yield from _places(inner)


def _doubled_key(text: str, random: Random) -> bytes:
    keys = [match.start() for match in re.finditer(r'"\w+": ', text)]
    at = random.choice(keys) if keys else 0
    key = text[at : text.find(":", at)] if keys else '""'
    return f"{text[:at]}{key}: 1, {text[at:]}".encode("utf-8", "surrogatepass")


def _cut(text: str, random: Random) -> bytes:
    return text.encode("utf-8", "surrogatepass")[: random.randrange(len(text) + 1)]


def _other_encoding(text: str, random: Random) -> bytes:
    return text.encode(random.choice(("utf-8-sig", "utf-16", "utf-32", "utf-7")), "replace")


def _deep(text: str, random: Random) -> bytes:
    depth, (left, right) = 10 ** random.randint(1, 5), random.choice((("[", "]"), ('{"a":', "}")))
    place = random.choice([match.start() for match in re.finditer(r"[\d.]+", text)] or [0])
    return (text[:place] + left * depth + "1" + right * depth + text[place:]).encode("utf-8", "surrogatepass")


def _around(text: str, random: Random) -> bytes:
    before, after = (
        random.choice((b"", b" ", b"\xff", b"\x00", b"//", b"}", b"\xc3", b"{}")) for _ in range(2)
    )
    return before + text.encode("utf-8", "surrogatepass") + after


_DAMAGES = (_doubled_key, _cut, _other_encoding, _deep, _around)


class Outcome(NamedTuple):
    """How a file ended, and the seconds that planning took. `offence` is empty where all is well; `kind` is
    "plan" or the error's pattern."""

    kind: str
    offence: str
    seconds: float


def outcome(data: bytes, method: str = "joint", blocks: int | None = None) -> Outcome:
    """Read the file and plan it: a plan that the judge passes or a one-line error; the rest is an offence.

    Args:
        method: one of `METHODS`; "explain" is `joint` with its explanation, "allow-drop" `joint` that chooses
            who takes part; of more than `FEW` clients both are `joint`.
        blocks: whole resource blocks, so many of them in the largest cell.
    """
    begin = time.process_time()
    kind, offence = "offence", ""
    try:
        with _limit(JUDGED_S):
            return _planned(data, method, blocks)
    except AirtuneError as error:
        message = str(error)
        kind = _pattern(message)
        named = message.startswith("infeasible: client ") or "problem.json: " in message
        if not message.isprintable() or len(message) > 1000 or not named:
            offence = f"not one line that names its place: {message[:500]!r}"
    except TooLongError:
        offence = f"takes more than {JUDGED_S:g} s"
    except Exception as error:  # whatever it is, users would see a traceback
        offence = f"{type(error).__name__}: {error}"[:500]
    return Outcome(kind, offence, time.process_time() - begin)


def _planned(data: bytes, method: str, blocks: int | None) -> Outcome:
    with tempfile.TemporaryDirectory(dir=_FOLDER) as folder:
        file = Path(folder) / "problem.json"
        file.write_bytes(data)
        problem = Problem.load(file)
    if method in WITH_FEW and len(problem.ids) > FEW:
        method = "joint"
    begin = time.process_time()
    optimal = "joint" if method in WITH_FEW else method
    chosen = airtune.plan(problem, optimal, allow_drop=method == "allow-drop")
    block_hz = None
    if blocks is not None:
        block_hz = float(problem.bandwidth_hz.max()) / blocks
        chosen = in_blocks(problem, chosen, block_hz)
    seconds = time.process_time() - begin
    text, given = chosen.to_json(), json.loads(data)
    found = violations(given, json.loads(text), block_hz)
    if Plan.from_json(text).to_json() != text:
        found.append("the plan file does not survive reading and writing")
    if seconds > LONGEST_S and method != "allow-drop":
        found.append(f"takes more than {LONGEST_S:g} s")
    if optimal == "joint" and chosen.relative_gap is None:
        found.append("no certificate")
    if chosen.lower_bound_s is not None:
        found += _undercut(problem, given, chosen, blocks is None, method == "allow-drop")
    if method == "explain":
        found += _badly_explained(problem, chosen)
    loose = blocks is None and chosen.relative_gap is not None and chosen.relative_gap > 1e-6
    kind = "plan with a gap above 1e-6" if loose else "plan"
    return Outcome(kind, "; ".join(found[:5]), seconds)


def _undercut(
    problem: Problem, given: dict[str, Any], chosen: Plan, continuous: bool, parts: bool
) -> Iterator[str]:
    """What takes less than `chosen` says that anything takes, every N·T recomputed."""
    own, bound = total(given, json.loads(chosen.to_json())), Decimal(chosen.lower_bound_s or 0.0)
    if bound > own:
        yield f"its own plan is below the bound by {1 - own / bound:.1e}"
    for name, rival in _rivals(problem, chosen, continuous, parts):
        least = total(given, json.loads(rival.to_json()))
        if bound > least:
            yield f"{name}'s plan is below the bound by {1 - least / bound:.1e}"
        if name == "loose" and Decimal(rival.lower_bound_s or 0.0) > own:
            off = own / Decimal(rival.lower_bound_s or 0.0) - 1
            yield f"the plan is below a loose search's bound by {-off:.1e}"


def _rivals(problem: Problem, chosen: Plan, continuous: bool, parts: bool) -> Iterator[tuple[str, Plan]]:
    """Other plans: of simpler methods, of a search that ends sooner, and `chosen` after a few steps of block
    coordinate descent; with `parts`, of those who are left when one more client is left out."""
    takes_part = chosen.participates
    tasks: dict[str, Callable[[], Plan]] = {name: partial(plan, problem, name) for name in RIVALS}
    tasks["loose"] = partial(airtune.plan, problem, gap=LOOSE, allow_drop=parts)
    if parts:
        tasks["drop-slowest"] = partial(airtune.plan, problem, "drop-slowest")
        for k, everyone in enumerate(problem.ids):
            fewer = takes_part.copy()
            fewer[k] = not fewer[k]
            if fewer.any():
                tasks[f"{everyone} changed"] = partial(plan, problem, "jcpba", participates=fewer)
    elif continuous:
        tasks["polished"] = partial(_polished, problem, chosen)
    for name, task in tasks.items():
        try:
            yield name, task()
        except InfeasibleError:
            continue


def _polished(problem: Problem, chosen: Plan) -> Plan:
    """`chosen` with the best ρ for its b, the fastest b for that, and so on."""
    with np.errstate(all="ignore"):
        fleet = Fleet.of(problem)
        bandwidth = chosen.bandwidth_hz[fleet.order]
        best = chosen
        for _ in range(3):
            keep = best_keep(fleet, bandwidth)
            for hertz in (bandwidth, finish_together(fleet, keep)[1]):
                made = evaluate(problem, "polished", fleet.prune(keep), fleet.restore(hertz))
                best = made if made.total_s < best.total_s else best
            bandwidth = hertz
    return best


def _badly_explained(problem: Problem, chosen: Plan) -> Iterator[str]:
    """What is not a number among an optimal plan's multipliers, and in its table."""
    why = explain(problem, chosen)
    for name in ("second_s", "speed_s", "hertz_s"):
        values = getattr(why, name)
        if not (np.isfinite(values) & (values >= 0)).all():
            yield f"{name} {values}"
    if float(why.second_s.sum()) > chosen.rounds * (1 + 1e-6):
        yield f"second_s sum to {why.second_s.sum()}, above {chosen.rounds} rounds"
    file = StringIO()
    console = Console(file=file, width=200)
    console.print(plan_table(chosen, why))
    for line in plan_lines(chosen, why):
        console.print(line, markup=False)
    if re.search(r"\b(nan|inf)\b", file.getvalue()):
        yield f"a table with nan or inf: {file.getvalue()[:300]!r}"


_FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None


def _pattern(message: str) -> str:
    """An error without the numbers and names that are the file's own."""
    message = re.sub(r"^\S*problem\.json", "FILE", message)
    message = re.sub(r"found .*?, expected", "found …, expected", message)
    message = re.sub(r"'[^']*'|\"[^\"]*\"", "…", message)
    return re.sub(r"[-+]?\d[\d.]*(e[-+]?\d+)?", "#", message)[:160]


class TooLongError(BaseException):
    """Not an Exception, so that nothing on the way takes it for its own."""


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Stop what takes more processor time, so that other work on the machine does not count."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
