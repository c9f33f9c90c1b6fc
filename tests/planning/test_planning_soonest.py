"""The bandwidth that ends a round soonest, for pruning rates that are given."""

from dataclasses import replace

import numpy as np
import pytest

from airtune.errors import InfeasibleError
from airtune.planning import plan, soonest
from airtune.radio.rate import bandwidth_for_rate

METHODS = ("uniform", "pruning-only", "fedit")


@pytest.mark.parametrize("method", METHODS)
def test_no_shares_end_the_round_sooner(method, typical_problem):
    """A shorter round needs more bandwidth than there is, in the cell that ends last."""
    for seed in range(5):
        problem = typical_problem(8, seed, cells=2)
        own = plan(problem, method)
        best = soonest(problem, own)
        need = [needed_hz(problem, best, shorter * best.round_s) for shorter in (1 - 1e-6, 1 + 1e-6)]
        assert (need[0] > problem.bandwidth_hz).any()
        assert (need[1] < problem.bandwidth_hz).all()
        # Rates that are best on equal bandwidth may let all finish together: then nothing is left to gain.
        assert best.round_s < own.round_s or (method == "pruning-only" and best.round_s == own.round_s)
        used = np.bincount(problem.cell, best.bandwidth_hz)
        assert used == pytest.approx(problem.bandwidth_hz, rel=1e-9)


def needed_hz(problem, best, round_s: float) -> np.ndarray:
    """(cells,) bandwidth with which everybody is done by then."""
    rates = problem.bits_at(best.prune) / (round_s - problem.busy_at(best.prune))
    return np.bincount(problem.cell, bandwidth_for_rate(rates, problem.snr_hz, problem.rate))


def test_those_left_out_get_nothing(typical_problem):
    problem = typical_problem(6, 0)
    some = np.array([True, False, True, True, False, True])
    best = soonest(problem, plan(problem, "fedit", participates=some))
    assert (best.participates == some).all()
    assert (best.bandwidth_hz[~some] == 0).all()
    alone = soonest(problem.restrict(some), plan(problem.restrict(some), "fedit"))
    assert (best.bandwidth_hz[some] == alone.bandwidth_hz).all()


def test_equal_clients_keep_equal_shares(typical_problem):
    problem = typical_problem(4, 0)
    same = {name: np.full(4, getattr(problem, name)[0]) for name in ("snr_hz", "fixed_s", "compute_s")}
    same |= {name: np.full(4, getattr(problem, name)[0]) for name in ("fixed_bits", "payload_bits")}
    own = plan(replace(problem, **same), "fedit")
    assert soonest(replace(problem, **same), own).bandwidth_hz == pytest.approx(own.bandwidth_hz, rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_never_later_and_within_every_limit(method, hostile_problem):
    for seed in range(20):
        problem = hostile_problem(seed)
        try:
            own = plan(problem, method)
        except InfeasibleError:
            continue
        best = soonest(problem, own)
        assert best.round_s <= own.round_s
        assert (best.prune == own.prune).all()
        assert best.rounds == own.rounds
        used = np.bincount(problem.cell, best.bandwidth_hz, minlength=len(problem.bandwidth_hz))
        assert (used <= problem.bandwidth_hz * (1 + 1e-9)).all()
        if problem.energy is not None:
            assert (spent_j(problem, best) <= problem.energy.budget_j * (1 + 1e-9)).all()


def spent_j(problem, best) -> np.ndarray:
    energy, keep = problem.energy, 1 - best.prune
    return energy.fixed_j + energy.compute_j * keep + energy.transmit_w * best.uplink_s
