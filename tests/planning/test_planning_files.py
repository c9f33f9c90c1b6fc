"""Problem and plan files: round trips, and one-line errors for everything that is wrong."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airtune.errors import InfeasibleError, InputError
from airtune.planning import SOLVERS, ErrorPower, Plan, Problem, plan

VALID: dict[str, Any] = {
    "schema": "airtune-problem/1",
    "cells": [{"id": "cell-0", "bandwidth_hz": 1.0e7}, {"id": "cell-1", "bandwidth_hz": 2e7}],
    "clients": [
        {
            "id": f"c{k}",
            "cell": f"cell-{k % 2}",
            "weight": 0.25,
            "snr_hz": 2.4e8 * 3**k,
            "fixed_s": 0.8,
            "compute_s": 6.1,
            "fixed_bits": 3.9e7,
            "payload_bits": 3.9e7,
            "prune_min": 0.0,
            "prune_max": 0.7,
        }
        for k in range(4)
    ],
    "rounds": {"base": 20.0, "penalty": 0.8, "error": {"kind": "power", "exponent": 2.0}},
}
VALID["clients"][0]["error"] = {"kind": "table", "prune": [0, 0.5, 1], "error": [0, 0.1, 0.9]}
VALID["clients"][1]["drop_error"] = 0.3
for name in ("compute_s", "fixed_bits", "payload_bits"):
    del VALID["clients"][3][name]
VALID["clients"][3]["payload"] = {"prune": [0, 0.5, 1], "bits": [7.8e7, 5e7, 3e7]}
VALID["clients"][3]["compute"] = {"prune": [0, 0.3, 0.7], "s": [6.1, 4, 2.5]}
VALID["clients"][3]["energy"] = {"budget_j": 20.0, "fixed_j": 1.0, "compute_j": 24.0, "transmit_w": 0.2}
VALID["clients"][2]["memory"] = {"budget_bytes": 3e9, "fixed_bytes": 1e9, "prunable_bytes": 4e9}


def changed(path: str, value: Any) -> str:
    """The valid file with one field replaced; the path is dotted, `DELETE` removes."""
    whole = copy.deepcopy(VALID)
    *way, last = [int(word) if word.isdigit() else word for word in path.split(".")]
    place: Any = whole
    for word in way:
        place = place[word]
    if value is DELETE:
        del place[last]
    else:
        place[last] = value
    return json.dumps(whole)


DELETE = object()


def test_a_problem_is_read_into_arrays() -> None:
    problem = Problem.from_json(json.dumps(VALID))
    assert problem.ids == ("c0", "c1", "c2", "c3")
    assert problem.cell.tolist() == [0, 1, 0, 1]
    assert problem.bandwidth_hz.tolist() == [1e7, 2e7]
    assert problem.drop_error.tolist() == [1, 0.3, 1, 1]
    assert problem.rounds.error == ErrorPower(2.0)
    assert problem.error_at(np.array([0.75, 0.5, 0.5, 0.0])) == pytest.approx([0.5, 0.25, 0.25, 0])
    assert problem.prune_floor() == pytest.approx([0, 0, 0.5, 5 / 24])
    assert problem.rate == "shannon"
    assert problem.energy is not None
    half = np.full(4, 0.5)
    assert problem.bits_at(half)[2:] == pytest.approx([5.85e7, 5e7])
    assert problem.busy_at(half)[2:] == pytest.approx([3.85, 4.05])
    assert problem.joules_at(half, half)[3] == pytest.approx(13.1)
    assert problem.energy.budget_j.tolist() == [np.inf, np.inf, np.inf, 20]


def test_problems_survive_writing_and_reading(hostile_problem: Callable[[int], Problem]) -> None:
    text = hostile_problem(0).to_json()
    assert Problem.from_json(text).to_json() == text
    text = Problem.from_json(json.dumps(VALID)).to_json()
    assert Problem.from_json(text).to_json() == text


@pytest.mark.parametrize("method", SOLVERS)
def test_plans_survive_writing_and_reading(method: str) -> None:
    chosen = plan(Problem.from_json(json.dumps(VALID)), method)
    again = Plan.from_json(chosen.to_json())
    assert again.to_json() == chosen.to_json()
    assert (again.lower_bound_s is None) == (not method.startswith("joint"))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema", "airtune-problem/2", "schema"),
        ("extra", 1, "extra: found an unknown field"),
        ("rate", "fast", "rate: found 'fast'"),
        ("cells", [], "cells"),
        ("cells.0.bandwidth_hz", -1, "cells.0.bandwidth_hz: found -1"),
        (
            "cells.1.bandwidth_hz",
            1e31,
            r"cells.1.bandwidth_hz: found 1e\+31, expected 0 or a size from 1e-12 to",
        ),
        ("clients.1.fixed_s", 1e-31, "clients.1.fixed_s: found 1e-31, expected 0 or a size from 1e-12 to"),
        ("clients.1.id", "a\nb", "expected printable text"),
        ("cells.1.id", "cell-0", "'cell-0' twice"),
        ("clients.1.id", "c0", "'c0' twice"),
        ("clients.1.cell", "nowhere", "not 'nowhere'"),
        ("clients.1.weight", True, "clients.1.weight: found true, expected a number"),
        ("clients.1.weight", "0.25", "clients.1.weight: found '0.25', expected a number"),
        ("clients.1.weight", 0.3, "weights that sum to 1, not 1.05"),
        ("clients.1.snr_hz", float("nan"), "NaN, which is not a number"),
        ("clients.1.snr_hz", 10**400, "clients.1.snr_hz"),
        ("clients.1.snr_hz", 0, "clients.1.snr_hz: found 0"),
        ("clients.1.snr_hz", DELETE, "clients.1.snr_hz: found nothing"),
        ("clients.1.fixed_s", None, "clients.1.fixed_s: found nothing"),
        ("clients.1.prune_min", 0.8, "prune_min up to prune_max"),
        ("clients.1.prune_max", 1.1, "clients.1.prune_max: found 1.1"),
        ("clients.1.color", "red", "clients.1.color: found an unknown field"),
        ("clients.0.error.prune", [0, 0.5, 0.6], "up to client c0's prune_max 0.7"),
        ("clients.0.error.error", [0, 0.5, 0.6], "convex"),
        ("clients.0.error.error", [0, -0.1, 0.6], "never decrease"),
        ("clients.0.error.error", [0.1, 0.2, 0.6], r"starts at \(0, 0\)"),
        ("clients.0.error.error", [0, 0.2], "as many errors"),
        ("clients.0.error.prune", [0, 0, 1], "increase"),
        ("clients.0.error.kind", "cubic", "clients.0.error"),
        ("rounds.error.exponent", 0.5, "rounds.error.exponent: found 0.5"),
        ("rounds.error.exponent", 101, "rounds.error.exponent: found 101, expected at most 100"),
        ("clients.0.error.prune", [0, 1e-7, 1], "increase, each by 1e-06 at least"),
        ("rounds.penalty", 0, "rounds.penalty: found 0"),
        ("clients.2.memory.budget_bytes", DELETE, "clients.2.memory.budget_bytes: found nothing"),
        ("clients.3.energy.budget_j", 0, "clients.3.energy.budget_j: found 0, expected above 0"),
        ("clients.3.energy.transmit_w", DELETE, "clients.3.energy.transmit_w: found nothing"),
        ("clients.3.energy.compute_j", "1", "clients.3.energy.compute_j: found '1', expected a number"),
        ("clients.3.payload.bits", [9, 8], "clients.3.payload: .*as many bits as pruning rates"),
        ("clients.3.payload.bits", [9, 8, 8.5], "bits that never increase"),
        ("clients.3.payload.bits", [9, 8, 6], "convex bits"),
        ("clients.3.payload.bits", [9, 8, -6], "clients.3.payload.bits.2: found -6"),
        ("clients.3.payload.bits", [0, 0, 0], "something to upload"),
        ("clients.3.payload.prune", [0.1, 0.5, 1], "starts at pruning rate 0"),
        ("clients.3.payload.prune", [0, 0.5, 0.5], "pruning rates that increase"),
        ("clients.3.payload.prune", [0, 0.4, 0.69], "found 0.69, expected a table up to prune_max 0.7"),
        ("clients.3.payload.prune", [0], "clients.3.payload.prune: .*at least 2"),
        ("clients.3.payload", [1, 2], "clients.3.payload"),
        ("clients.3.payload", DELETE, "clients.3.fixed_bits: found nothing, expected a number, or a table"),
        ("clients.3.payload_bits", 3, "clients.3.payload_bits: found 3.0, expected nothing beside"),
        ("clients.3.compute.s", [9, 8, "7"], "clients.3.compute.s.2: found '7', expected a number"),
        ("clients.3.compute.s", [9, 8, 6], "convex seconds"),
        ("clients.3.compute.bits", [9, 8, 6], "clients.3.compute.bits: found an unknown field"),
        ("clients.1.compute_s", DELETE, "clients.1.compute_s: found nothing"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(path: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Problem.from_json(changed(path, value), "p.json")
    assert str(caught.value).startswith("p.json: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "null", "\x00", "{]", "[" * 100_000, '{"a": ' * 100_000, "9" * 5000, '{"a": 1, "a": 2}'],
)
def test_texts_that_are_no_problem(text: str) -> None:
    with pytest.raises(InputError):
        Problem.from_json(text)


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_unreadable_files(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "problem.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="readable JSON file"):
        Problem.load(path)


def paths(value: Any, prefix: str = "") -> list[str]:
    """Dotted paths of every field and entry."""
    if not isinstance(value, dict | list):
        return []
    found = []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        found += [f"{prefix}{key}", *paths(inner, f"{prefix}{key}.")]
    return found


junk = st.one_of(
    st.just(DELETE),
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.sampled_from([1e-300, 5e-324, 1e300, 1.7e308, 0, 1, -1, 10**4000, 1e15, 1e-15]),
    st.text(max_size=5),
    st.lists(st.floats(), max_size=4),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(paths(VALID)), value=junk)
def test_any_mutation_is_a_problem_or_an_input_error(path: str, value: Any) -> None:
    message = ""
    try:
        chosen = plan(Problem.from_json(changed(path, value)), gap=1e-3)
        Plan.from_json(chosen.to_json())
    except (InputError, InfeasibleError) as error:
        message = str(error)
    assert "\n" not in message


@given(length=st.integers(0, len(json.dumps(VALID)) - 1))
def test_a_truncated_file_is_an_input_error(length: int) -> None:
    with pytest.raises(InputError):
        Problem.from_json(json.dumps(VALID)[:length])


def test_a_mutated_plan_is_an_input_error() -> None:
    text = plan(Problem.from_json(json.dumps(VALID))).to_json()
    changes = (('"method"', '"way"'), ("airtune-plan/1", "airtune-plan/9"), ("true", "1"), ('"c1"', '"c0"'))
    for old, new in changes:
        with pytest.raises(InputError):
            Plan.from_json(text.replace(old, new))
