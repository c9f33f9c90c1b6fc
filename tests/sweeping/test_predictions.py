"""What planners promise, and what is known of measured clients, for a fleet of other size."""

import numpy as np
import pytest

from airtune import Scenario
from airtune.costs.error import Gradients
from airtune.federation.setting import make_setting
from airtune.pruning.measured import measured_path
from airtune.radio.channel import draw_channels
from airtune.sweeping.predictions import ROUNDS, for_fleet, predicted_s

APART = np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 5.0], [4.0, 5.0, 0.0]])
KNOWN = Gradients(np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0]), APART)
GROUPS = ["a", "a", "b"]


def test_the_same_fleet_knows_the_same():
    same = for_fleet(KNOWN, GROUPS, GROUPS)
    assert same.to_fields() == KNOWN.to_fields()


def test_each_client_stands_for_one_of_its_group():
    more = for_fleet(KNOWN, GROUPS, ["a", "a", "a", "b", "b"])
    assert more.unlike.tolist() == [0.1, 0.2, 0.1, 0.3, 0.3]
    assert more.noise.tolist() == [1.0, 2.0, 1.0, 3.0, 3.0]
    # The first and the third stand for one client, the last two for another: as far apart as its nearest.
    assert more.apart[0].tolist() == [0.0, 1.0, 1.0, 4.0, 4.0]
    assert more.apart[3].tolist() == [4.0, 5.0, 4.0, 0.0, 4.0]
    assert (more.apart == more.apart.T).all()


def test_fewer_clients_know_less():
    assert for_fleet(KNOWN, GROUPS, ["b", "a"]).apart.tolist() == [[0.0, 4.0], [4.0, 0.0]]


def test_the_method_whose_model_it_is_is_held_to_its_own_plans(tiny):
    """Also where one client stands in for others, whose weights it then has."""
    scenario = Scenario.model_validate(tiny.model_dump() | {"method": "joint-select"})
    setting = make_setting(scenario, measured_path(scenario))
    alike = 0.3 * (1 - np.eye(2))
    pairs = np.block([[alike, np.full((2, 2), 3.0)], [np.full((2, 2), 3.0), alike]])
    known = Gradients(np.ones(4), np.full(4, 0.1), pairs)
    plans = [
        setting.method.plan(setting.situation(draw_channels(scenario, number), known, number))
        for number in range(1, ROUNDS + 1)
    ]
    assert any(plan.prune[plan.participates].any() and not plan.participates.all() for plan in plans)
    promised = sum(plan.round_s for plan in plans) / sum(1 / plan.rounds for plan in plans)
    assert predicted_s(setting, known) == pytest.approx(promised, rel=1e-6)
