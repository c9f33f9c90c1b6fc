"""Why no plan reaches the target, and the least change of one number with which one would."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from airtune.errors import InfeasibleError
from airtune.radio.rate import rate

if TYPE_CHECKING:
    from airtune.planning.budgets import Need
    from airtune.planning.problem import Problem

Array = npt.NDArray[np.float64]


def pruned_too_far(problem: "Problem", floor: Array) -> InfeasibleError:
    """N is infinite although every client is pruned by no more than its `floor` (K,).

    Names the client whose own limit has to give way least; where no single client's would be enough, the one
    that does most harm, and the penalty.
    """
    harm = problem.weight * problem.error_at(floor)
    allowed = _reach(problem, 1.0 / problem.rounds.penalty - (harm.sum() - harm))
    floors = _floors(problem)
    # One number is changed, so the others of the limits have to allow the new rate already.
    binding, second = np.argmax(floors, axis=0), np.sort(floors, axis=0)[-2]
    short = np.where(second <= allowed, floor - allowed, np.inf)  # NaN where rate 0 is not enough
    k = int(np.argmin(np.where(np.isnan(short), np.inf, short)))
    kept = 1.0 - allowed[k]
    if not np.isfinite(short[k]):
        k = int(np.argmax(harm))
        change = f"a penalty below {1.0 / harm.sum():.6g} would do"
    elif binding[k] == 1 and problem.memory is not None:
        limit = problem.memory
        change = f"more than {limit.fixed_bytes[k] + limit.prunable_bytes[k] * kept:.6g} bytes would do"
    elif binding[k] == 2 and problem.energy is not None:
        joules = problem.energy.fixed_j[k] + problem.energy.compute_j[k] * kept
        change = f"more than {joules:.6g} J would do"
    else:
        change = f"prune_min below {allowed[k]:.6g} would do"
    if (
        problem.energy is not None
        and (problem.energy.transmit_w * np.isfinite(problem.energy.budget_j)).any()
    ):
        # What uploads take of the energy depends on everybody's bandwidth.
        change = change.replace("would do", "is needed")
    said = f"must be pruned by {floor[k]:.3g} at least: the target is out of reach at every deadline"
    return InfeasibleError(problem.ids[k], f"{said}; {change}")


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


def too_little(problem: "Problem", need: "Need") -> InfeasibleError:
    """Training needs more of a budget than there is, even at `prune_max`. Names who needs most of its own."""
    least, lacking = need.at(problem.prune_max), need.exceeds(problem.prune_max)
    k, others = int(np.argmax(least / need.budget)), int(lacking.sum()) - 1
    said = (
        f"needs {least[k]:.6g} {need.unit} at its largest pruning rate {problem.prune_max[k]:.3g}, "
        f"has {need.budget[k]:.6g}"
    )
    return InfeasibleError(problem.ids[k], said + (f"; {others} more lack {need.name}" if others else ""))


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


def too_little_energy(problem: "Problem", least: Array) -> InfeasibleError:
    """Energy asks for `least` (K,) hertz even for the smallest sub-models, together more than there is.

    Names the client that asks for most, and the budget with which it needs only what the others leave it.
    """
    floors = np.maximum(least, problem.bandwidth_min_hz)
    total = np.bincount(problem.cell, floors, len(problem.bandwidth_hz))
    cell = int(np.argmax(total / problem.bandwidth_hz))
    mine = problem.cell == cell
    k = int(np.argmax(np.where(mine & (least > problem.bandwidth_min_hz), least, -1.0)))
    others = float(floors[mine & (np.arange(len(floors)) != k)].sum())
    left = (problem.bandwidth_hz[cell] - others) * (1 - 1e-6)
    need = f"needs {least[k]:.6g} Hz" if np.isfinite(least[k]) else "finds no bandwidth enough"
    said = (
        f"{need} for its energy to last at its largest pruning rate {problem.prune_max[k]:.3g}; "
        f"cell {problem.cell_ids[cell]} has {max(left, 0.0):.6g} Hz left"
    )
    if problem.energy is None or not left > problem.bandwidth_min_hz[k]:
        return InfeasibleError(problem.ids[k], said)
    fixed, compute, watts = (
        float(values[k])
        for values in (problem.energy.fixed_j, problem.energy.compute_j, problem.energy.transmit_w)
    )
    uplink = problem.bits_at(problem.prune_max)[k] / rate(left, problem.snr_hz[k], problem.rate)
    joules = fixed + compute * (1.0 - problem.prune_max[k]) + watts * float(uplink)
    return InfeasibleError(problem.ids[k], f"{said}; a budget_j of {_more(joules)} would do")


def exhausted(problem: "Problem", prune: Array) -> InfeasibleError:
    """N is infinite although ρ (K,) is about as small as energy allows, whatever the deadline."""
    harm = problem.weight * problem.error_at(prune)
    k = int(np.argmax(np.where(prune > problem.prune_min, harm, -1.0)))
    said = f"has energy for a pruning rate of {prune[k]:.3g}: the target is out of reach at every deadline"
    return InfeasibleError(problem.ids[k], f"{said}; a penalty below {1.0 / harm.sum():.6g} would do")


def _more(value: float) -> str:
    """Six digits that are not below the value."""
    said = f"{value:.6g}"
    return said if float(said) >= value else f"{value * (1 + 1e-5):.6g}"


def _reach(problem: "Problem", harm: Array) -> Array:
    """(K,) the ρ at which each client's w·e(ρ) is `harm` (K,); NaN where it is more at once."""
    low, high = np.zeros(len(harm)), problem.prune_max
    for _ in range(60):
        middle = 0.5 * (low + high)
        below = problem.weight * problem.error_at(middle) < harm
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(harm > 0, low, np.nan)


def _floors(problem: "Problem") -> Array:
    """(3, K) the least ρ that `prune_min`, memory, and the energy of computing allow, each alone."""
    free = replace(problem, prune_min=np.zeros(len(problem.ids)))
    return np.array(
        [
            problem.prune_min,
            replace(free, energy=None).prune_floor(),
            replace(free, memory=None).prune_floor(),
        ]
    )
