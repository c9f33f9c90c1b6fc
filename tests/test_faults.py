"""What goes wrong: read, checked, and drawn alike for every method."""

import numpy as np
import pytest

from airtune import InputError, load_scenario
from airtune.scenario import Faults
from airtune.scenario_file import dump_scenario, parse_scenario

CLIENTS = "clients: [{id: far, count: 2, device: jetson-nano, distance: 300 m}]\n"


def faults(**fields: object) -> Faults:
    return Faults.model_validate(fields)


def test_without_faults_nothing_goes_wrong():
    nothing = parse_scenario(CLIENTS).faults
    assert nothing.none
    assert not nothing.is_out(("far-0", "far"), 1)
    assert not nothing.loses_upload(0, "far-0", 1)
    assert nothing.slowdown(("far-0", "far"), 1) == 1


def test_a_scenario_says_what_goes_wrong():
    text = (
        "faults: {upload_loss: 0.1, outages: [{client: far-0, first: 3}], slow: [{client: far, factor: 2}]}"
    )
    scenario = parse_scenario(CLIENTS + text)
    assert not scenario.faults.none
    assert scenario.faults.deadline == 2
    assert parse_scenario(dump_scenario(scenario)) == scenario
    names = [member.names for member in scenario.members()]
    assert [scenario.faults.is_out(one, 3) for one in names] == [True, False]
    assert [scenario.faults.slowdown(one, 1) for one in names] == [2, 2]


def test_an_outage_lasts_for_good_or_to_its_last_round():
    some = faults(outages=[{"client": "a", "first": 2, "last": 3}, {"client": "b", "first": 5}])
    assert [some.is_out(["a"], number) for number in range(1, 6)] == [False, True, True, False, False]
    assert [some.is_out(["b"], number) for number in (4, 5, 99)] == [False, True, True]
    assert [some.is_known_out(["a"], number) for number in range(1, 5)] == [False, False, True, False]
    assert not faults(outages=[{"client": "a", "first": 1}]).is_known_out(["a"], 1)


def test_slow_clients_get_slower_by_and_by():
    some = faults(slow=[{"client": "a", "factor": 2}, {"client": "a", "first": 3, "factor": 5}])
    assert [some.slowdown(["a"], number) for number in (1, 2, 3)] == [2, 2, 10]


def test_uploads_are_lost_as_often_as_said_and_independently():
    some = faults(upload_loss=0.3)
    lost = np.array([[some.loses_upload(7, name, at) for name in "abcd"] for at in range(1, 1001)])
    assert lost.mean() == pytest.approx(0.3, abs=0.03)
    assert np.abs(np.corrcoef(lost.T) - np.eye(4)).max() < 0.15
    assert not faults(upload_loss=0).loses_upload(7, "a", 1)
    assert all(faults(upload_loss=1).loses_upload(7, "a", at) for at in range(1, 20))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{upload_loss: 1.5}", "faults.upload_loss: found 1.5, expected at most 1"),
        ("{deadline: 0.5}", "faults.deadline: found 0.5, expected at least 1"),
        (
            "{outages: [{client: near, first: 1}]}",
            "faults.outages.0.client: found 'near', expected one of",
        ),
        ("{outages: [{client: far}]}", "faults.outages.0.first: found nothing, expected a value"),
        (
            "{outages: [{client: far, first: 3, last: 2}]}",
            "faults.outages.0.last: found 2, expected",
        ),
        ("{slow: [{client: far, factor: 0.5}]}", "faults.slow.0.factor: found 0.5, expected at least 1"),
        ("{slow: [{client: far-2, factor: 3}]}", "faults.slow.0.client: found 'far-2', expected one of far,"),
        ("{rain: 1}", "faults.rain: found an unknown field"),
    ],
)
def test_wrong_faults_are_named(given, expected, tmp_path):
    (tmp_path / "scenario.yaml").write_text(f"{CLIENTS}faults: {given}\n")
    with pytest.raises(InputError) as refused:
        load_scenario(tmp_path / "scenario.yaml")
    assert expected in str(refused.value)
