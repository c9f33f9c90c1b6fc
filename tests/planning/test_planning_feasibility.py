"""The judge of plans is judged: valid plans pass, and a plan broken in any one way is caught."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from feasibility import total, violations

from airtune.planning import SOLVERS, ErrorTable, Memory, Problem, plan


@pytest.fixture
def files(typical_problem: Callable[..., Problem]) -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    """(method) -> a problem with everything in it and its plan, both as dictionaries."""

    def made(method: str = "joint", rate: str = "shannon") -> tuple[dict[str, Any], dict[str, Any]]:
        ones = np.ones(6)
        problem = replace(
            typical_problem(6, 3, cells=2),
            rate=rate,
            errors=(None, ErrorTable([0, 0.4, 1], [0, 0.1, 0.9]), None, None, None, None),
            memory=Memory(np.array([3.0, 9, 9, 9, 9, np.inf]), ones, 4 * ones),
            drop_error=0.3 * ones,
        )
        return json.loads(problem.to_json()), json.loads(plan(problem, method).to_json())

    return made


@pytest.mark.parametrize("rate", ["shannon", "ergodic-rayleigh"])
@pytest.mark.parametrize("method", SOLVERS)
def test_plans_are_valid(
    method: str, rate: str, files: Callable[..., tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    assert violations(*files(method, rate)) == []


@pytest.mark.parametrize("rate", ["shannon", "ergodic-rayleigh"])
def test_the_judge_computes_the_total_itself(
    rate: str, files: Callable[..., tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    whole, made = files("joint", rate)
    assert float(total(whole, made)) == pytest.approx(made["total_s"], rel=1e-12)
    before = total(whole, made)
    changed(made, "rounds", 1.0)
    assert total(whole, made) == before
    changed(whole, "rounds.penalty", 1e9)
    assert total(whole, made) == Decimal("Infinity")


def test_plans_of_hostile_problems_are_valid(hostile_problem: Callable[[int], Problem]) -> None:
    problem = hostile_problem(0)
    for method in ("joint", "jcpba", "pruning-only", "bandwidth-only"):
        assert violations(json.loads(problem.to_json()), json.loads(plan(problem, method).to_json())) == []


def times(factor: float) -> Callable[[float], float]:
    return lambda value: value * factor


BROKEN: dict[str, tuple[str, Any, str]] = {
    "prune above its range": ("clients.1.prune", 0.95, "prune 0.95 out of range"),
    "prune below its range": ("clients.1.prune", -0.01, "prune -0.01"),
    "memory": ("clients.0.prune", 0.4, "bytes"),
    "uplink": ("clients.1.uplink_s", times(1 + 1e-5), "uplink_s"),
    "client's round": ("clients.1.round_s", times(1 - 1e-5), "round_s"),
    "bandwidth of a cell": ("clients.1.bandwidth_hz", times(1.0001), "cell cell-1"),
    "bandwidth of a client": ("clients.1.bandwidth_hz", times(0.9), "client c1: uplink_s"),
    "no bandwidth": ("clients.1.bandwidth_hz", 0.0, "bits to send and no bandwidth"),
    "round": ("round_s", times(1 - 1e-5), "the slowest client's"),
    "rounds": ("rounds", times(1 - 1e-5), "rounds"),
    "no rounds": ("rounds", 0.0, "rounds"),
    "total": ("total_s", times(1 - 1e-5), "total_s"),
    "bound above the total": ("lower_bound_s", times(1.001), "above total_s"),
    "bound that is not the gap's": ("lower_bound_s", times(0.9), "relative_gap"),
    "gap": ("relative_gap", 0.5, "relative_gap 0.5"),
    "bound without a gap": ("relative_gap", None, "without relative_gap"),
    "left out, on bandwidth": ("clients.1.participates", False, "left out, and yet"),
    "not a number": ("clients.1.uplink_s", float("nan"), "uplink_s nan"),
    "infinite": ("total_s", float("inf"), "total_s inf"),
    "nothing": ("total_s", None, "total_s None"),
    "text": ("clients.1.prune", "0.5", "prune 0.5"),
    "another client": ("clients.1.id", "c9", "not those of the problem"),
    "a client twice": ("clients.1.id", "c0", "not those of the problem"),
    "an unknown field": ("extra", 1, "not a plan's"),
    "no clients": ("clients", [], "not those of the problem"),
    "no list": ("clients", None, "not a plan's"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plan_is_caught(
    name: str, files: Callable[..., tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    problem, made = files()
    path, value, message = BROKEN[name]
    changed(made, path, value)
    assert message in "\n".join(violations(problem, made))


def test_a_client_left_out_costs_its_drop_error(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(4, 0)
    made = json.loads(plan(problem, participates=np.array([True, True, False, True])).to_json())
    whole = json.loads(problem.to_json())
    assert violations(whole, made) == []
    whole["clients"][2]["drop_error"] = 0.5
    assert "rounds" in "\n".join(violations(whole, made))
    for row in made["clients"]:
        row.update(participates=False, prune=1, bandwidth_hz=0, uplink_s=0, round_s=0)
    assert violations(whole, made) == ["clients: nobody participates"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("bandwidth_min_hz", 1e4, ""),
        ("bandwidth_min_hz", 2e7, "below its floor"),
        ("energy", {"budget_j": 100.0, "fixed_j": 1.0, "compute_j": 9.0, "transmit_w": 0.2}, ""),
        ("energy", {"budget_j": 1.0, "fixed_j": 0.9, "compute_j": 9.0, "transmit_w": 0.2}, "spends"),
    ],
)
def test_floors_and_energy(
    field: str, value: Any, message: str, files: Callable[..., tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    problem, made = files()
    problem["clients"][1][field] = value
    found = violations(problem, made)
    assert found == [] if message == "" else message in found[0]


def test_tables_of_payload_and_compute(files: Callable[..., tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """A straight line given as a table is the same problem; a bent one is not."""
    problem, made = files()
    for client in problem["clients"]:
        fixed, payload, compute = (client.pop(key) for key in ("fixed_bits", "payload_bits", "compute_s"))
        share = [1, 0.5, 0]
        client["payload"] = {"prune": [0, 0.5, 1], "bits": [fixed + payload * keep for keep in share]}
        client["compute"] = {"prune": [0, 0.5, 1], "s": [compute * keep for keep in share]}
    assert violations(problem, made) == []
    bent = copy.deepcopy(problem)
    bent["clients"][1]["payload"]["bits"][1] *= 0.9
    assert "client c1: uplink_s" in violations(bent, made)[0]
    bent = copy.deepcopy(problem)
    bent["clients"][1]["compute"]["s"][1] *= 0.9
    assert "client c1: round_s" in violations(bent, made)[0]


def test_resource_blocks_are_whole() -> None:
    client = {
        "cell": "a", "weight": 0.5, "snr_hz": 1e6, "fixed_s": 1.0, "compute_s": 0.0, "fixed_bits": 0.0,
        "payload_bits": 0.0, "prune_min": 0.0, "prune_max": 0.0,
    }  # fmt: skip
    problem = {
        "cells": [{"id": "a", "bandwidth_hz": 1000.0}],
        "clients": [{"id": "0", **client}, {"id": "1", **client}],
        "rounds": {"base": 2.0, "penalty": 0.5, "error": {"kind": "power", "exponent": 2.0}},
    }
    row = {"participates": True, "prune": 0.0, "uplink_s": 0.0, "round_s": 1.0}
    made = {
        "schema": "airtune-plan/1", "method": "by hand", "round_s": 1.0, "rounds": 2.0, "total_s": 2.0,
        "lower_bound_s": None, "relative_gap": None, "solve_s": 0.0,
        "clients": [{"id": "0", "bandwidth_hz": 300.0, **row}, {"id": "1", "bandwidth_hz": 600.0, **row}],
    }  # fmt: skip
    assert violations(problem, made, 300.0) == []
    assert violations(problem, made, 100.0) == []
    assert "client 0: 0.75 blocks" in violations(problem, made, 400.0)[0]
    assert (
        "cell a: 9 blocks of 8"
        in violations(problem | {"cells": [{"id": "a", "bandwidth_hz": 899.0}]}, made, 100.0)[-1]
    )


def changed(whole: Any, path: str, value: Any) -> None:
    """Replace the entry at a dotted path, by `value` or by what it makes of the entry."""
    *way, last = [int(word) if word.isdigit() else word for word in path.split(".")]
    for word in way:
        whole = whole[word]
    whole[last] = value(whole[last]) if callable(value) else value
