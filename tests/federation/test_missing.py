"""Rounds in which updates or clients go missing: what is merged, how long is waited, what is told."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from stopping import Stop

from airtune import AirtuneError, InputError, Scenario, run
from airtune.federation.checkpoint import Checkpoint
from airtune.federation.client_app import app as client_app
from airtune.federation.exchange import nodes_by_client
from airtune.federation.gradients import unknown
from airtune.federation.grid import InProcessGrid
from airtune.federation.learn import Learner
from airtune.federation.round import plan_round, play_round
from airtune.federation.setting import Setting, make_setting
from airtune.observer import Observer
from airtune.planning import Pace
from airtune.pruning.measured import measured_path
from airtune.results.events import read_events
from airtune.scenario_file import dump_scenario

ADAPTER = "adapter/adapter_model.safetensors"


def faulty(tiny: Scenario, method: str, rounds: int = 3, **faults: object) -> Scenario:
    fields = {"method": method, "rounds": rounds, "faults": faults}
    return Scenario.model_validate(tiny.model_dump() | fields)


def rounds_of(folder: Path) -> list[dict]:
    """Without what this machine took."""
    events = [event for event in read_events(folder / "events.jsonl") if event["event"] == "round"]
    return [{name: value for name, value in event.items() if name != "elapsed_s"} for event in events]


def lost_of(event: dict) -> dict[str, str]:
    return {lost["id"]: lost["why"] for lost in event.get("lost", [])}


def played(scenario: Scenario) -> tuple[Setting, Learner, Checkpoint, Checkpoint]:
    """The first round of a scenario, and what was there before it."""
    setting = make_setting(scenario, measured_path(scenario))
    grid = InProcessGrid(client_app, len(scenario.members()), {"scenario": dump_scenario(scenario)})
    nodes, _ = nodes_by_client(grid, [member.id for member in scenario.members()])
    learner = Learner(grid, nodes, setting)
    begin = learner.begin()
    before = Checkpoint(0, 0.0, begin.key, begin.adapter, {}, {"loss": begin.loss})
    _, after = play_round(setting, learner, before, Observer())
    return setting, learner, before, after


def test_those_who_arrive_count_by_their_data_among_themselves(tiny):
    """FedIT prunes nothing, so the next adapter is the mean over three clients of all that they trained."""
    fields = tiny.model_dump()
    for group, share in zip(fields["clients"], (0.2, 0.3), strict=True):
        group["share"] = share
    uneven = Scenario.model_validate(fields)
    scenario = faulty(uneven, "fedit", outages=[{"client": "fast-0", "first": 1}])
    setting, learner, before, after = played(scenario)
    assert lost_of(after.event) == {"fast-0": "outage"}
    whole = faulty(uneven, "fedit")
    _, _, _, everybody = played(whole)
    planned = plan_round(setting, unknown(scenario), Pace(), 1)
    assert sorted(planned.arriving) == [0, 1, 3]
    trained = learner.train(before, planned.arriving, lambda client, loss: None).trained
    weights = np.array([0.2, 0.2, 0.3]) / 0.7
    for name, merged in after.adapter.items():
        mean = sum(weight * update[name] for weight, update in zip(weights, trained.values(), strict=True))
        assert merged == pytest.approx(mean, rel=1e-5, abs=1e-7)
    assert any((after.adapter[name] != everybody.adapter[name]).any() for name in after.adapter)


def test_the_server_waits_for_the_missing_until_the_deadline(tiny, tmp_path):
    outage = [{"client": "slow-1", "first": 2, "last": 3}]
    events = rounds_of(run(faulty(tiny, "joint", 4, outages=outage, deadline=3), tmp_path / "run"))
    first, second, third, fourth = events
    assert [lost_of(event) for event in events] == [{}, {"slow-1": "outage"}, {}, {}]
    assert second["round_s"] == 3 * second["planned_s"]
    assert "slow-1" not in {row["id"] for row in second["clients"]}
    assert all(row["waiting_s"] > 0 for row in second["clients"])
    # From the next round on the server knows, and plans without it until it is back.
    assert "slow-1" not in {row["id"] for row in third["clients"]}
    assert third["round_s"] == pytest.approx(third["planned_s"], rel=0.2)
    assert {row["id"] for row in fourth["clients"]} == {row["id"] for row in first["clients"]}
    (nothing,) = second["lost"]
    assert nothing["bytes_up"] == nothing["flops"] == nothing["compute_j"] == nothing["transmit_j"] == 0


def test_a_slow_client_is_waited_for_until_the_deadline(tiny, tmp_path):
    slow = faulty(tiny, "fedit", 1, slow=[{"client": "slow", "factor": 1.4}])
    (event,) = rounds_of(run(slow, tmp_path / "slow"))
    (usual,) = rounds_of(run(faulty(tiny, "fedit", 1), tmp_path / "usual"))
    assert lost_of(event) == {}
    assert event["planned_s"] == usual["planned_s"]
    assert event["loss"] == usual["loss"]
    for row, before in zip(event["clients"], usual["clients"], strict=True):
        factor = 1.4 if row["id"].startswith("slow") else 1
        assert row["compute_s"] == pytest.approx(factor * before["compute_s"])
    assert event["round_s"] > usual["round_s"]
    late = faulty(tiny, "fedit", 1, slow=[{"client": "slow-0", "factor": 1000}])
    (event,) = rounds_of(run(late, tmp_path / "late"))
    assert lost_of(event) == {"slow-0": "late"}
    assert event["round_s"] == 2 * event["planned_s"]
    (cut,) = event["lost"]
    (row,) = [row for row in usual["clients"] if row["id"] == "slow-0"]
    assert cut["bytes_up"] == 0  # it was still computing
    assert cut["bytes_down"] == row["bytes_down"]
    assert 0 < cut["flops"] < 0.1 * row["flops"]
    assert 0 < cut["compute_j"] < 0.5 * event["round_s"]


def test_what_is_lost_counts_in_the_round_s_sums(tiny, tmp_path):
    for event in rounds_of(run(faulty(tiny, "fedit", 3, upload_loss=0.5), tmp_path / "run")):
        rows = [*event["clients"], *event.get("lost", [])]
        assert len(rows) == 4
        for name in ("bytes_up", "bytes_down", "flops"):
            assert event[name] == pytest.approx(sum(row[name] for row in rows))
        assert event["energy_j"] == pytest.approx(sum(row["compute_j"] + row["transmit_j"] for row in rows))


def test_every_method_loses_the_same_uploads(tiny, tmp_path):
    found = {}
    for method in ("fedit", "joint", "hetlora", "random-selection"):
        events = rounds_of(run(faulty(tiny, method, 4, upload_loss=0.4), tmp_path / method))
        planned = [{row["id"] for row in [*event["clients"], *event.get("lost", [])]} for event in events]
        found[method] = planned, [set(lost_of(event)) for event in events]
    _, everybody = found["fedit"]
    assert any(everybody)
    for planned, lost in found.values():
        assert lost == [both & all_lost for both, all_lost in zip(planned, everybody, strict=True)]


def test_where_nothing_arrives_nothing_is_learnt(tiny, tmp_path):
    folder = run(faulty(tiny, "joint", 2, upload_loss=1), tmp_path / "run")
    before, *_ = read_events(folder / "events.jsonl")
    for event in rounds_of(folder):
        assert event["clients"] == []
        assert event["loss"] == before["loss"]
        assert event["round_s"] == 2 * event["planned_s"]
    merged = load_file(folder / ADAPTER)
    assert all(not array.any() for name, array in merged.items() if "lora_B" in name)


def test_where_nobody_is_left_the_run_ends_with_an_error(tiny, tmp_path):
    gone = [{"client": group.id, "first": 1} for group in tiny.clients]
    with pytest.raises(AirtuneError, match="round 2: nobody is left, all who may take part are out"):
        run(faulty(tiny, "fedit", 2, outages=gone), tmp_path / "run")


def test_an_interrupted_run_goes_on_with_the_same_faults(tiny, tmp_path):
    faults = {"upload_loss": 0.4, "outages": [{"client": "slow-0", "first": 2, "last": 3}]}
    scenario = faulty(tiny, "joint", 4, slow=[{"client": "fast-1", "first": 2, "factor": 50}], **faults)
    straight = run(scenario, tmp_path / "straight")
    for after in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            run(scenario, tmp_path / "run", resume=after > 1, observer=Stop(after))
    run(scenario, tmp_path / "run", resume=True)
    assert rounds_of(tmp_path / "run") == rounds_of(straight)
    assert any(lost_of(event) for event in rounds_of(straight))
    assert (tmp_path / "run" / ADAPTER).read_bytes() == (straight / ADAPTER).read_bytes()


def test_learnt_rounds_are_told_apart_by_who_arrived(tiny, tmp_path):
    """What arrives alike is learnt once: here the first round of a client that is out from the second on."""
    learnt = tmp_path / "learnt"

    def facts() -> int:
        return len(list(learnt.glob("*.facts.safetensors")))

    usual, out = faulty(tiny, "fedit", 2), faulty(tiny, "fedit", 2, outages=[{"client": "slow", "first": 2}])
    run(usual, tmp_path / "usual", learnt=learnt)
    assert facts() == 3
    run(out, tmp_path / "out", learnt=learnt)
    assert facts() == 4
    alone = run(out, tmp_path / "alone")
    assert rounds_of(tmp_path / "out") == rounds_of(alone)
    assert (tmp_path / "out" / ADAPTER).read_bytes() == (alone / ADAPTER).read_bytes()


@pytest.mark.parametrize("method", ["joint-select", "joint-online", "drop-slowest", "fedcs", "heterofl"])
def test_methods_go_on_without_those_who_are_missing(method, tiny, tmp_path):
    faults = {"upload_loss": 0.3, "outages": [{"client": "fast-0", "first": 2}]}
    events = rounds_of(run(faulty(tiny, method, 3, **faults), tmp_path / "run"))
    assert len(events) == 3
    assert "fast-0" not in {row["id"] for row in [*events[2]["clients"], *events[2].get("lost", [])]}


def test_fedbuff_knows_slow_clients_alone(tiny, tmp_path):
    with pytest.raises(InputError, match="faults: found uploads or clients that go missing, expected slow"):
        run(faulty(tiny, "fedbuff", 2, upload_loss=0.1), tmp_path / "no")
    slow = faulty(tiny, "fedbuff", 2, slow=[{"client": "fast", "factor": 100}])
    usual = rounds_of(run(faulty(tiny, "fedbuff", 2), tmp_path / "usual"))
    events = rounds_of(run(slow, tmp_path / "slow"))
    assert events[0]["round_s"] > usual[0]["round_s"]
    assert all("lost" not in event for event in events)
