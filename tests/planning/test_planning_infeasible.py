"""What the error of an impossible problem says is the least change that makes it possible: a hair decides."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from airtune.errors import InfeasibleError
from airtune.planning import ErrorTable, Memory, Problem, Rounds, plan

HAIR = 1e-4


def said(problem: Problem, pattern: str, participates: np.ndarray | None = None) -> tuple[int, float]:
    """The client that the error names, and the number that `pattern` finds in it."""
    with pytest.raises(InfeasibleError) as caught:
        plan(problem, participates=participates)
    found = re.search(pattern, caught.value.reason)
    assert found, caught.value.reason
    return problem.ids.index(caught.value.client), float(found[1])


def assert_threshold(change: Callable[[float], Problem], value: float, above: bool = False, **how) -> None:
    """Just on the one side of `value` there is a plan, just on the other there is none."""
    better, worse = (1 + HAIR, 1 - HAIR) if above else (1 - HAIR, 1 + HAIR)
    assert np.isfinite(plan(change(value * better), **how).total_s)
    with pytest.raises(InfeasibleError):
        plan(change(value * worse), **how)


def put(values: np.ndarray, index: int, value: float) -> np.ndarray:
    """`values` with one of them replaced."""
    changed = values.copy()
    changed[index] = value
    return changed


@pytest.fixture
def far_pruned(typical_problem: Callable[..., Problem]) -> Problem:
    """Client c2 has to be pruned by 0.85, and has most of the weight."""
    return replace(
        typical_problem(4, 0),
        prune_min=np.array([0.1, 0.1, 0.85, 0.1]),
        weight=np.array([0.1, 0.1, 0.7, 0.1]),
        rounds=Rounds(20.0, 2.5, ErrorTable(np.array([0, 0.2, 0.5, 1]), np.array([0, 0.1, 0.4, 1.2]))),
    )


def test_memory_is_short_by_so_much(typical_problem: Callable[..., Problem]) -> None:
    ones = np.ones(4)
    budget = np.array([9.0, 9, 1.2345, 9])
    problem = replace(typical_problem(4, 0), memory=Memory(budget, ones, 4 * ones))
    client, need = said(problem, r"needs (\S+) bytes .* has 1.2345$")
    assert client == 2

    def with_budget(value: float) -> Problem:
        return replace(problem, memory=Memory(put(budget, client, value), ones, 4 * ones))

    assert_threshold(with_budget, need, above=True)
    two = replace(problem, memory=Memory(put(budget, 0, 1.3), ones, 4 * ones))
    said(two, r"needs (\S+) bytes .*; 1 more lack memory")


def test_the_target_needs_a_lower_prune_min(far_pruned: Problem) -> None:
    client, most = said(far_pruned, r"prune_min below (\S+) would do")
    assert client == 2
    assert_threshold(
        lambda value: replace(far_pruned, prune_min=put(far_pruned.prune_min, client, value)), most
    )


def test_the_target_needs_more_memory(far_pruned: Problem) -> None:
    ones = np.ones(4)
    budget = np.array([9, 9, 1.6, 9])
    problem = replace(far_pruned, prune_min=0.1 * ones, memory=Memory(budget, ones, 4 * ones))
    client, least = said(problem, r"more than (\S+) bytes would do")
    assert client == 2

    def with_budget(value: float) -> Problem:
        return replace(problem, memory=Memory(put(budget, client, value), ones, 4 * ones))

    assert_threshold(with_budget, least, above=True)


@pytest.mark.parametrize("limits", ["prune_min of all", "prune_min and memory"])
def test_the_target_needs_a_lower_penalty(far_pruned: Problem, limits: str) -> None:
    """Where no client's limit alone is enough, the penalty is what is left to change."""
    ones = np.ones(4)
    if limits == "prune_min of all":
        problem = replace(far_pruned, prune_min=0.8 * ones, weight=0.25 * ones)
    else:
        problem = replace(far_pruned, memory=Memory(np.array([9, 9, 1.6, 9]), ones, 4 * ones))
    _, most = said(problem, r"a penalty below (\S+) would do")
    assert_threshold(lambda value: replace(problem, rounds=replace(problem.rounds, penalty=value)), most)


def test_leaving_out_needs_a_lower_drop_error(typical_problem: Callable[..., Problem]) -> None:
    problem = replace(typical_problem(4, 0), drop_error=np.array([9.0, 1, 9, 1]))
    problem = replace(problem, weight=np.array([0.3, 0.3, 0.1, 0.3]), prune_min=np.full(4, 0.3))
    present = np.array([False, False, True, True])
    client, most = said(problem, r"drop_error below (\S+) would do", present)
    assert client == 0
    assert_threshold(
        lambda value: replace(problem, drop_error=put(problem.drop_error, client, value)),
        most,
        participates=present,
    )
    heavy = replace(problem, drop_error=np.full(4, 9.0))
    _, most = said(heavy, r"a penalty below (\S+) would do", present)
    assert_threshold(
        lambda value: replace(heavy, rounds=replace(heavy.rounds, penalty=value)), most, participates=present
    )
