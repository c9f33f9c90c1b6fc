"""Joules of a client's round, and whose are not known."""

from pathlib import Path

import pytest

from airtune import Scenario, load_scenario
from airtune.costs.energy import client_energy, energy_j
from airtune.costs.round_time import ClientTime
from airtune.devices import CATALOGUE

TINY = load_scenario(Path(__file__).parents[2] / "examples" / "tiny.yaml")
SPENT = ClientTime(download_s=3.0, overhead_s=20.0, compute_s=10.0, upload_s=5.0)
RADIATED_W = 10**2.3 / 1000  # 23 dBm


def energy_of(**group: object):
    fields = {"clients": [{"id": "a", "distance": 100, **group}]}
    scenario = Scenario.model_validate(fields)
    return client_energy(scenario, scenario.members()[0], SPENT)


def test_it_is_power_times_seconds_of_computing_and_sending():
    energy = energy_of(device="jetson-nano")
    assert energy.compute_j == 10.0 * CATALOGUE["jetson-nano"].power_w
    assert energy.transmit_j == pytest.approx(5.0 * RADIATED_W)


def test_a_scenario_may_say_another_power():
    assert energy_of(device="jetson-nano", power="5 W").compute_j == 50.0
    sensor = {"name": "sensor", "throughput": 1e9, "memory": 1e9}
    assert energy_of(device=sensor | {"power": "500 mW"}).compute_j == pytest.approx(5.0)
    assert energy_of(device=sensor | {"power": 3}, power=4).compute_j == 40.0


def test_what_a_device_draws_may_be_unknown():
    energy = energy_of(device={"name": "sensor", "throughput": 1e9, "memory": 1e9})
    assert energy.compute_j is None
    assert list(energy.to_fields()) == ["transmit_j"]
    rows = [energy.to_fields(), energy_of(device="jetson-nano").to_fields()]
    assert energy_j(rows) is None
    assert energy_j(rows[1:]) == pytest.approx(100 + 5 * RADIATED_W)
    assert energy_j([{"upload_s": 5.0}]) is None  # of an event written before energy was
    assert energy_j([]) == 0


def test_every_device_of_the_catalogue_says_what_it_draws_and_who_says_so():
    for device in CATALOGUE.values():
        assert device.power_w > 0
        assert len(device.power_source) > 20
