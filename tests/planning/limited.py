"""Tables of bits and seconds, and energy budgets, drawn at random for a problem."""

from dataclasses import replace

import numpy as np

from airtune.planning import Energy, Falling, Problem, evaluate


def with_tables(problem: Problem, rng: np.random.Generator) -> Problem:
    """Some of the clients' bits, and of their seconds, as tables."""
    count = len(problem.ids)
    full, fixed = problem.fixed_bits + problem.payload_bits, problem.fixed_bits * rng.uniform(0, 1, count)
    payload = tuple(falling(rng, full[k], fixed[k]) if rng.random() < 0.6 else None for k in range(count))
    seconds, rest = problem.compute_s, problem.compute_s * rng.uniform(0, 0.3, count)
    compute = tuple(falling(rng, seconds[k], rest[k]) if rng.random() < 0.6 else None for k in range(count))
    return replace(problem, payload=payload, compute=compute)


def with_energy(problem: Problem, rng: np.random.Generator) -> Problem:
    """Budgets for most clients, of which many bind, and that suffice on equal bandwidth."""
    count, ones = len(problem.ids), np.ones(len(problem.ids))
    watts, joules = rng.uniform(0.1, 1, count), rng.uniform(0.2, 3, count) * problem.compute_s
    hertz = problem.bandwidth_hz[problem.cell] / np.bincount(problem.cell)[problem.cell]
    uplink, least = (
        evaluate(problem, "", prune, hertz).uplink_s for prune in (0.5 * ones, problem.prune_max)
    )
    likely = (watts * uplink + 0.5 * joules) * rng.uniform(0.3, 2, count)
    least = (watts * least + joules * (1 - problem.prune_max)) * rng.uniform(1, 1.3, count)
    budget = np.where(rng.random(count) < 0.8, np.maximum(likely, least), np.inf)
    return replace(problem, energy=Energy(budget, 0 * ones, joules, watts))


def falling(rng: np.random.Generator, start: float, end: float) -> Falling:
    """A random convex table from `start` at ρ = 0 to `end` at ρ = 1, sometimes flat at the end."""
    prune = np.concatenate([[0.0], np.sort(rng.uniform(0.05, 0.95, int(rng.integers(0, 6)))), [1.0]])
    slope = np.sort(rng.exponential(size=len(prune) - 1))[::-1]
    slope[-1] *= rng.integers(0, 2) if len(slope) > 1 else 1
    fallen = np.cumsum(slope * np.diff(prune))
    return Falling(prune, np.concatenate([[start], start - fallen / fallen[-1] * (start - end)]))
