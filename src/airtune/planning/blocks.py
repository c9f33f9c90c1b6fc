"""Plans in whole resource blocks: an uplink's scheduler grants each client a number of blocks of its cell.

At a deadline T the error that one more block saves a client falls with the blocks it has (e is convex, X
concave). So whoever saves most gets the next block, after everybody has what the smallest sub-model needs:
that is exact and gives V(T), the least error in whole blocks. T·N(V(T)) has a kink wherever a block changes
hands; V falls with T, so on [T1, T2] it is at least T1·N(V(T2)), and intervals of T are cut until that bound
is within `_PRECISION` of the best plan found. Every good division is also given the deadline that suits it.
"""

import heapq
import math
import time
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from airtune.errors import ArgumentError, InfeasibleError
from airtune.planning.plan import Plan, evaluate
from airtune.planning.problem import Problem
from airtune.planning.support import least_prune

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

MOST_BLOCKS = 10_000  # in one cell; the largest 5G carrier has 275
_PRECISION = 1e-3  # relative, of N·T against the best in whole blocks
_MOST_DEADLINES = 150
_WIDTH = 16  # blocks a client that are weighed at first
_GOLDEN, _STEPS = (math.sqrt(5) - 1) / 2, 24


def in_blocks(problem: Problem, chosen: Plan, block_hz: float) -> Plan:
    """`chosen`, a plan for this problem, made anew for bandwidths that are multiples of `block_hz`.

    Returns:
        The plan for the same participants. It keeps the lower bound of `chosen`, so that `relative_gap` is
        what whole blocks lose against the optimum without them, or slightly more.

    Raises:
        InfeasibleError: a cell has fewer blocks than clients with something to send.
        ArgumentError: a block that is not above 0, or more than `MOST_BLOCKS` in a cell.
    """
    begin = time.perf_counter()
    if not 0 < block_hz < np.inf:
        raise ArgumentError("resource_block_hz", block_hz, "a resource block above 0 Hz")
    with np.errstate(all="ignore"):  # as in `plan`: numbers near the ends of the range
        plan = _in_blocks(problem, chosen, block_hz)
    return replace(plan, solve_s=chosen.solve_s + time.perf_counter() - begin)


def _in_blocks(problem: Problem, chosen: Plan, block_hz: float) -> Plan:
    part = problem.restrict(chosen.participates)
    blocks = np.floor(part.bandwidth_hz / block_hz * (1 + 1e-12))
    if blocks[part.cell].max() > MOST_BLOCKS:
        raise ArgumentError("resource_block_hz", block_hz, f"at most {MOST_BLOCKS} resource blocks in a cell")
    grid = _Grid(part, blocks.astype(np.int64), block_hz)
    counts, deadline = _search(grid, chosen)
    prune, hertz = np.ones(len(problem.ids)), np.zeros(len(problem.ids))
    hertz[chosen.participates] = grid.hertz(counts)
    prune[chosen.participates] = least_prune(part, deadline, grid.hertz(counts))
    plan = evaluate(problem, chosen.method, prune, hertz, chosen.participates)
    return plan if chosen.lower_bound_s is None else plan.bounded(chosen.lower_bound_s)


@dataclass(frozen=True)
class _Grid:
    """A problem whose cells are divided into `blocks` (cells,) of `block_hz`."""

    problem: Problem
    blocks: Counts
    block_hz: float

    def hertz(self, counts: Counts) -> Array:
        """The bandwidth of so many blocks."""
        return np.asarray(counts * self.block_hz, np.float64)

    def harm(self, deadline: float, counts: Counts) -> Array:
        """(..., K) every client's w·e at the deadline on `counts` (..., K) blocks; infinite if it is late."""
        prune = least_prune(self.problem, deadline, self.hertz(counts))
        error = np.empty(prune.shape)
        for curve, clients in self.problem.curves():
            error[..., clients] = curve(prune[..., clients])
        # A curve may say anything of NaN.
        return np.where(np.isnan(prune), np.inf, self.problem.weight * error)

    def rounds(self, deadline: float, counts: Counts) -> float:
        """N of a division with the least pruning that meets the deadline."""
        return float(self.problem.rounds.count(self.harm(deadline, counts).sum()))

    def least(self, deadline: float) -> Counts | None:
        """(K,) blocks with which the smallest sub-models meet the deadline; None where a cell has too few."""
        most = self.blocks[self.problem.cell]
        floor = np.ceil(self.problem.bandwidth_min_hz / self.block_hz * (1 - 1e-12)).astype(np.int64)
        low, high = np.maximum(floor, 0) - 1, np.maximum(most, floor)
        if np.isinf(self.harm(deadline, high)).any():
            return None
        while (high - low > 1).any():
            middle = (low + high) // 2
            late = np.isinf(self.harm(deadline, middle)) & (middle > low)
            low, high = np.where(late, middle, low), np.where(late | (middle == low), high, middle)
        return high if (self._sums(high) <= self.blocks).all() else None

    def divide(self, deadline: float) -> Counts | None:
        """(K,) the blocks of least weighted error; None where the deadline cannot be met."""
        counts = self.least(deadline)
        if counts is None:
            return None
        spare, cell = self.blocks - self._sums(counts), self.problem.cell
        width = _WIDTH
        while True:
            width = min(width, int(spare[cell].max()))
            harm = self.harm(deadline, counts + np.arange(width + 1)[:, None])
            saving = (harm[:-1] - harm[1:]).ravel()
            owner = np.tile(np.arange(len(cell)), width)
            ranked = np.lexsort((-saving, cell[owner]))
            home = cell[owner[ranked]]
            place = np.arange(len(ranked)) - np.searchsorted(home, home)
            given = ranked[(place < spare[home]) & (saving[ranked] > 0)]
            more = np.bincount(owner[given], minlength=len(cell))
            if ((more < width) | (more >= spare[cell])).all():
                return np.asarray(counts + more)
            width *= 2

    def _sums(self, counts: Counts) -> Counts:
        return np.bincount(self.problem.cell, counts, len(self.blocks)).astype(np.int64)


def _search(grid: _Grid, chosen: Plan) -> tuple[Counts, float]:
    """The division and the deadline of the least N·T found, early on at the deadline of `chosen`."""
    problem, start, known = grid.problem, chosen.round_s, chosen.lower_bound_s or 0.0
    # With everybody full on one block, later deadlines gain nothing; nobody is faster than alone in the cell.
    one, alone = (grid.hertz(counts) for counts in (np.ones_like(problem.cell), grid.blocks[problem.cell]))
    last = evaluate(problem, "full", problem.prune_floor(), one).round_s
    first = min(evaluate(problem, "alone", problem.prune_max, alone).round_s, last)
    best = _Best(grid)
    fewest = best.rounds_at(last)
    if math.isinf(fewest):
        raise _infeasible(grid, last)
    ends = [first, *([start] if first < start < last else []), last]
    rounds = [best.rounds_at(end) for end in ends]
    waiting = [
        (left * here, left, right, here)
        for (left, right), here in zip(pairwise(ends), rounds[1:], strict=True)
    ]
    heapq.heapify(waiting)
    for _ in range(_MOST_DEADLINES):
        if not waiting:
            break
        bound, left, right, fewest_here = heapq.heappop(waiting)
        if max(bound, known) >= best.total * (1 - _PRECISION):
            break
        right = min(right, best.total / fewest)
        middle = math.sqrt(left * right) if left > 0 else 0.5 * right
        if not left < middle < right:
            continue
        here = best.rounds_at(middle)
        heapq.heappush(waiting, (left * here, left, middle, here))
        heapq.heappush(waiting, (middle * fewest_here, middle, right, fewest_here))
    return best.counts, best.deadline


def _infeasible(grid: _Grid, deadline: float) -> InfeasibleError:
    """Why there is no plan at all, not even with all the time that could be of use."""
    problem, counts = grid.problem, grid.least(deadline)
    if counts is None:
        floor = np.ceil(problem.bandwidth_min_hz / grid.block_hz * (1 - 1e-12))
        need = np.bincount(problem.cell, floor, len(grid.blocks))
        if (need > grid.blocks).any():
            cell = int(np.argmax(need - grid.blocks))
            k = int(np.argmax(np.where(problem.cell == cell, floor, -1.0)))
            name, blocks = (
                problem.cell_ids[cell],
                f"{grid.blocks[cell]} resource blocks of {grid.block_hz:g} Hz",
            )
            said = f"cell {name} has {blocks} for bandwidth_min_hz of {need[cell]:.0f}"
            return InfeasibleError(problem.ids[k], said)
        ones = np.ones(len(problem.ids))
        needy = evaluate(problem, "most pruned", problem.prune_max, ones).uplink_s > 0
        members = np.bincount(problem.cell[needy], minlength=len(grid.blocks))
        cell = int(np.argmax(members - grid.blocks))
        clients = np.flatnonzero(needy & (problem.cell == cell))
        if len(clients) <= grid.blocks[cell]:
            k = int(np.argmax(problem.fixed_s))
            return InfeasibleError(problem.ids[k], "no deadline is long enough for whole resource blocks")
        k = clients[grid.blocks[cell]]
        return InfeasibleError(
            problem.ids[k],
            f"cell {problem.cell_ids[cell]} has {grid.blocks[cell]} resource blocks of {grid.block_hz:g} Hz "
            f"for {members[cell]} clients that need one each",
        )
    k = int(np.argmax(grid.harm(deadline, counts)))
    return InfeasibleError(problem.ids[k], "gets too few resource blocks: the target is out of reach")


class _Best:
    """The best division so far, its deadline and its N·T."""

    def __init__(self, grid: _Grid) -> None:
        self.grid = grid
        self.total = self.deadline = math.inf
        self.counts = np.zeros(len(grid.problem.ids), np.int64)

    def rounds_at(self, deadline: float) -> float:
        """The least N within the deadline, infinite where it cannot be met; remembers the division."""
        counts = self.grid.divide(deadline)
        if counts is None:
            return math.inf
        rounds = self.grid.rounds(deadline, counts)
        self._remember(deadline, counts, rounds)
        if rounds * deadline < self.total * (1 + 10 * _PRECISION):
            self._best_deadline_for(counts)
        return rounds

    def _remember(self, deadline: float, counts: Counts, rounds: float) -> None:
        if math.isfinite(rounds) and rounds * deadline < self.total:
            self.total, self.deadline, self.counts = rounds * deadline, deadline, counts

    def _best_deadline_for(self, counts: Counts) -> None:
        """Golden section: N·T of one division has one minimum over T, as for bandwidths that are given."""
        problem, hertz = self.grid.problem, self.grid.hertz(counts)
        low = evaluate(problem, "most pruned", problem.prune_max, hertz).round_s
        high = min(evaluate(problem, "full", problem.prune_floor(), hertz).round_s, 2 * self.deadline)
        for _ in range(_STEPS):
            left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
            both = [self.grid.rounds(deadline, counts) for deadline in (left, right)]
            self._remember(left, counts, both[0])
            self._remember(right, counts, both[1])
            # Short deadlines are the ones that may leave the target out of reach.
            low, high = (low, right) if left * both[0] < right * both[1] else (left, high)
