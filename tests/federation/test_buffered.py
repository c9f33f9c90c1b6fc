"""Rounds without waiting: whose updates are merged when, how much they count, and what is on its way."""

import math
from itertools import pairwise

import numpy as np
import pytest

from airtune import Scenario, run
from airtune.federation.buffered import play_buffered_round
from airtune.federation.checkpoint import Checkpoint
from airtune.federation.client_app import app as client_app
from airtune.federation.exchange import nodes_by_client
from airtune.federation.gradients import unknown
from airtune.federation.grid import InProcessGrid
from airtune.federation.learn import Learner
from airtune.federation.round import plan_round
from airtune.federation.setting import Setting, make_setting
from airtune.observer import Observer
from airtune.planning import Pace
from airtune.pruning.measured import measured_path
from airtune.results.events import read_events
from airtune.scenario_file import dump_scenario

ROUNDS = 8


@pytest.fixture(scope="module")
def setting(tiny: Scenario) -> Setting:
    fields = tiny.model_dump() | {"method": "fedbuff", "rounds": ROUNDS}
    scenario = Scenario.model_validate(fields)
    return make_setting(scenario, measured_path(scenario))


def learner_of(setting: Setting) -> Learner:
    scenario = setting.scenario
    grid = InProcessGrid(client_app, len(scenario.members()), {"scenario": dump_scenario(scenario)})
    nodes, _ = nodes_by_client(grid, [member.id for member in scenario.members()])
    return Learner(grid, nodes, setting)


def quiet(client: str, loss: float) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def states(setting: Setting) -> list[Checkpoint]:
    """Before the first round, after it, and so on."""
    learner = learner_of(setting)
    begin = learner.begin()
    found = [Checkpoint(0, 0.0, begin.key, begin.adapter, {}, {})]
    for _ in range(ROUNDS):
        _, state = play_buffered_round(setting, learner, found[-1], Observer())
        found.append(state)
    return found


def flights(state: Checkpoint) -> dict[int, dict]:
    return {told["client"]: told for told in state.event.get("flights", [])}


def test_half_of_the_clients_end_a_round_and_the_others_fly_on(setting, states):
    ids = [member.id for member in setting.scenario.members()]
    for before, after in pairwise(states):
        merged = [ids.index(row["id"]) for row in after.event["clients"]]
        assert len(merged) == 2
        assert sorted([*merged, *flights(after)]) == [0, 1, 2, 3]
        assert after.clock_s == pytest.approx(before.clock_s + after.event["round_s"])
        assert min(row["waiting_s"] for row in after.event["clients"]) == 0
        assert all(told["done_s"] >= after.clock_s for told in flights(after).values())
        for row, client in zip(after.event["clients"], merged, strict=True):
            begun = before.clock_s
            if client in flights(before):
                assert row | {"waiting_s": 0} == flights(before)[client]["row"] | {"waiting_s": 0}
                begun = states[flights(before)[client]["version"]].clock_s
            assert row["begun_s"] == begun
            took = row["download_s"] + row["compute_s"] + row["upload_s"]
            assert begun + took + row["waiting_s"] == pytest.approx(after.clock_s)
    assert {name.split("/")[0] for name in states[1].flights} == {
        str(client) for client in flights(states[1])
    }


def test_stale_updates_count_less(setting, states):
    """The oracle trains every client again from the adapter that it was sent."""
    members, stalest = setting.scenario.members(), 0
    for before, after in pairwise(states):
        change = {name: np.zeros(matrix.shape) for name, matrix in before.adapter.items()}
        ids = {row["id"] for row in after.event["clients"]}
        merged = [client for client, member in enumerate(members) if member.id in ids]
        for client in merged:
            version = flights(before)[client]["version"] if client in flights(before) else before.round_number
            sent = states[version]
            asked = plan_round(setting, unknown(setting.scenario), Pace(), version + 1).assignments[client]
            trained = learner_of(setting).train(sent, {client: asked}, quiet).trained
            missed = before.round_number - version
            stalest = max(stalest, missed)
            share = members[client].weight / sum(members[k].weight for k in merged)
            for name in change:
                change[name] += share / math.sqrt(1 + missed) * (trained[client][name] - sent.adapter[name])
        for name in change:
            assert after.adapter[name] == pytest.approx(before.adapter[name] + change[name], abs=1e-6)
    assert stalest >= 2


def test_a_checkpoint_holds_what_is_on_its_way(setting, states, tmp_path):
    """A round from what was written is the round from what was not."""
    states[3].save(tmp_path)
    _, found = play_buffered_round(setting, learner_of(setting), Checkpoint.load(tmp_path), Observer())
    expected = states[4]
    assert (found.key, found.clock_s, found.event) == (expected.key, expected.clock_s, expected.event)
    for arrays, wanted in ((found.adapter, expected.adapter), (found.flights, expected.flights)):
        assert arrays.keys() == wanted.keys()
        assert all(np.array_equal(arrays[name], wanted[name]) for name in wanted)


def test_a_run_is_these_rounds(setting, states, tmp_path):
    """Also where others' learnt rounds lie, of which only facts are left."""
    scenario, learnt = setting.scenario, tmp_path / "learnt"
    short = scenario.model_copy(update={"rounds": 1, "method": "fedit"})
    run(short, tmp_path / "other", learnt=learnt)
    for file in learnt.glob("*.state.safetensors"):
        file.unlink()
    folder = run(scenario.model_copy(update={"rounds": 3}), tmp_path / "run", learnt=learnt)
    rounds = [event for event in read_events(folder / "events.jsonl") if event["event"] == "round"]
    for event, state in zip(rounds, states[1:], strict=False):
        assert event | {"elapsed_s": 0} == state.event | {"elapsed_s": 0}
    assert len(rounds) == 3
    assert (folder / "report.html").exists()
