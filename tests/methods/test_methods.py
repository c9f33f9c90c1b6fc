"""Methods: each selects, plans and merges as its name says."""

from dataclasses import replace

import numpy as np
import pytest

from airtune import Scenario
from airtune.costs.error import Gradients
from airtune.costs.round_time import build_problem
from airtune.costs.shapes import ModelShape
from airtune.methods import METHODS, Method, Situation
from airtune.planning import Problem
from airtune.planning.stragglers import full_round_s, stragglers
from airtune.pruning.measured import measured_path
from airtune.pruning.path import Reduction
from airtune.radio.channel import draw_channels


@pytest.fixture(scope="module")
def problem(tiny: Scenario) -> Problem:
    curves = measured_path(tiny).curves(0.7, tiny.payload)
    return build_problem(
        tiny, curves, draw_channels(tiny, 1), np.ones(4, dtype=bool), Gradients(np.ones(4), np.ones(4))
    )


@pytest.mark.parametrize("name", METHODS)
def test_methods_plan_for_those_they_may(name, problem):
    method = METHODS[name]
    assert method.name == name
    allowed = method.select(problem) & np.array([False, True, True, True])
    plan = method.plan(Situation.of(problem, allowed))
    assert plan.method == name
    assert plan.participates.any()
    assert not (plan.participates & ~allowed).any()
    assert (plan.bandwidth_hz[~plan.participates] == 0).all()
    assert plan.bandwidth_hz.sum() <= problem.bandwidth_hz.sum() * (1 + 1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_optimal_bandwidth_ends_a_round_sooner_unless_a_method_shares_the_band(name, problem):
    method = METHODS[name]
    situation = Situation.of(problem, method.select(problem))
    own, optimal = method.plan(situation), method.plan(replace(situation, bandwidth="optimal"))
    assert optimal.method == name
    assert (optimal.participates == own.participates).all()
    assert (optimal.prune == own.prune).all()
    assert optimal.rounds == own.rounds
    if method.shares_band:
        assert (optimal.bandwidth_hz == own.bandwidth_hz).all()
    else:
        assert optimal.round_s < own.round_s
        assert optimal.client_round_s[own.participates] == pytest.approx(optimal.round_s, rel=1e-6)
        equal = problem.bandwidth_hz[0] / own.participates.sum()
        assert own.bandwidth_hz[own.participates] == pytest.approx(equal, rel=1e-9)


def test_fedit_with_optimal_bandwidth_is_bandwidth_only(problem):
    plan = METHODS["fedit"].plan(replace(Situation.of(problem), bandwidth="optimal"))
    assert (plan.bandwidth_hz == METHODS["bandwidth-only"].plan(Situation.of(problem)).bandwidth_hz).all()


def test_only_drop_slowest_leaves_clients_out_for_good(problem):
    left_out = {name: ~method.select(problem) for name, method in METHODS.items()}
    assert (left_out.pop("drop-slowest") == stragglers(problem)).all()
    assert stragglers(problem).any()
    assert not any(mask.any() for mask in left_out.values())


def test_some_methods_leave_clients_out_of_a_round(problem):
    out = {name for name, method in METHODS.items() if not chosen_by(method, problem).all()}
    assert out == {"drop-slowest", "fedcs", "random-selection"}


def chosen_by(method: Method, problem: Problem, **changes: object) -> np.ndarray:
    situation = replace(Situation.of(problem, method.select(problem)), **changes)
    return method.plan(situation).participates


def test_random_selection_draws_anew_each_round_and_as_many_as_asked_for(problem):
    method = METHODS["random-selection"]
    draws = {tuple(chosen_by(method, problem, number=number)) for number in range(1, 30)}
    assert len(draws) == 6  # all pairs of four
    assert all(sum(draw) == 2 for draw in draws)
    assert chosen_by(method, problem, count=3).sum() == 3
    assert chosen_by(method, problem, count=9).all()


def test_fedcs_takes_as_many_as_are_done_in_the_time_of_the_faster_half(problem):
    plan = METHODS["fedcs"].plan(Situation.of(problem))
    assert (plan.prune == np.where(plan.participates, problem.prune_min, 1)).all()
    assert (plan.participates == ~stragglers(problem)).all()
    same = replace(problem, snr_hz=np.full(4, 1e8), compute_s=np.full(4, 0.0), payload_bits=np.zeros(4))
    same = replace(same, fixed_s=np.full(4, 5.0), fixed_bits=np.zeros(4))
    assert METHODS["fedcs"].plan(Situation.of(same)).participates.all()  # nobody slows anybody


def alike(problem: Problem, apart: np.ndarray) -> Situation:
    """The third round, with distances between gradients known and no noise to speak of."""
    known = Gradients(np.full(4, 0.1), np.full(4, 0.05), apart)
    return replace(Situation.of(problem), number=3, known=known)


def test_joint_select_leaves_out_whom_others_stand_in_for(problem):
    """The tiny scenario has two slow and two fast clients."""
    method = METHODS["joint-select"]
    slow = stragglers(problem)
    everybody = method.plan(Situation.of(problem))
    same = method.plan(alike(problem, np.where(np.eye(4), 0, 1e-6)))
    assert everybody.participates.all()
    assert same.participates.sum() == 2  # one alone would tell nothing of its noise
    assert not (same.participates & slow).any()
    assert same.total_s < everybody.total_s
    groups = slow[:, None] != slow
    pair = method.plan(alike(problem, np.where(groups, 8.0, 1e-6) * ~np.eye(4, dtype=bool))).participates
    assert pair[slow].any()
    assert pair[~slow].any()
    far = np.full((4, 4), 8.0)
    np.fill_diagonal(far, 0)
    assert method.plan(alike(problem, far)).participates.all()


def test_joint_select_leaves_nobody_out_who_has_not_been_compared(problem):
    """But in the first round, in which all learn the same; in the second, half of them are compared."""
    method = METHODS["joint-select"]
    nothing = alike(problem, np.zeros((4, 4)))
    assert not method.plan(replace(nothing, number=1)).participates.all()
    second = method.plan(replace(nothing, number=2))
    assert second.participates.sum() == 3
    assert second.weight == pytest.approx(np.where(second.participates, 1 / 3, 0))
    assert method.plan(replace(nothing, number=4)).participates.all()  # where nothing can ever be told
    assert second.participates[~stragglers(problem)].all()
    known = second.participates[:, None] & second.participates & ~np.eye(4, dtype=bool)
    third = method.plan(alike(problem, np.where(known, 1e-6, 0)))
    assert third.participates[~second.participates].all()
    assert third.participates[int(np.argmin(full_round_s(problem)))]
    assert third.participates.sum() == 3


def test_joint_select_merges_with_the_weights_of_those_who_are_stood_in_for(problem):
    slow = stragglers(problem)
    groups = np.where(slow[:, None] != slow, 8.0, 1e-6) * ~np.eye(4, dtype=bool)
    plan = METHODS["joint-select"].plan(alike(problem, groups))
    assert plan.weight.sum() == pytest.approx(1)
    assert plan.weight[slow].sum() == pytest.approx(0.5, abs=0.02)
    assert (plan.weight[~plan.participates] == 0).all()


def test_merging_full_clients_is_the_weighted_mean():
    full = ModelShape(8, 16, 1, 4, 1, 2, ("q_proj", "down_proj"), np.array([2, 2]), np.array([6, 6]))
    rng = np.random.default_rng(0)
    start, *trained = (
        {name: rng.standard_normal(size).astype(np.float32) for name, _, _, size in full.adapter_shapes()}
        for _ in range(4)
    )
    weights = [0.2, 0.5, 0.3]
    products = {"hetlora", "flexlora", "flora"}  # which weigh, or average, B·A
    for method in (method for name, method in METHODS.items() if name not in products):
        updates = [
            (weight, Reduction.none(full), update) for weight, update in zip(weights, trained, strict=True)
        ]
        merged = method.aggregate(start, full, updates)
        for name in start:
            expected = np.average([update[name] for update in trained], axis=0, weights=weights)
            assert merged[name] == pytest.approx(expected, rel=1e-6)
