"""joint-online: progress less θ times time, each round; and what that does in the long run."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from airtune.errors import InfeasibleError
from airtune.planning import ErrorPower, Pace, Plan, Problem, Rounds, evaluate, plan
from airtune.planning.support import fullest
from airtune.radio import rate


def gain(chosen: Plan, theta: float) -> float:
    """progress - θ·time of one round."""
    return 1 / chosen.rounds - theta * chosen.round_s


def online(problem: Problem, theta: float, gap: float = 1e-8) -> Plan:
    return plan(problem, "joint-online", gap, pace=Pace(progress=3.7 * theta, time_s=3.7))


def own_theta(problem: Problem) -> float:
    return 1 / plan(problem).total_s


def best_of_grid(problem: Problem, theta: float) -> float:
    """The largest progress - θ·time of two clients, over a grid of bandwidths and round times.

    Given both, the best keep rates are as large as the time allows, since progress falls with every ρ.
    """
    share = np.linspace(0.01, 0.99, 197)
    rates = [
        rate(part * problem.bandwidth_hz[0], problem.snr_hz[k], "shannon")
        for k, part in enumerate((share, 1 - share))
    ]
    keep_min, keep_max = 1 - problem.prune_max, 1 - problem.prune_min
    base = [problem.fixed_s[k] + problem.fixed_bits[k] / rates[k] for k in (0, 1)]
    slope = [problem.compute_s[k] + problem.payload_bits[k] / rates[k] for k in (0, 1)]
    shortest = np.maximum(*(base[k] + slope[k] * keep_min[k] for k in (0, 1)))
    longest = np.maximum(*(base[k] + slope[k] * keep_max[k] for k in (0, 1)))
    time = shortest + np.linspace(0, 1, 801)[:, None] * (longest - shortest)
    error = 0.0
    for k in (0, 1):
        keep = np.clip((time - base[k]) / slope[k], keep_min[k], keep_max[k])
        error = error + problem.weight[k] * problem.rounds.error(1 - keep)
    progress = (1 - problem.rounds.penalty * error) / problem.rounds.base
    return float((progress - theta * time).max())


@pytest.mark.parametrize("factor", [0.02, 0.3, 0.9, 1.1, 2.0, 20.0])
@pytest.mark.parametrize("seed", range(3))
def test_two_clients_against_a_grid(
    typical_problem: Callable[..., Problem], seed: int, factor: float
) -> None:
    for problem in (
        typical_problem(2, seed),
        replace(typical_problem(2, seed, error=ErrorPower(1.3)), prune_min=np.array([0.2, 0.0])),
    ):
        theta = factor * own_theta(problem)
        chosen = online(problem, theta)
        best = best_of_grid(problem, theta)
        scale = theta * chosen.round_s
        assert gain(chosen, theta) >= best - 1e-7 * scale
        assert gain(chosen, theta) <= best + 0.01 * scale


def test_no_random_plan_does_better(hostile_problem: Callable[[int], Problem]) -> None:
    rng = np.random.default_rng(0)
    for seed in range(3):
        problem = hostile_problem(seed)
        own = plan(problem)
        for factor in (0.3, 3.0):
            theta = factor * own_theta(problem)
            chosen = online(problem, theta, gap=1e-6)
            slack = 1e-4 * theta * chosen.round_s
            others = [own, plan(problem, "bandwidth-only"), plan(problem, "pruning-only")]
            for spread in (0.001, 0.03, 0.3):
                prune = chosen.prune + spread * rng.normal(size=(10, len(problem.ids)))
                prune = np.clip(prune, problem.prune_min, problem.prune_max)
                hertz = (chosen.bandwidth_hz + 1e-9) * np.exp(spread * rng.normal(size=prune.shape))
                for some, wide in zip(prune, hertz, strict=True):
                    used = np.bincount(problem.cell, weights=wide, minlength=len(problem.bandwidth_hz))
                    fitting = wide * (problem.bandwidth_hz / np.maximum(used, 1e-300))[problem.cell]
                    within = np.maximum(some, fullest(problem, fitting))
                    drawn = evaluate(problem, "random", within, fitting)
                    spent = problem.joules_at(within, drawn.uplink_s)
                    if problem.energy is None or (spent <= problem.energy.budget_j * (1 + 1e-9)).all():
                        others.append(drawn)
            assert all(gain(other, theta) <= gain(chosen, theta) + slack for other in others)


def test_the_first_round_is_that_of_joint(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(10, 0)
    first, own = plan(problem, "joint-online"), plan(problem)
    assert first.method == "joint-online"
    assert (first.total_s, first.lower_bound_s) == (own.total_s, own.lower_bound_s)
    assert (first.prune == own.prune).all()


def test_at_its_own_pace_a_round_is_that_of_joint(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(10, 1)
    assert online(problem, own_theta(problem)).total_s == pytest.approx(plan(problem).total_s, rel=1e-6)


def test_the_faster_the_run_the_shorter_the_round(typical_problem: Callable[..., Problem]) -> None:
    """From the round of the least error to the least round there is."""
    problem = typical_problem(8, 2)
    factors = np.array([1e-9, 0.1, 0.5, 1.0, 2.0, 10.0, 1e9])
    rounds = [online(problem, factor * own_theta(problem)) for factor in factors]
    times = np.array([chosen.round_s for chosen in rounds])
    assert (np.diff(times) < 0).all()
    assert times[0] == pytest.approx(plan(problem, "bandwidth-only").round_s, rel=1e-6)
    assert rounds[0].prune == pytest.approx(0, abs=1e-3)
    shortest = plan(replace(problem, prune_min=problem.prune_max), "bandwidth-only")
    assert times[-1] == pytest.approx(shortest.round_s, rel=1e-6)


def test_a_round_makes_progress_even_if_none_would_cost_less(typical_problem: Callable[..., Problem]) -> None:
    """θ so large that no progress at all (φE > 1) in the shortest round would be the best."""
    problem = replace(typical_problem(4, 0), rounds=Rounds(20.0, 3.0, ErrorPower(2.0)))
    chosen = online(problem, 100 * own_theta(problem))
    assert chosen.total_s == pytest.approx(plan(problem).total_s)


def test_who_is_left_out_counts(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(4, 3)
    present = np.array([True, True, False, True])
    pace = Pace(progress=1.0, time_s=plan(problem).total_s)
    chosen = plan(problem, "joint-online", participates=present, pace=pace)
    assert (chosen.participates == present).all()
    alone = plan(problem, "joint", participates=present)
    theta = pace.progress / pace.time_s
    assert gain(chosen, theta) >= gain(alone, theta)
    assert chosen.total_s >= alone.lower_bound_s


def test_what_is_impossible_for_joint_is_impossible(typical_problem: Callable[..., Problem]) -> None:
    problem = replace(
        typical_problem(3, 0), prune_min=np.full(3, 0.9), rounds=Rounds(20.0, 3.0, ErrorPower(1.0))
    )
    with pytest.raises(InfeasibleError):
        plan(problem, "joint-online", pace=Pace(1.0, 100.0))


def test_good_and_bad_channels_by_turns(typical_problem: Callable[..., Problem]) -> None:
    """The pace approaches the best constant θ, and with it the run is faster than round by round."""
    good = replace(typical_problem(3, 5), fixed_bits=np.full(3, 2e7), payload_bits=np.full(3, 8e7))
    turns = [good, replace(good, snr_hz=good.snr_hz / 1e3)]

    def ratio(pace: Pace, before: Pace = Pace()) -> float:
        return (pace.progress - before.progress) / (pace.time_s - before.time_s)

    def played(plan_one: Callable[[Problem, Pace], Plan], pace: Pace = Pace()) -> Pace:
        for problem in turns:
            pace = pace.after(plan_one(problem, pace))
        return pace

    own = best = ratio(played(lambda problem, pace: plan(problem)))
    for _ in range(6):  # Dinkelbach's iteration, which knows both kinds of round beforehand
        best = ratio(played(lambda problem, pace, theta=best: online(problem, theta)))
    early = pace = Pace()
    for number in range(12):
        early = pace if number == 6 else early
        pace = played(lambda problem, pace: plan(problem, "joint-online", pace=pace), pace)
    assert ratio(pace, early) == pytest.approx(best, rel=0.01)
    assert best > 1.05 * own
