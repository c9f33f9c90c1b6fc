"""Why no plan reaches the target, and the least change of one number with which one would."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from airtune.errors import InfeasibleError

if TYPE_CHECKING:
    from airtune.planning.problem import Problem

Array = npt.NDArray[np.float64]


def pruned_too_far(problem: "Problem", floor: Array) -> InfeasibleError:
    """N is infinite although every client is pruned by no more than its `floor` (K,).

    Names the client whose own limit has to give way least; where no single client's would be enough, the one
    that does most harm, and the penalty.
    """
    harm = problem.weight * problem.error_at(floor)
    allowed = _reach(problem, 1.0 / problem.rounds.penalty - (harm.sum() - harm))
    memory = _memory_floor(problem)
    # One number is changed, so the other of the two limits has to allow the new rate already.
    other = np.where(memory > problem.prune_min, problem.prune_min, memory)
    short = np.where(other <= allowed, floor - allowed, np.inf)  # NaN where rate 0 is not enough
    k = int(np.argmin(np.where(np.isnan(short), np.inf, short)))
    if not np.isfinite(short[k]):
        k = int(np.argmax(harm))
        change = f"a penalty below {1.0 / harm.sum():.6g}"
    elif memory[k] > problem.prune_min[k] and problem.memory is not None:
        limit = problem.memory
        need = limit.fixed_bytes[k] + limit.prunable_bytes[k] * (1.0 - allowed[k])
        change = f"more than {need:.6g} bytes"
    else:
        change = f"prune_min below {allowed[k]:.6g}"
    said = f"must be pruned by {floor[k]:.3g} at least: the target is out of reach at every deadline"
    return InfeasibleError(problem.ids[k], f"{said}; {change} would do")


def missed_too_much(problem: "Problem", participates: npt.NDArray[np.bool_], least: float) -> InfeasibleError:
    """N is infinite without those who do not take part, however full the others: these add `least` to E."""
    harm = np.where(participates, 0.0, problem.weight * problem.drop_error)
    k = int(np.argmax(harm))
    total = float(harm.sum()) + least
    allowed = 1.0 / problem.rounds.penalty - (total - harm[k])
    if allowed > 0:
        change = f"drop_error below {allowed / problem.weight[k]:.6g}"
    else:
        change = f"a penalty below {1.0 / total:.6g}"
    return InfeasibleError(
        problem.ids[k], f"without it no number of rounds reaches the target; {change} would do"
    )


def too_much_bandwidth(problem: "Problem", least: Array) -> InfeasibleError:
    """Floors under bandwidth sum to `least` (cells,), in some cell more than there is."""
    cell = int(np.argmax(least / problem.bandwidth_hz))
    k = int(np.argmax(np.where(problem.cell == cell, problem.bandwidth_min_hz, -np.inf)))
    whole, own = problem.bandwidth_hz[cell], problem.bandwidth_min_hz[k]
    change, over = f"{least[cell]:.9g} Hz there", least[cell] - whole
    if over <= own:
        change = f"a bandwidth_min_hz of {own - over:.9g}, or {change},"
    name = problem.cell_ids[cell]
    said = f"cell {name} has {whole:.9g} Hz for clients whose bandwidth_min_hz sum to {least[cell]:.9g}"
    return InfeasibleError(problem.ids[k], f"{said}; {change} would do")


def _reach(problem: "Problem", harm: Array) -> Array:
    """(K,) the ρ at which each client's w·e(ρ) is `harm` (K,); NaN where it is more at once."""
    low, high = np.zeros(len(harm)), problem.prune_max
    for _ in range(60):
        middle = 0.5 * (low + high)
        below = problem.weight * problem.error_at(middle) < harm
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(harm > 0, low, np.nan)


def _memory_floor(problem: "Problem") -> Array:
    """(K,) the least ρ that memory allows, 0 without a limit."""
    return replace(problem, prune_min=np.zeros(len(problem.ids))).prune_floor()
