"""Whole resource blocks: against every division there is, and against the optimum without blocks."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from feasibility import violations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airtune.errors import InfeasibleError
from airtune.planning import ErrorPower, ErrorTable, Memory, Plan, Problem, plan
from airtune.planning.blocks import in_blocks
from airtune.planning.support import least_prune

PRECISION = 1e-3  # of N·T, as planning/blocks.py says


def blocked(problem: Problem, block_hz: float) -> Plan:
    """The plan in blocks of a problem, judged."""
    made = in_blocks(problem, plan(problem), block_hz)
    assert violations(json.loads(problem.to_json()), json.loads(made.to_json()), block_hz) == []
    return made


def best_by_trying(problem: Problem, blocks: int, block_hz: float, deadlines: np.ndarray) -> np.ndarray:
    """Least N·T over all divisions of one cell's blocks, at each of the deadlines."""
    splits = np.array(
        [
            split
            for split in itertools.product(range(blocks + 1), repeat=len(problem.ids))
            if sum(split) <= blocks
        ]
    )
    totals = []
    for deadline in deadlines:
        prune = least_prune(problem, deadline, splits * block_hz)
        error = np.zeros(len(splits))
        for curve, clients in problem.curves():
            error += curve(np.nan_to_num(prune[:, clients])) @ problem.weight[clients]
        error[np.isnan(prune).any(1)] = np.inf
        totals.append((deadline * problem.rounds.count(error)).min())
    return np.array(totals)


@pytest.mark.parametrize("error", [ErrorPower(2.0), ErrorPower(1.0), ErrorTable([0, 0.3, 1], [0, 0, 0.8])])
@pytest.mark.parametrize(("clients", "blocks"), [(1, 5), (2, 2), (2, 12), (3, 3), (3, 10), (4, 7)])
@pytest.mark.parametrize("seed", range(3))
def test_no_division_is_better(
    typical_problem: Callable[..., Problem],
    clients: int,
    blocks: int,
    seed: int,
    error: ErrorPower | ErrorTable,
) -> None:
    problem = typical_problem(clients, seed, error=error)
    block_hz = 2e7 / blocks
    made = blocked(problem, block_hz)
    deadlines = made.round_s * np.geomspace(0.3, 3, 60)
    assert made.total_s <= best_by_trying(problem, blocks, block_hz, deadlines).min() * (1 + PRECISION)
    at_its_own = best_by_trying(problem, blocks, block_hz, np.array([made.round_s * (1 + 1e-9)]))[0]
    assert made.total_s == pytest.approx(at_its_own, rel=1e-6)


def test_hostile_problems_in_blocks(hostile_problem: Callable[[int], Problem]) -> None:
    problem = hostile_problem(2)
    made = blocked(problem, 180e3)
    assert made.total_s >= made.lower_bound_s
    assert made.relative_gap == pytest.approx(1 - made.lower_bound_s / made.total_s, abs=1e-12)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    clients=st.integers(1, 30),
    cells=st.integers(1, 3),
    seed=st.integers(0, 10_000),
    blocks=st.integers(30, 150),
    rate=st.sampled_from(["shannon", "ergodic-rayleigh"]),
)
def test_finer_blocks_lose_little(
    typical_problem: Callable[..., Problem], clients: int, cells: int, seed: int, blocks: int, rate: str
) -> None:
    cells = min(cells, clients)
    problem = replace(typical_problem(clients, seed, cells), rate=rate)
    coarse = blocked(problem, 2e7 / blocks)
    # Every coarse division is a fine one too.
    fine = blocked(problem, 2e7 / (4 * blocks))
    assert coarse.lower_bound_s <= fine.total_s <= coarse.total_s * (1 + PRECISION)
    assert coarse.method == "joint"


def test_thousands_of_blocks_lose_next_to_nothing(typical_problem: Callable[..., Problem]) -> None:
    assert blocked(typical_problem(10, 0), 2e7 / 9000).relative_gap <= 2 * PRECISION


def test_one_block_each_leaves_no_choice(typical_problem: Callable[..., Problem]) -> None:
    made = blocked(typical_problem(8, 0), 2e7 / 8)
    np.testing.assert_array_equal(made.bandwidth_hz, np.full(8, 2.5e6))


def test_more_clients_than_blocks_names_the_cell(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(9, 0, cells=2)
    chosen = plan(problem)
    expected = r"client c8: cell cell-0 has 4 resource blocks of 5e\+06 Hz for 5 clients"
    with pytest.raises(InfeasibleError, match=expected) as caught:
        in_blocks(problem, chosen, 5e6)
    assert "\n" not in str(caught.value)
    with pytest.raises(InfeasibleError, match="has 0 resource blocks"):
        in_blocks(problem, chosen, 3e7)


def test_who_may_send_nothing_needs_no_block(typical_problem: Callable[..., Problem]) -> None:
    ones = np.ones(3)
    problem = replace(typical_problem(3, 0), prune_max=ones, fixed_bits=np.array([0.0, 1e7, 1e7]))
    made = blocked(problem, 1e7)
    assert made.prune[0] == 1
    assert made.bandwidth_hz.tolist() == [0, 1e7, 1e7]
    hopeless = replace(
        problem, weight=np.array([0.9, 0.05, 0.05]), rounds=replace(problem.rounds, penalty=2.0)
    )
    with pytest.raises(InfeasibleError, match="client c0: gets too few resource blocks"):
        in_blocks(hopeless, plan(hopeless), 1e7)


def test_clients_left_out_get_none(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(6, 0)
    part = plan(problem, participates=np.array([True, True, False, True, True, True]))
    made = in_blocks(problem, part, 180e3)
    assert violations(json.loads(problem.to_json()), json.loads(made.to_json()), 180e3) == []
    assert made.participates.tolist() == part.participates.tolist()
    assert made.lower_bound_s == part.lower_bound_s


def test_memory_holds_in_blocks(typical_problem: Callable[..., Problem]) -> None:
    ones = np.ones(4)
    made = blocked(
        replace(typical_problem(4, 0), memory=Memory(np.array([3.0, 9, 9, 9]), ones, 4 * ones)), 1e6
    )
    assert made.prune[0] >= 0.5


@pytest.mark.parametrize("block_hz", [0.0, -1.0, float("nan"), 1.0])
def test_blocks_that_make_no_sense(typical_problem: Callable[..., Problem], block_hz: float) -> None:
    problem = typical_problem(2, 0)
    with pytest.raises(ValueError, match="resource block"):
        in_blocks(problem, plan(problem), block_hz)
