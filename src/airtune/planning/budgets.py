"""What a client may need at most: memory to train in, energy for computing and sending."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_ROUNDING = 1e-12  # relative: a budget is kept within it


class Need(NamedTuple):
    """What training takes of a budget: fixed + prunable·(1 - ρ), in some unit; each (K,)."""

    name: str
    unit: str
    budget: Array
    fixed: Array
    prunable: Array

    def at(self, prune: Array) -> Array:
        """(K,) what is needed at ρ (K,)."""
        return self.fixed + self.prunable * (1.0 - prune)

    def exceeds(self, prune: Array) -> Mask:
        """(K,) whether that is more than there is."""
        return self.at(prune) > self.budget * (1 + _ROUNDING)

    def floor(self, least: Array) -> Array:
        """(K,) `least`, or the least ρ that keeps to the budget where that is larger."""
        spare = self.budget - self.fixed
        fits = np.ones(len(spare))
        np.divide(spare, self.prunable, out=fits, where=self.prunable > np.maximum(spare, 0.0))
        floor = np.maximum(least, 1.0 - np.maximum(fits, 0.0))
        # Rounded up where it was rounded down: a ten-quadrillionth of much may be more than there is.
        return np.where(self.prunable * (1.0 - floor) > spare, floor + np.spacing(1.0), floor)


@dataclass(frozen=True)
class Memory:
    """Training needs fixed + prunable·(1 - ρ) bytes and may need at most the budget; each (K,).

    A client without a limit has an infinite budget.
    """

    budget_bytes: Array
    fixed_bytes: Array
    prunable_bytes: Array

    @property
    def need(self) -> Need:
        """All of it."""
        return Need("memory", "bytes", self.budget_bytes, self.fixed_bytes, self.prunable_bytes)


@dataclass(frozen=True)
class Energy:
    """transmit_w·uplink_s + fixed_j + compute_j·(1 - ρ) may be at most budget_j; each (K,).

    A client without a limit has an infinite budget.
    """

    budget_j: Array
    fixed_j: Array
    compute_j: Array
    transmit_w: Array

    @property
    def need(self) -> Need:
        """That of computing: what sending takes depends on bandwidth too."""
        return Need("energy", "J", self.budget_j, self.fixed_j, self.compute_j)


_Budget = TypeVar("_Budget", Memory, Energy)


def budgets_of(kind: type[_Budget], parts: Sequence[object]) -> _Budget | None:
    """The clients' parts of a problem file as arrays; who has none has an infinite budget."""
    if all(part is None for part in parts):
        return None
    missing = {field.name: np.inf if field.name.startswith("budget") else 0.0 for field in fields(kind)}
    return kind(
        **{name: np.array([getattr(part, name, missing[name]) for part in parts]) for name in missing}
    )


def some_budgets(budgets: _Budget | None, present: npt.NDArray[np.intp]) -> _Budget | None:
    """The budgets of some of the clients."""
    if budgets is None:
        return None
    return replace(budgets, **{part.name: getattr(budgets, part.name)[present] for part in fields(budgets)})
