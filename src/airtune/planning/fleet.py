"""A problem compiled for the solvers: clients sorted by cell, error curves cut into pieces.

The choice of a client is its keep rate x = 1 - ρ. Choices that nobody would make are cut off first: where
pruning costs no error the client is pruned that far, and where pruning saves nothing (compute_s =
payload_bits = 0, or tables that fall no further) it is as full as that allows.
"""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from airtune.planning.floors import FILLING_MARGIN, bandwidth_floor, energy_floor
from airtune.planning.infeasible import pruned_too_far
from airtune.planning.limits import Limits
from airtune.planning.pieces import Pieces
from airtune.planning.problem import COSTS, Problem
from airtune.planning.rounds import Rounds
from airtune.radio.rate import bandwidth_for_rate

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
_Scalar = TypeVar("_Scalar", bound=np.generic)

_PER_CLIENT = ("order", "weight", "snr_hz", *COSTS, "floor_hz", "need_hz", "rigid")
_ROUNDING = 1e-15  # of ρ


@dataclass(frozen=True)
class Fleet:
    """Arrays over clients are (K,) in the order `order`. The range of ρ, `prune_floor` to `prune_max`, keeps
    the problem's order.

    `rigid` marks clients whose time does not depend on x. Only cells with clients count; `starts` has
    the first client of each, `sizes` how many there are, `bandwidth_hz` is (cells,). From deadline `longest`
    (cells,) on everyone in a cell can be as full as it may be, with Σ w e = `least_error`; a solver that
    wants these sets them.

    `limits` are those of all clients if some client has more than one, from tables or an energy budget; then
    these replace `fixed_s` to `payload_bits`. `floor_hz` is the floor under bandwidth that is given,
    `need_hz` with what energy asks for.
    """

    order: Index
    prune_floor: Array
    prune_max: Array
    starts: Index
    longest: Array
    least_error: Array
    sizes: Index
    bandwidth_hz: Array
    rate: str
    rounds: Rounds
    weight: Array
    snr_hz: Array
    fixed_s: Array
    compute_s: Array
    fixed_bits: Array
    payload_bits: Array
    floor_hz: Array
    need_hz: Array
    rigid: Mask
    pieces: Pieces
    limits: Limits | None = None

    @classmethod
    def of(cls, problem: Problem) -> "Fleet":
        """Compile `problem`.

        Raises:
            InfeasibleError: memory, energy or bandwidth for its floors does not suffice, or N is infinite
                with every client as full as it may be.
        """
        floor, ceiling = problem.prune_floor(), problem.prune_max
        _check_rounds(problem, floor)
        floor_hz = bandwidth_floor(problem)
        order = np.argsort(problem.cell, kind="stable")
        sizes = np.bincount(problem.cell)
        used = np.flatnonzero(sizes)
        sizes = sizes[used]
        costs, limits = [getattr(problem, name) for name in COSTS], problem.limits
        if limits is None:
            rigid = (problem.compute_s == 0) & (problem.payload_bits == 0)
            need_hz = floor_hz
        else:
            least_keep, rigid = limits.least_keep()
            ceiling = np.maximum(np.minimum(ceiling, 1.0 - least_keep), floor)
            need_hz = energy_floor(problem, limits, floor_hz)
            costs = [-limits.room[0], limits.compute[0], limits.bits0[0], limits.bits[0]]
            limits = limits.take(order) if len(limits.room) > 1 else None
        ceiling = np.where(rigid, floor, ceiling)
        return cls(
            order=order,
            prune_floor=floor,
            prune_max=problem.prune_max,
            starts=_starts(sizes),
            sizes=sizes,
            longest=np.full(len(used), np.inf),
            least_error=np.zeros(len(used)),
            bandwidth_hz=problem.bandwidth_hz[used],
            rate=problem.rate,
            rounds=problem.rounds,
            weight=problem.weight[order],
            snr_hz=problem.snr_hz[order],
            floor_hz=floor_hz[order],
            need_hz=need_hz[order],
            rigid=rigid[order],
            pieces=Pieces.of(problem, floor, ceiling).take(order),
            limits=limits,
            **{name: values[order] for name, values in zip(COSTS, costs, strict=True)},
        )

    def cells(self, chosen: slice) -> "Fleet":
        """The part of the fleet in some neighbouring cells."""
        if chosen.stop - chosen.start == len(self.starts):
            return self
        first, last = self.starts[chosen][0], (*self.starts, len(self.order))[chosen.stop]
        clients = slice(first, last)
        return replace(
            self.sample(clients),
            starts=self.starts[chosen] - first,
            longest=self.longest[chosen],
            least_error=self.least_error[chosen],
            sizes=self.sizes[chosen],
            bandwidth_hz=self.bandwidth_hz[chosen],
        )

    def only(self, chosen: Mask) -> "Fleet":
        """The part of the fleet in the cells that a mask (cells,) chooses."""
        if chosen.all():
            return self
        return replace(
            self.sample(self.spread(chosen)),
            starts=_starts(self.sizes[chosen]),
            sizes=self.sizes[chosen],
            longest=self.longest[chosen],
            least_error=self.least_error[chosen],
            bandwidth_hz=self.bandwidth_hz[chosen],
        )

    def sample(self, clients: slice | Mask) -> "Fleet":
        """Some clients, to be used without their cells."""
        limits = None if self.limits is None else self.limits.take(clients)
        arrays = {name: getattr(self, name)[clients] for name in _PER_CLIENT}
        return replace(self, **arrays, pieces=self.pieces.take(clients), limits=limits)

    @property
    def keep_min(self) -> Array:
        return self.pieces.nodes[:, 0]

    @property
    def keep_max(self) -> Array:
        return self.pieces.nodes[:, -1]

    def total(self, values: Array) -> Array:
        """(..., K) summed within each cell: (..., cells)."""
        return np.asarray(np.add.reduceat(values, self.starts, axis=-1))

    def largest(self, values: Array) -> Array:
        """(..., K): the largest within each cell, (..., cells)."""
        return np.asarray(np.maximum.reduceat(values, self.starts, axis=-1))

    def spread(self, values: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
        """(..., cells): each client its cell's value, (..., K)."""
        return values.repeat(self.sizes, axis=-1)

    def equal_bandwidth(self) -> Array:
        """(K,) every client an equal part of its cell; who needs more than that gets its floor."""
        pinned = np.zeros(len(self.order), bool)
        while True:
            free = np.maximum(self.total(np.where(pinned, 0.0, 1.0)), 1.0)
            left = np.maximum(self.bandwidth_hz - self.total(np.where(pinned, self.need_hz, 0.0)), 0.0)
            bandwidth = np.where(pinned, self.need_hz, self.spread(left / free))
            more = bandwidth < self.need_hz
            if not more.any():
                return np.asarray(bandwidth)
            pinned |= more

    def fill(self, bandwidth: Array, floor_hz: Array | None = None) -> Array:
        """(..., K) bandwidths above the floors, those beyond them in proportion, that fill the cells."""
        floor_hz = self.need_hz if floor_hz is None else floor_hz
        beyond = np.maximum(bandwidth - floor_hz, 0.0)
        spare = np.maximum(self.bandwidth_hz * (1 - FILLING_MARGIN) - self.total(floor_hz), 0.0)
        used = self.total(beyond)
        stretch = np.divide(spare, used, out=np.zeros_like(used), where=used > 0)
        return np.asarray(floor_hz + beyond * self.spread(stretch))

    def bits(self, keep: Array) -> Array:
        """(..., K) bits of the upload at keep rates (..., K)."""
        if self.limits is None:
            return self.fixed_bits + self.payload_bits * keep
        return self.limits.bits_at(keep)

    def busy(self, keep: Array) -> Array:
        """(..., K) seconds of the round besides the upload at keep rates (..., K)."""
        if self.limits is None:
            return self.fixed_s + self.compute_s * keep
        return self.limits.busy_at(keep)

    def floors(self, keep: Array) -> Array:
        """(..., K) the least bandwidth for keep rates (..., K), whatever the deadline."""
        if self.limits is None:
            return self.floor_hz
        need = bandwidth_for_rate(self.limits.least_rate(keep), self.snr_hz, self.rate)
        return np.maximum(self.floor_hz, need)

    def least_errors(self) -> Array:
        """(K,) below the w·e of clients that are as full as they may be, by what rounding may have added."""
        error, slope = self.pieces.error(self.keep_max), self.pieces.slope(self.keep_max)
        return np.asarray(self.weight * np.maximum(error - _ROUNDING * (100.0 * error + slope), 0.0))

    def keep_by(self, deadline: Array, rates: Array) -> Array:
        """Largest keep rates with which rates (..., K) meet a deadline (..., 1), within the nodes' range."""
        if self.limits is not None:
            keep = self.limits.keep_by(deadline, rates)
            return np.where(self.rigid, self.keep_max, np.clip(keep, self.keep_min, self.keep_max))
        spare = rates * (deadline - self.fixed_s) - self.fixed_bits
        keep = spare / np.where(self.rigid, 1.0, self.payload_bits + rates * self.compute_s)
        return np.where(self.rigid, self.keep_max, np.clip(keep, self.keep_min, self.keep_max))

    def prune(self, keep: Array) -> Array:
        """(K,) ρ in the problem's order and range."""
        return np.clip(self.restore(rounded_up(keep)), self.prune_floor, self.prune_max)

    def restore(self, values: Array) -> Array:
        """(K,) from the fleet's order back to the problem's."""
        original = np.empty_like(values)
        original[self.order] = values
        return original


def _starts(sizes: Index) -> Index:
    """The first client of each cell."""
    return np.append(0, np.cumsum(sizes)[:-1])


def rounded_up(keep: Array) -> Array:
    """ρ = 1 - x, never below: near ρ = 1 a last digit may be more energy than there is."""
    prune = 1.0 - keep
    return np.asarray(np.where(1.0 - prune > keep, np.nextafter(prune, np.inf), prune))


def _check_rounds(problem: Problem, floor: Array) -> None:
    harm = problem.weight * problem.error_at(floor)
    if problem.rounds.penalty * harm.sum() >= 1:
        raise pruned_too_far(problem, floor)
