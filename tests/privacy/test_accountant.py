"""Epsilon against formulas of our own: the Gaussian mechanism's exact one, and Rényi's bound over rounds."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from airtune import AirtuneError, Scenario
from airtune.privacy.accountant import epsilon, promised, spent
from airtune.scenario import Privacy

PRIVACY = st.builds(
    Privacy, clip=st.just(1.0), noise=st.floats(0.2, 50), delta=st.floats(-9, -1).map(lambda power: 10**power)
)


def delta_of(noise: float, answers: int, epsilon: float) -> float:
    """∫ max(0, p − e^ε q) of two normal densities, the definition itself: their means are 2√n/noise apart."""
    apart = 2 * math.sqrt(answers) / noise
    begin = apart / 2 + epsilon / apart  # p exceeds e^ε q from here on

    def exceeds(x: float) -> float:
        return norm.pdf(x, apart) - math.exp(epsilon + norm.logpdf(x))

    return quad(exceeds, begin, begin + 12, epsabs=0, limit=500)[0]


def renyi(noise: float, answers: int, delta: float) -> float:
    """min over α of n·α·2/noise² + log(1/δ)/(α − 1) (Mironov 2017, propositions 1, 3 and 7)."""
    alpha = 1 + np.logspace(-4, 5, 2000)
    return float((2 * answers * alpha / noise**2 + math.log(1 / delta) / (alpha - 1)).min())


@settings(max_examples=50)
@given(PRIVACY)
def test_one_round_is_the_gaussian_mechanism(privacy):
    found = epsilon(privacy, 1)
    if found == 0:
        assert delta_of(privacy.noise, 1, 0) <= privacy.delta * (1 + 1e-6)
    else:
        assert delta_of(privacy.noise, 1, found) == pytest.approx(privacy.delta, rel=1e-4)


@settings(max_examples=50)
@given(PRIVACY, st.integers(2, 1000))
def test_many_rounds_are_exact_below_renyis_bound_and_no_less_than_fewer(privacy, answers):
    found = epsilon(privacy, answers)
    assert epsilon(privacy, answers - 1) <= found * (1 + 1e-9)
    assert found <= renyi(privacy.noise, answers, privacy.delta)
    if found > 0:  # exact as well: noises that add up are one noise
        assert delta_of(privacy.noise, answers, found) == pytest.approx(privacy.delta, rel=1e-4)


def test_known_values():
    # One answer at noise 2 has noise 1 of its sensitivity: Balle and Wang's 4.3772 at 1e-5.
    assert epsilon(Privacy(clip=3.0, noise=2.0), 1) == pytest.approx(4.3772, abs=1e-4)
    assert epsilon(Privacy(clip=1.0, noise=4.0), 4) == pytest.approx(4.3772, abs=1e-4)
    assert epsilon(Privacy(clip=1.0, noise=4.0), 0) == 0


@settings(max_examples=20)
@given(st.integers(1, 5), st.data())
def test_answers_add_up_by_client(rounds, data):
    groups = [{"id": "phone", "count": 3, "device": "jetson-orin-nano", "distance": "100 m"}]
    scenario = Scenario.model_validate({"clients": groups, "privacy": {"clip": 1, "noise": 5}})
    event, asked = {"event": "start", **promised(scenario)}, []
    for _ in range(rounds):
        asked.append(data.draw(st.sets(st.integers(0, 2))))
        event = {"event": "round", **spent(scenario, event, asked[-1])}
    count = [sum(client in each for each in asked) for client in range(3)]
    assert event["privacy"]["answers"] == count
    assert event["privacy"]["epsilon"] == [epsilon(scenario.privacy, number) for number in count]


def test_nothing_is_promised_or_spent_without_noise():
    groups = [{"id": "phone", "device": "jetson-orin-nano", "distance": "100 m"}]
    scenario = Scenario.model_validate({"clients": groups})
    assert promised(scenario) == spent(scenario, {}, {0}) == {}


def test_who_has_no_accountant_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(AirtuneError, match=r"pip install 'airtune\[privacy\]'"):
        epsilon(Privacy(clip=1.0, noise=1.0), 1)
