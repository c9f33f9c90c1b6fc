"""docs/planner.md: the instance on which block coordinate descent stalls, number by number."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from airtune.planning import Problem, evaluate, plan

DOCS = Path(__file__).parents[2] / "docs"
METHODS = ("fedit", "bandwidth-only", "pruning-only", "jcpba", "joint")


@pytest.fixture(scope="module")
def stall() -> Problem:
    return Problem.load(DOCS / "stall.json")


@pytest.mark.parametrize("method", METHODS)
def test_the_table_is_what_the_methods_plan(method: str, stall: Problem) -> None:
    text = (DOCS / "planner.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{method}` \| (\d.*) \|$", text, re.MULTILINE)
    written = re.findall(r"[\d.]+", row)
    found = plan(stall, method, gap=1e-9)  # N·T is flat at its least: rates need more digits
    numbers = [*found.prune, *found.bandwidth_hz / 1e6, found.round_s, found.rounds, found.total_s]
    for word, value in zip(written, numbers, strict=True):
        assert float(word) == pytest.approx(value, abs=0.5001 * 10.0 ** -len(word.partition(".")[2]))


def test_neither_block_alone_leaves_the_stall(stall: Problem) -> None:
    stalled = plan(stall, "jcpba")
    assert stalled.total_s == pytest.approx(60)
    steps = np.linspace(-0.3, 0.3, 601)
    for step in steps[steps != 0]:
        bandwidth = stalled.bandwidth_hz * (1 + step * np.array([1, -1]))
        assert evaluate(stall, "b alone", stalled.prune, bandwidth).total_s > stalled.total_s
    for near in steps[::20]:
        for far in steps[::20]:
            prune = stalled.prune + np.array([near, far])
            other = evaluate(stall, "ρ alone", prune, stalled.bandwidth_hz)
            assert other.total_s >= stalled.total_s * (1 - 1e-12)


def test_both_together_do(stall: Problem) -> None:
    by_hand = evaluate(stall, "by hand", np.array([0.632, 0.472]), np.array([2e6, 8e6]))
    assert by_hand.client_round_s == pytest.approx([1.809, 1.809], abs=2e-3)
    assert by_hand.total_s == pytest.approx(55.2, abs=0.05)
    assert 1 - plan(stall).total_s / 60 == pytest.approx(0.081, abs=5e-4)


def test_the_stall_is_no_matter_of_penalty_above_one(stall: Problem) -> None:
    gentle = replace(stall, rounds=replace(stall.rounds, penalty=0.9))
    assert plan(gentle, "jcpba").total_s > 1.01 * plan(gentle).total_s
