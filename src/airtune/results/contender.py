"""One method with one reduction as the charts of a comparison see it: its runs side by side, seed by seed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from airtune.planning import Plan
from airtune.results.client_figures import phases
from airtune.results.history import Array, History


@dataclass(frozen=True)
class Contender:
    """S runs that differ in their seed alone, each of at least one round.

    Attributes:
        name: method, and reduction where the method prunes.
        histories: S histories; the first is the one shown client by client.
        plans: S lists of the rounds' plans; empty where no plan is on file.
        time_s: simulated seconds to the target loss, mean of the seeds; NaN where it was not reached.
    """

    name: str
    histories: list[History]
    plans: list[list[Plan]]
    time_s: float

    @property
    def shown(self) -> History:
        """The run of the first seed."""
        return self.histories[0]

    def phase_seconds(self) -> dict[str, float]:
        """Simulated seconds of a client in each phase over the whole run, mean of clients and seeds."""
        seeds = [phases(history) for history in self.histories]
        return {
            phase: float(np.mean([seconds[phase].sum(axis=1).mean() for seconds in seeds]))
            for phase in seeds[0]
        }


@dataclass(frozen=True)
class Curve:
    """A quantity at P points, over S seeds: all (P,)."""

    x: Array
    mean: Array
    low: Array
    high: Array

    @classmethod
    def between(cls, seeds: list[tuple[Array, Array]]) -> "Curve":
        """Mean and extremes of piecewise linear curves, where all of them are defined.

        Args:
            seeds: x and y of each seed, x ascending from the same start.
        """
        points = min(len(x) for x, _ in seeds)
        end = min(x[-1] for x, _ in seeds)
        grid = np.mean([x[:points] for x, _ in seeds], axis=0)
        grid = np.append(grid[grid < end], end)
        values = np.array([np.interp(grid, x, y) for x, y in seeds])
        return cls(grid, values.mean(axis=0), values.min(axis=0), values.max(axis=0))


def loss_curve(contender: Contender, x: Callable[[History], Array]) -> Curve:
    """Test loss before the first round and after each; `x` gives where each round ends, (R,)."""
    return Curve.between(
        [
            (
                np.concatenate([[0.0], x(history)]),
                np.concatenate([[history.start["loss"]], history.per_round("loss")]),
            )
            for history in contender.histories
        ]
    )
