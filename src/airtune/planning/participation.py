"""`joint` with participation: whom to leave out, at the cost of its `drop_error`, as part of the optimum.

Branch and bound. A node is an interval of deadlines and what is decided of every client: takes part, is
left out, or neither; `relaxation` bounds N·T over it. A wide interval is cut; in a narrow one the client is
decided whose choice is closest; choices whose contrary cannot be the best follow. Where all are decided,
`joint` gives value and bound. Sets that a relaxation suggests are planned too, and single changes to the
best one: the search may end at a limit, and the gap that it reports is then what is left.
"""

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from airtune.errors import InfeasibleError
from airtune.planning import Plan, Problem, plan
from airtune.planning.relaxation import IN, OUT, UNDECIDED, Choices, States
from airtune.planning.stragglers import stragglers

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_MOST_PLANS = 300
_LEAST_NODES, _MOST_NODES, _MOST_WORK = 64, 1000, 100_000  # nodes; between the two, clients times nodes
_BATCH = 20_000  # clients times nodes bounded at once
_PIECES = 4  # an interval is cut into
_NARROW = 1e-3  # relative: an interval that is not cut before somebody is decided
_CHANGES = 16  # clients whose choice is closest, tried the other way round
_ROUNDING = 1e-11


def solve(problem: Problem, gap: float = 1e-6) -> Plan:
    """The best plan found over all choices of participants, with a lower bound that holds for all of them.

    Raises:
        InfeasibleError: no participants were found that have a plan.
    """
    begin = time.perf_counter()
    able = problem.fits()
    if not able.any():
        problem.prune_floor()  # raises, and says why
    search = _Search(problem.restrict(able), gap)
    with np.errstate(all="ignore"):  # as in `plan`: the end is checked
        bound = search.run()
    if not np.isfinite(search.best):
        plan(problem, gap=gap, participates=able)  # raises, and says why
    participates = able.copy()
    participates[able] = search.participates
    chosen = plan(problem, gap=gap, participates=participates)
    return replace(chosen.bounded(bound), solve_s=time.perf_counter() - begin)


@dataclass(frozen=True)
class _Node:
    """Deadlines from `first` to `last`, what is decided (K,), its bound on N·T and margins (K,)."""

    first: float
    last: float
    states: States
    bound: float
    margin: Array

    def participants(self) -> Mask:
        """Whom the relaxation would take: at least one."""
        chosen = (self.states == IN) | ((self.states == UNDECIDED) & (self.margin < 0))
        if not chosen.any():
            chosen[np.argmin(np.where(self.states == UNDECIDED, self.margin, np.inf))] = True
        return np.asarray(chosen)


class _Search:
    """Branch and bound; `participates` (K,) is the best choice so far, `best` its N·T."""

    def __init__(self, problem: Problem, gap: float) -> None:
        self.problem, self.gap = problem, gap
        self.choices = Choices(problem)
        self.best, self.deadline, self.settled = np.inf, np.inf, np.inf
        self.participates = np.ones(len(problem.ids), bool)
        self.bounds: dict[bytes, float] = {}  # of the sets that were planned
        self.heap: list[tuple[float, int, _Node]] = []
        self.pushed = 0

    def run(self) -> float:
        """The least bound of all that was settled or is left."""
        clients = len(self.problem.ids)
        everyone = np.ones(clients, bool)
        for chosen in (everyone, ~stragglers(self.problem)):
            self._plan(chosen)
        self._push(self._first_nodes())
        if np.isfinite(self.best):
            self._change(self._at_the_best())
        most = np.clip(_MOST_WORK // clients, _LEAST_NODES, _MOST_NODES)
        while self.heap and self.pushed < most:
            batch = self._pop(max(1, _BATCH // clients))
            if not batch:
                break
            self._plan(batch[0].participants())
            self._push([child for node in batch for child in _children(node)])
        left = self.heap[0][0] if self.heap else np.inf
        return min(self.settled, left, self.best) * (1.0 - _ROUNDING)

    @property
    def goal(self) -> float:
        """What a bound has to reach."""
        return self.best * (1.0 - self.gap)

    def _first_nodes(self) -> list[tuple[float, float, States]]:
        """Deadlines from the least to the last that can be the best; nobody decided but the weightless.

        Nothing is lost without these, unless nobody else takes part: then the fastest of them is enough.
        """
        alone, last = self.choices.deadlines()
        first = float(alone.min())
        fewest = float(self.problem.rounds.count(self.choices.least.sum()))
        last = max(first, self.best / fewest if np.isfinite(self.best) else last)
        weightless = self.problem.weight == 0
        fastest = np.argmin(np.where(weightless, alone, np.inf))
        spare = weightless & (np.arange(len(alone)) != fastest)
        states = np.where(spare, OUT, UNDECIDED).astype(np.int8)
        return [(*ends, states) for ends in _cut(first, last, _PIECES)]

    def _push(self, children: Sequence[tuple[float, float, States]]) -> None:
        """Bound every child; keep those that may hold something better than the best."""
        size = max(1, _BATCH // len(self.problem.ids))
        for start in range(0, len(children), size):
            some = children[start : start + size]
            first, last, states = (np.array(values) for values in zip(*some, strict=True))
            found = self.choices.relax(first, last, states)
            sure = (states == UNDECIDED) & (found.otherwise >= self.goal)
            self.settled = min(self.settled, float(found.otherwise[sure].min(initial=np.inf)))
            states[sure] = np.where(found.margin < 0, IN, OUT)[sure]
            for row in range(len(some)):
                node = _Node(first[row], last[row], states[row], float(found.bound[row]), found.margin[row])
                self._keep(node)

    def _keep(self, node: _Node) -> None:
        self.pushed += 1
        decided = not (node.states == UNDECIDED).any()
        if node.bound >= self.goal:
            self.settled = min(self.settled, node.bound)
        elif decided:
            self.settled = min(self.settled, max(node.bound, self._plan(node.states == IN)))
        else:
            heapq.heappush(self.heap, (node.bound, self.pushed, node))

    def _pop(self, most: int) -> list[_Node]:
        """The nodes of the least bounds, while these are below the goal."""
        found: list[_Node] = []
        while self.heap and len(found) < most and self.heap[0][0] < self.goal:
            found.append(heapq.heappop(self.heap)[2])
        return found

    def _plan(self, participates: Mask) -> float:
        """A bound on N·T for these participants: `joint`'s, infinite where they have no plan, and 0 once too
        many sets have been planned."""
        if not participates.any():
            return np.inf
        key = participates.tobytes()
        if key not in self.bounds:
            if len(self.bounds) >= _MOST_PLANS:
                return 0.0
            try:
                found = plan(self.problem, gap=self.gap, participates=participates)
            except InfeasibleError:
                self.bounds[key] = np.inf
                return np.inf
            self.bounds[key] = found.lower_bound_s or 0.0
            if found.total_s < self.best:
                self.best, self.participates, self.deadline = found.total_s, participates, found.round_s
        return self.bounds[key]

    def _at_the_best(self) -> Array:
        """(K,) margins at the best plan's deadline, nobody decided."""
        deadline = np.array([self.deadline])
        states = np.full((1, len(self.problem.ids)), UNDECIDED, np.int8)
        return np.asarray(self.choices.relax(deadline, deadline, states).margin[0])

    def _change(self, margin: Array) -> None:
        """Improve the best choice by one client at a time, of those whose choice is closest."""
        closest = np.argsort(np.abs(margin), kind="stable")[:_CHANGES]
        before = np.inf
        while self.best < before and 2 * len(self.bounds) < _MOST_PLANS:
            before = self.best
            for client in closest:
                changed = self.participates.copy()
                changed[client] = not changed[client]
                self._plan(changed)


def _children(node: _Node) -> list[tuple[float, float, States]]:
    """Shorter intervals; in a narrow one, the client whose choice is closest decided either way."""
    if node.last - node.first > _NARROW * node.last:
        return [(*ends, node.states) for ends in _cut(node.first, node.last, _PIECES)]
    client = int(np.argmin(np.where(node.states == UNDECIDED, np.abs(node.margin), np.inf)))
    children = []
    for decision in (IN, OUT):
        states = node.states.copy()
        states[client] = decision
        children.append((node.first, node.last, states))
    return children


def _cut(first: float, last: float, pieces: int) -> list[tuple[float, float]]:
    """Neighbouring intervals from `first` to `last`, each as much longer than the one before."""
    least = max(first, 1e-3 * last)
    edges = np.geomspace(least, last, pieces + 1) if last > first else np.array([first, last])
    edges[0], edges[-1] = first, last
    return [(float(low), float(high)) for low, high in pairwise(edges)]
