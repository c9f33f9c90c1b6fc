"""What a scenario becomes at a value of an axis, and values that are refused."""

import numpy as np
import pytest

from airtune import InputError, Scenario
from airtune.sweeping.axes import checked_axes, scenario_at


@pytest.fixture
def scenario() -> Scenario:
    groups = [
        {"id": "slow", "count": 3, "device": "jetson-nano", "distance": [200, 500]},
        {"id": "one", "device": "jetson-tx2", "distance": 300},
        {"id": "fast", "count": 4, "device": "laptop-2-core", "distance": 100},
    ]
    cells = [{"id": "cell-0", "bandwidth": "10 MHz", "downlink": "20 MHz"}]
    return Scenario.model_validate({"clients": groups, "cells": cells})


def speeds(scenario: Scenario) -> np.ndarray:
    return np.array([member.device.flops_per_s for member in scenario.members()])


def test_compute_multiplies_every_speed_and_leaves_the_rest(scenario):
    faster = scenario_at(scenario, "compute", 4.0)
    assert speeds(faster) == pytest.approx(4 * speeds(scenario))
    before, after = scenario.members(), faster.members()
    assert [one.memory for one in after] == [one.memory for one in before]
    assert [one.distance for one in after] == [one.distance for one in before]


def test_heterogeneity_spreads_speeds_around_their_geometric_mean(scenario):
    alike = speeds(scenario_at(scenario, "heterogeneity", 0.0))
    assert alike == pytest.approx(np.full(8, np.exp(np.log(speeds(scenario)).mean())))
    assert speeds(scenario_at(scenario, "heterogeneity", 1.0)) == pytest.approx(speeds(scenario))
    wide = speeds(scenario_at(scenario, "heterogeneity", 2.0))
    assert wide.max() / wide.min() == pytest.approx((speeds(scenario).max() / speeds(scenario).min()) ** 2)
    assert np.log(wide).mean() == pytest.approx(np.log(speeds(scenario)).mean())


def test_bandwidth_is_every_uplink_s_and_the_downlink_follows(scenario):
    (cell,) = scenario_at(scenario, "bandwidth", 5e6).cells
    assert (cell.bandwidth, cell.downlink) == (5e6, 10e6)


def test_a_measured_link_has_no_meaning_on_another_bandwidth(scenario):
    (first, *rest) = scenario.clients
    linked = first.model_copy(update={"distance": None, "link": 3e7})
    with pytest.raises(InputError, match=r"clients\.0\.link: found 30000000\.0, expected a distance"):
        scenario_at(scenario.model_copy(update={"clients": (linked, *rest)}), "bandwidth", 5e6)


@pytest.mark.parametrize(
    ("count", "groups"),
    [(8, [3, 1, 4]), (16, [6, 2, 8]), (3, [1, 0, 2]), (1, [0, 0, 1]), (100, [38, 12, 50])],
)
def test_groups_keep_their_proportions(scenario, count, groups):
    resized = scenario_at(scenario, "clients", count)
    found = {group.id: group.count for group in resized.clients}
    assert [found.get(name, 0) for name in ("slow", "one", "fast")] == groups
    assert sum(member.weight for member in resized.members()) == pytest.approx(1)


def test_clients_keep_the_proportions_of_their_weights(scenario):
    (first, *rest) = scenario.clients
    heavy = scenario.model_copy(update={"clients": (first.model_copy(update={"share": 0.2}), *rest)})
    weight = {member.group: member.weight for member in scenario_at(heavy, "clients", 16).members()}
    assert weight["slow"] / weight["fast"] == pytest.approx(0.2 / 0.08)


def test_values_are_ascending_and_each_there_once():
    axes = checked_axes({"bandwidth": ["5 MHz", 2e6, "2MHz"], "clients": ["8", 4]})
    assert axes.values == {"compute": [], "bandwidth": [2e6, 5e6], "heterogeneity": [], "clients": [4, 8]}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "sweep: found nothing, expected values of compute, bandwidth, heterogeneity or clients"),
        ({"compute": ["0"]}, "sweep: compute.0: found '0', expected above 0"),
        ({"bandwidth": ["2 s"]}, "sweep: bandwidth.0: found '2 s', expected a number in Hz"),
        ({"heterogeneity": [1, -1]}, "sweep: heterogeneity.1: found -1, expected at least 0"),
        ({"clients": ["4.5"]}, "sweep: clients.0: found '4.5', expected a whole number"),
        ({"clients": [0]}, "sweep: clients.0: found 0, expected at least 1"),
    ],
)
def test_values_that_are_refused(fields, message):
    with pytest.raises(InputError) as caught:
        checked_axes(fields)
    assert str(caught.value).startswith(message)
