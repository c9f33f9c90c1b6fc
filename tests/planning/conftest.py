"""Problems to plan: a typical cell, and hostile ones drawn at random."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from limited import with_energy, with_tables

from airtune.planning import (
    ErrorCurve,
    ErrorPower,
    ErrorTable,
    Problem,
    Rounds,
)

HOSTILE = (
    "snr over 12 decades",
    "no pruning allowed",
    "one weight",
    "compute-bound",
    "uplink-bound",
    "single client",
    "fixed pruning",
    "near infeasible",
    "several cells",
    "nothing to prune",
    "table",
    "mixed curves",
    "linear error",
    "everything prunable",
    "ergodic",
    "bandwidth floors",
    "falling tables",
    "energy",
    "tables and energy",
)


def typical(clients: int, seed: int, cells: int = 1, error: ErrorCurve | None = None) -> Problem:
    """Clients in urban macro cells, minutes of computing against megabytes of upload."""
    rng = np.random.default_rng(seed)
    loss_db = 128.1 + 37.6 * np.log10(rng.uniform(0.05, 0.5, clients)) + 8 * rng.standard_normal(clients)
    bits = np.full(clients, rng.choice([4e6, 1.6e7, 4e7]))
    return Problem(
        ids=tuple(f"c{k}" for k in range(clients)),
        cell_ids=tuple(f"cell-{k}" for k in range(cells)),
        cell=np.arange(clients) % cells,
        bandwidth_hz=np.full(cells, 2e7),
        weight=rng.dirichlet(np.full(clients, 2.0)),
        snr_hz=10 ** ((23 - loss_db + 174) / 10),
        fixed_s=rng.uniform(0.5, 2, clients),
        compute_s=rng.uniform(1, 20, clients),
        fixed_bits=0.5 * bits,
        payload_bits=0.5 * bits,
        prune_min=np.zeros(clients),
        prune_max=np.full(clients, 0.9),
        rounds=Rounds(20.0, 0.8, error or ErrorPower(2.0)),
    )


def hostile(trait: str, seed: int) -> Problem:
    """A cell of 1 to 9 clients with one bad `trait`."""
    rng = np.random.default_rng([seed, HOSTILE.index(trait)])
    clients = 1 if trait == "single client" else int(rng.integers(2, 10))
    problem = typical(clients, seed, cells=int(rng.integers(2, 4)) if trait == "several cells" else 1)
    ones = np.ones(clients)
    if trait == "snr over 12 decades":
        return replace(problem, snr_hz=10 ** rng.uniform(2, 14, clients))
    if trait == "no pruning allowed":
        return replace(problem, prune_max=0 * ones)
    if trait == "one weight":
        return replace(problem, weight=np.eye(clients)[0])
    if trait == "compute-bound":
        return replace(problem, compute_s=problem.compute_s * 1e4)
    if trait == "uplink-bound":
        return replace(problem, payload_bits=problem.payload_bits * 1e4, fixed_bits=problem.fixed_bits * 10)
    if trait == "fixed pruning":
        fixed = rng.uniform(0, 0.7, clients)
        return replace(problem, prune_min=fixed, prune_max=np.where(rng.random(clients) < 0.5, fixed, 0.9))
    if trait == "near infeasible":
        floor = rng.uniform(0.1, 0.6, clients)
        penalty = (1 - 10 ** rng.uniform(-6, -1)) / float(problem.weight @ floor**2)
        return replace(problem, prune_min=floor, rounds=replace(problem.rounds, penalty=penalty))
    if trait == "nothing to prune":
        none = rng.random(clients) < 0.5
        return replace(
            problem,
            compute_s=np.where(none, 0.0, problem.compute_s),
            payload_bits=np.where(none, 0.0, problem.payload_bits),
        )
    if trait == "table":
        return replace(problem, rounds=replace(problem.rounds, error=table(rng)))
    if trait == "mixed curves":
        pool = (None, ErrorPower(1.0), ErrorPower(1.3), ErrorPower(4.0), table(rng), table(rng))
        return replace(problem, errors=tuple(pool[i] for i in rng.integers(0, len(pool), clients)))
    if trait == "linear error":
        return replace(problem, rounds=replace(problem.rounds, error=ErrorPower(1.0)))
    if trait == "everything prunable":
        rounds = replace(problem.rounds, penalty=float(rng.uniform(0.5, 3)))
        return replace(problem, prune_max=ones, fixed_bits=0 * ones, rounds=rounds)
    if trait == "ergodic":
        return replace(problem, rate="ergodic-rayleigh", snr_hz=10 ** rng.uniform(3, 12, clients))
    if trait == "bandwidth floors":
        share = rng.dirichlet(ones) * rng.choice([0.3, 0.9, 1.0]) * (rng.random(clients) < 0.7)
        own = (ErrorPower(1.0), table(rng), ErrorPower(2.0), ErrorPower(3.0))
        errors = tuple(own[int(i)] for i in rng.integers(0, 4, clients)) if seed % 2 else None
        return replace(problem, bandwidth_min_hz=share * problem.bandwidth_hz[0], errors=errors)
    if trait == "falling tables":
        return with_tables(problem, rng)
    if trait == "energy":
        return with_energy(problem, rng)
    if trait == "tables and energy":
        return with_energy(with_tables(problem, rng), rng)
    return problem


def table(rng: np.random.Generator) -> ErrorTable:
    """A random convex table from (0, 0) to ρ = 1, sometimes with a free start."""
    inner = np.sort(rng.uniform(0.02, 0.98, int(rng.integers(0, 8))))
    prune = np.concatenate([[0.0], inner, [1.0]])
    slope = np.sort(rng.exponential(size=len(prune) - 1))
    slope[0] *= rng.integers(0, 2) if len(slope) > 1 else 1
    return ErrorTable(prune, np.concatenate([[0.0], np.cumsum(slope * np.diff(prune))]))


@pytest.fixture
def typical_problem() -> Callable[..., Problem]:
    return typical


@pytest.fixture(params=HOSTILE)
def hostile_problem(request: pytest.FixtureRequest) -> Callable[[int], Problem]:
    """seed -> a problem with the trait of this test's parameter."""
    return lambda seed: hostile(request.param, seed)
