"""What binds each client of an optimal plan, and what a little more time, speed or bandwidth would buy.

J = T·N(E) is least under t_k(ρ_k, b_k) ≤ T for every client and Σ b ≤ B in every cell. With multipliers μ_k
and λ of these constraints, in seconds of J, the conditions of Karush, Kuhn and Tucker read

    T:    Σ μ_k = N
    b_k:  μ_k·(-∂t_k/∂b) = λ of k's cell
    ρ_k:  μ_k·(-∂t_k/∂ρ) is a slope of T·N'(E)·w_k·e_k at ρ_k, at most the right one at the least ρ, at
          least the left one at the largest

A client that uses up its energy has a multiplier ν_k of seconds of J a joule too, and ν_k·(-∂(its joules)) is
added on the left of both. Unless it is in time as well, μ_k is 0.

and by the envelope theorem μ_k is what one second off client k's round would save, λ what one Hz more would.
A client between two kinks of its curve settles the λ of its cell. Where all are at kinks, or at an end of
their range, a range of λ is left; the first condition settles how far into it the cells are.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from airtune.planning import Plan, Problem, evaluate, plan
from airtune.radio.rate import reached

Array = npt.NDArray[np.float64]

_STEP = 1e-6  # in ρ: one-sided slopes are taken from one to two steps away, beyond a kink's rounding
_TIGHT = 1e-6  # relative: who is later than this finishes last
_MATTERS = 1e-6  # relative to J: what a constraint has to save, per unit of ρ or of T, to be said to bind


@dataclass(frozen=True)
class Explanation:
    """Why a plan is as it is. The arrays are multipliers: they hold for small changes.

    Attributes:
        problem, plan: what is explained.
        binds: (K,) for each client what keeps N·T from falling: "deadline" (it would profit from a shorter
            round of its own), "energy", "prune_max", "memory", "prune_min"; and "full" where it trains the
            whole model. Empty for a client that is left out or merely waits.
        second_s: (K,) seconds of N·T that one second less of the client's `fixed_s` saves; sums to N.
        speed_s: (K,) seconds of N·T that a device twice as fast would save at the plan's multipliers.
        hertz_s: (cells,) seconds of N·T that one Hz more in the cell saves.
    """

    problem: Problem
    plan: Plan
    binds: tuple[tuple[str, ...], ...]
    second_s: Array
    speed_s: Array
    hertz_s: Array

    def saved_by_bandwidth(self, cell: int, more_hz: float) -> float:
        """Seconds of N·T that `more_hz` in `cell` would save, by planning anew for the same participants."""
        bandwidth = self.problem.bandwidth_hz.copy()
        bandwidth[cell] += more_hz
        return self._saved(replace(self.problem, bandwidth_hz=bandwidth))

    def saved_by_speed(self, client: int) -> float:
        """Seconds of N·T that a device twice as fast for `client` would save, by planning anew."""
        return self._saved(_twice_as_fast(self.problem, np.arange(len(self.binds)) == client))

    def _saved(self, better: Problem) -> float:
        after = plan(better, participates=self.plan.participates)
        return max(self.plan.total_s - after.total_s, 0.0)


def explain(problem: Problem, chosen: Plan) -> Explanation:
    """The multipliers of an optimal plan (`joint`'s) of `problem`, for the clients that take part in it."""
    present = chosen.participates
    part = problem.restrict(present)
    with np.errstate(all="ignore"):  # numbers near the ends of the floating-point range
        client = _Clients.of(part, chosen.prune[present], chosen.bandwidth_hz[present])
        hertz_s = np.nan_to_num(_bandwidth_prices(part, client))
        second_s = np.nan_to_num(_deadline_prices(part, client, hertz_s))
        joule_s = _energy_prices(part, client, hertz_s, second_s)
        binding = iter(_binding(part, client, second_s, joule_s))
    everyone = np.zeros(len(present))
    everyone[present] = second_s
    faster = evaluate(_twice_as_fast(problem, present), "", chosen.prune, chosen.bandwidth_hz, present)
    return Explanation(
        problem,
        chosen,
        binds=tuple(next(binding) if each else () for each in present),
        second_s=everyone,
        speed_s=everyone * (chosen.client_round_s - faster.client_round_s),
        hertz_s=hertz_s,
    )


def _twice_as_fast(problem: Problem, clients: npt.NDArray[np.bool_]) -> Problem:
    """Half the `compute_s`; how much of `fixed_s` is computing the problem does not say, so it stays."""
    halved = problem.compute and tuple(
        replace(table, value=0.5 * table.value) if table is not None and chosen else table
        for table, chosen in zip(problem.compute, clients, strict=True)
    )
    compute_s = np.where(clients, 0.5 * problem.compute_s, problem.compute_s)
    return replace(problem, compute_s=compute_s, compute=halved)


@dataclass(frozen=True)
class _Clients:
    """The participants at their plan, all (K,).

    Who is `floored` has no more bandwidth than it has to, who is `drained` no energy left. `per_hertz` is
    -∂t/∂b and `watts` how many joules a second of the upload takes. `left` and `right` (3, K) are the
    one-sided -∂t/∂ρ, -∂(joules)/∂ρ and T·N'(E)·w·e', the seconds of J that pruning costs; NaN at an end of
    the range.
    """

    round_s: float
    rounds: float
    prune: Array
    tight: npt.NDArray[np.bool_]
    floored: npt.NDArray[np.bool_]
    drained: npt.NDArray[np.bool_]
    watts: Array
    per_hertz: Array
    left: Array
    right: Array

    @classmethod
    def of(cls, problem: Problem, prune: Array, bandwidth_hz: Array) -> "_Clients":
        here = evaluate(problem, "", prune, bandwidth_hz)
        tight = here.client_round_s >= here.round_s * (1 - _TIGHT)
        floored = (problem.bandwidth_min_hz > 0) & (bandwidth_hz <= problem.bandwidth_min_hz * (1 + _TIGHT))
        watts, drained = np.zeros(len(prune)), np.zeros(len(prune), bool)
        if problem.energy is not None:
            watts = np.where(np.isfinite(problem.energy.budget_j), problem.energy.transmit_w, 0.0)
            spent = problem.joules_at(prune, here.uplink_s)
            drained = ~floored & (watts > 0) & (spent >= problem.energy.budget_j * (1 - _TIGHT))
        at = reached(bandwidth_hz, problem.snr_hz, problem.rate)
        per_hertz = here.uplink_s * at.slope / (at.share * problem.snr_hz)
        # N = base / (1 - φE), so N' = φN² / base.
        steepness = here.round_s * problem.rounds.penalty * here.rounds * (here.rounds / problem.rounds.base)

        def slopes(near: Array, far: Array) -> Array:
            low, high = (np.clip(each, problem.prune_floor(), problem.prune_max) for each in (near, far))
            plans = [evaluate(problem, "", each, bandwidth_hz) for each in (low, high)]
            time = [found.client_round_s for found in plans]
            joules = [problem.joules_at(found.prune, found.uplink_s) for found in plans]
            error = [problem.error_at(each) for each in (low, high)]
            width = np.where(np.abs(high - low) > 0.5 * _STEP, high - low, np.nan)
            per_prune = (time[0] - time[1]) / width
            harm = steepness * problem.weight * (error[1] - error[0]) / width
            saved_j = (joules[0] - joules[1]) / width
            return np.asarray(np.maximum([per_prune, saved_j, harm], 0.0))

        left = slopes(prune - _STEP, prune - 2 * _STEP)
        right = slopes(prune + _STEP, prune + 2 * _STEP)
        return cls(here.round_s, here.rounds, prune, tight, floored, drained, watts, per_hertz, left, right)

    def floored_prices(self) -> Array:
        """(K,) μ of those who are tight on their floor: what pruning more costs for a second; others' 0."""
        some = self.tight & self.floored
        with np.errstate(divide="ignore", invalid="ignore"):
            sides = np.array([harm / saved for saved, _, harm in (self.left, self.right)])
        price = _middle(np.where(some, sides, np.nan))
        # Whoever is full may be settled by more than its own ρ: at most N is to be had in all.
        return np.asarray(price * min(1.0, self.rounds / max(float(price.sum()), self.rounds)))

    def shared(self) -> tuple[Array, Array]:
        """(K,) of those who are tight and drained: μ = slope·λ - offset, for the λ of their cells; others' 0.

        Both conditions, for b and for ρ, are linear in μ and ν.
        """
        both = self.tight & self.drained & (self.per_hertz > 0)
        saved, saved_j, harm = _middle(np.where(both, [self.left, self.right], np.nan))
        # In seconds of the upload: (μ + watts·ν)·per_hertz = λ and μ·saved + ν·saved_j = harm.
        spare = saved - saved_j / np.where(self.watts > 0, self.watts, 1.0)
        spare = np.where(spare < 0, spare, np.where(spare > 0, spare, np.nan))
        slope = -saved_j / np.where(self.watts > 0, self.watts, 1.0) / self.per_hertz / spare
        offset = -harm / spare
        usable = both & np.isfinite(slope) & np.isfinite(offset)
        return np.where(usable, slope, 0.0), np.where(usable, offset, 0.0)

    @property
    def sends(self) -> npt.NDArray[np.bool_]:
        """(K,) those whose μ is λ / per_hertz."""
        return self.tight & (self.per_hertz > 0) & ~self.floored & ~self.drained


def _middle(sides: Array) -> Array:
    """The mean over the first axis of what is finite, else 0."""
    known = np.isfinite(sides)
    return np.asarray(np.where(known, sides, 0.0).sum(0) / np.maximum(known.sum(0), 1))


def _bandwidth_prices(problem: Problem, client: _Clients) -> Array:
    """(cells,) λ; 0 in cells where nobody finishes last or runs out of energy."""
    cells = len(problem.bandwidth_hz)
    slope, offset = client.shared()
    rounds = max(client.rounds - float(client.floored_prices().sum()) + float(offset.sum()), 0.0)
    sends = client.sends
    # μ is λ / per_hertz for those who send, so that the seconds of J per second of T are λ·worth.
    worth = np.bincount(problem.cell[sends], 1 / client.per_hertz[sends], cells)
    worth = np.maximum(worth + np.bincount(problem.cell, slope, cells), 0.0)
    # Who has a multiplier for its time or for its energy alone has a λ from its pruning.
    alone = sends | (client.drained & ~client.tight)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (
            client.per_hertz * harm / np.where(sends, saved, saved_j / client.watts)
            for saved, saved_j, harm in (client.left, client.right)
        )
        most = np.where(worth > 0, rounds / worth, np.inf)
    lowest, highest = np.zeros(cells), most.copy()
    np.maximum.at(lowest, problem.cell[alone], np.nan_to_num(low, nan=0.0, posinf=0.0)[alone])
    np.minimum.at(highest, problem.cell[alone], np.nan_to_num(high, nan=np.inf, posinf=np.inf)[alone])
    highest = np.where(np.isfinite(highest), highest, lowest)
    # Crossed where a client that hardly matters is not quite at its optimum: N is the firmer limit.
    lowest = np.minimum(lowest, highest)
    room = (highest - lowest) @ worth
    share = np.clip((rounds - lowest @ worth) / room, 0.0, 1.0) if room > 0 else 0.0
    price = lowest + share * (highest - lowest)
    price = np.where(worth > 0, price, 0.5 * (lowest + highest))
    total = price @ worth
    # The plan's T is nearly the best, so that the first condition holds nearly; clients that finish last
    # without sending anything may have a part in N too.
    everyone = ((sends | (slope != 0)) == (client.tight & ~client.floored)).all()
    if total > rounds or (total > 0 and everyone):
        price *= np.where(worth > 0, rounds / total, 1.0)
    return np.asarray(price)


def _deadline_prices(problem: Problem, client: _Clients, hertz_s: Array) -> Array:
    """(K,) μ; whoever finishes last and has nothing to send gets what is left of N."""
    price, per_hertz = client.floored_prices(), client.per_hertz
    most = np.divide(hertz_s[problem.cell], per_hertz, out=np.zeros_like(price), where=per_hertz > 0)
    price = np.where(client.sends, most, price)
    slope, offset = client.shared()
    price = np.where(slope != 0, np.clip(slope * hertz_s[problem.cell] - offset, 0.0, most), price)
    silent = client.tight & ~client.sends & ~client.floored & ~client.drained
    if silent.any():
        price[silent] = max(client.rounds - price.sum(), 0.0) / silent.sum()
    return np.asarray(price)


def _energy_prices(problem: Problem, client: _Clients, hertz_s: Array, second_s: Array) -> Array:
    """(K,) ν of those without energy to spare: what of λ their time does not account for."""
    left = hertz_s[problem.cell] - second_s * client.per_hertz
    price = left / np.where(client.drained, client.per_hertz * client.watts, 1.0)
    return np.where(client.drained & np.isfinite(price), np.maximum(price, 0.0), 0.0)


def _binding(problem: Problem, client: _Clients, second_s: Array, joule_s: Array) -> list[tuple[str, ...]]:
    """What binds each participant."""
    least = _MATTERS * client.rounds * client.round_s
    deadline = second_s * client.round_s > least
    energy = np.zeros_like(deadline)
    if problem.energy is not None:
        energy = np.where(joule_s > 0, joule_s * problem.energy.budget_j, 0.0) > least
    saved, saved_j, harm = client.left
    may_prune_more = ~np.isnan(client.right[0])
    gained = np.nan_to_num(second_s * saved + joule_s * saved_j - harm)
    largest = ~may_prune_more & (gained > least)
    saved, saved_j, harm = client.right
    floor_of = {"prune_min": problem.prune_min}
    for name in ("memory", "energy"):
        others = {other: None for other in ("memory", "energy") if other != name}
        floor_of[name] = replace(problem, **others).prune_floor()  # type: ignore[arg-type]
    at_floor = np.isnan(client.left[0]) & (client.prune <= problem.prune_floor() + _STEP)
    floor = at_floor & (np.nan_to_num(harm - second_s * saved - joule_s * saved_j) > least)
    memory = floor_of["memory"] > np.maximum(problem.prune_min, floor_of["energy"])
    energy_floor = ~memory & (floor_of["energy"] > problem.prune_min)
    named = {
        "deadline": deadline,
        "energy": energy | (floor & energy_floor),
        "prune_max": largest,
        "memory": floor & memory,
        "prune_min": floor & ~memory & ~energy_floor & (problem.prune_min > 0),
        "full": client.prune <= _STEP,
    }
    return [tuple(name for name, holds in named.items() if holds[k]) for k in range(len(second_s))]
