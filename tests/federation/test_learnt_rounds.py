"""Rounds that are learnt once and clocked many times end as if each run had learnt them itself."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flwr.app import Context, RecordDict
from stopping import Stop

from airtune import InputError, Scenario, run
from airtune.federation.checkpoint import Checkpoint
from airtune.federation.client_app import app as client_app
from airtune.federation.flower_app import app as flower_app
from airtune.federation.grid import InProcessGrid
from airtune.federation.learnt_rounds import FACTS, STATE, LearntRounds, first_key
from airtune.learning.models import load_base
from airtune.observer import Observer
from airtune.results.events import read_events, round_events
from airtune.scenario_file import dump_scenario

ADAPTER = "adapter/adapter_model.safetensors"


def changed(scenario: Scenario, **changes: object) -> Scenario:
    return Scenario.model_validate(scenario.model_dump() | changes)


def rounds_of(folder: Path) -> list[dict]:
    """The start event and the rounds, but for real time."""
    return [
        {key: value for key, value in event.items() if key != "elapsed_s"}
        for event in read_events(folder / "events.jsonl")
        if event["event"] in ("start", "round")
    ]


def same_end(folder: Path, other: Path) -> None:
    assert rounds_of(folder) == rounds_of(other)
    assert (folder / ADAPTER).read_bytes() == (other / ADAPTER).read_bytes()
    found, expected = Checkpoint.load(folder), Checkpoint.load(other)
    assert (found.round_number, found.clock_s, found.key) == (
        expected.round_number,
        expected.clock_s,
        expected.key,
    )
    for arrays, wanted in ((found.adapter, expected.adapter), (found.clients, expected.clients)):
        assert arrays.keys() == wanted.keys()
        assert all(arrays[name].tobytes() == wanted[name].tobytes() for name in wanted)


@pytest.fixture(scope="module")
def lossy(tiny) -> Scenario:
    """Clients keep what their uploads have lost, so that states matter."""
    return changed(tiny, payload={"format": "int4", "keep": 0.3})


@pytest.fixture(scope="module")
def straight(lossy, tmp_path_factory) -> Path:
    return run(lossy, tmp_path_factory.mktemp("straight") / "run")


@pytest.fixture(scope="module")
def learnt(lossy, tmp_path_factory) -> Path:
    """A folder with the first two rounds of three."""
    folder = tmp_path_factory.mktemp("learnt")
    run(changed(lossy, rounds=2), folder / "run", learnt=folder / "learnt")
    return folder / "learnt"


def test_what_was_learnt_is_not_learnt_again(tiny, finished, tmp_path):
    run(tiny, tmp_path / "first", learnt=tmp_path / "learnt")
    same_end(tmp_path / "first", finished)
    load_base.cache_clear()
    run(tiny, tmp_path / "second", learnt=tmp_path / "learnt")
    assert load_base.cache_info().misses == 0  # the model was not even loaded
    same_end(tmp_path / "second", finished)


def test_rounds_that_are_known_and_rounds_that_are_not(lossy, straight, learnt, tmp_path):
    run(lossy, tmp_path / "run", learnt=shutil.copytree(learnt, tmp_path / "learnt"))
    same_end(tmp_path / "run", straight)


def test_a_run_that_is_stopped_goes_on(lossy, straight, learnt, tmp_path):
    kept = shutil.copytree(learnt, tmp_path / "learnt")
    for after in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            run(lossy, tmp_path / "run", resume=after > 1, observer=Stop(after), learnt=kept)
    run(lossy, tmp_path / "run", resume=True, learnt=kept)
    same_end(tmp_path / "run", straight)


def test_the_observer_hears_the_same(tiny, tmp_path):
    class Listener(Observer):
        def __init__(self):
            self.heard = []

        def on_plan(self, number, rates):
            self.heard.append((number, rates))

        def on_client(self, number, client, loss):
            self.heard.append((number, client, loss))

    heard = []
    for name in ("first", "second"):
        listener = Listener()
        run(tiny, tmp_path / name, observer=listener, learnt=tmp_path / "learnt")
        heard.append(listener.heard)
    assert heard[0] == heard[1]
    assert len(heard[0]) == 3 * (1 + 4)  # of every round first its plan
    for event, (number, rates) in zip(
        round_events(read_events(tmp_path / "first" / "events.jsonl")), heard[0][::5], strict=True
    ):
        assert number == event["round"]
        for row in event["clients"]:
            down, up = rates[row["id"]]
            assert row["download_s"] == pytest.approx(8 * row["bytes_down"] / down)
            assert row["upload_s"] == pytest.approx(8 * row["bytes_up"] / up)


WAITING = """
import sys, time
from pathlib import Path
from airtune.federation.learnt_rounds import LearntRounds
folder = Path(sys.argv[1])
with LearntRounds(folder / "learnt").lock("key"):
    (folder / "held").touch()
    time.sleep(0.5)
    (folder / "done").touch()
"""


def test_who_wants_the_same_round_waits(tmp_path):
    with subprocess.Popen([sys.executable, "-c", WAITING, str(tmp_path)]) as other:
        while not (tmp_path / "held").exists():
            assert other.poll() is None
            time.sleep(0.01)
        with LearntRounds(tmp_path / "learnt").lock("another key"):
            assert not (tmp_path / "done").exists()
        with LearntRounds(tmp_path / "learnt").lock("key"):
            assert (tmp_path / "done").exists()


@pytest.mark.parametrize("place", ["/dev/null/learnt", "/proc"])
def test_a_folder_that_cannot_be_written_to_is_named(place, tiny, tmp_path):
    with pytest.raises(InputError, match=f"^{place}: found .*, expected a folder to write to$"):
        run(tiny, tmp_path / "run", learnt=place)
    assert list(tmp_path.iterdir()) == []


# -- Facts alone --------------------------------------------------------------------------------------


def test_facts_tell_another_clock(tiny, tmp_path):
    """FedIT sends the same clients through the same training, whatever the cell's bandwidth."""
    fedit = changed(tiny, method="fedit")
    slow = changed(fedit, cells=[{"id": "cell-0", "bandwidth": 50e3, "downlink": 1e6}])
    run(fedit, tmp_path / "fedit", learnt=tmp_path / "learnt")
    LearntRounds(tmp_path / "learnt").forget_states()
    load_base.cache_clear()
    run(slow, tmp_path / "slow", learnt=tmp_path / "learnt")
    assert load_base.cache_info().misses == 0
    run(slow, tmp_path / "alone")
    assert rounds_of(tmp_path / "slow") == rounds_of(tmp_path / "alone")
    assert rounds_of(tmp_path / "slow")[-1]["clock_s"] > rounds_of(tmp_path / "fedit")[-1]["clock_s"]
    assert not (tmp_path / "slow" / "adapter").exists()


def test_what_follows_facts_alone_is_learnt_from_the_start(lossy, straight, learnt, tmp_path):
    kept = shutil.copytree(learnt, tmp_path / "learnt")
    LearntRounds(kept).forget_states()
    assert not list(kept.glob(f"*{STATE}"))
    run(lossy, tmp_path / "run", learnt=kept)
    same_end(tmp_path / "run", straight)
    assert len(list(kept.glob(f"*{STATE}"))) == 4


@pytest.mark.parametrize("kind", [STATE, FACTS])
def test_what_is_damaged_is_learnt_again(kind, lossy, straight, learnt, tmp_path):
    kept = shutil.copytree(learnt, tmp_path / "learnt")
    for file in kept.glob(f"*{kind}"):
        file.write_bytes(file.read_bytes()[:-1])
    run(lossy, tmp_path / "run", learnt=kept)
    same_end(tmp_path / "run", straight)


# -- Keys ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"rounds": 9},
        {"method": "fedit"},
        {"reduction": "width"},
        {"prune_max": 0.5},
        {"selected": 2},
        {"radio": {"fading": "none"}},
        {"convergence": {"base": 5}},
        {"cells": [{"id": "cell-0", "bandwidth": 1e6}]},
    ],
)
def test_what_shapes_the_clock_alone_is_not_in_the_key(changes, tiny):
    assert first_key(changed(tiny, **changes)) == first_key(tiny)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 2},
        {"lora": {"rank": 2}},
        {"payload": {"format": "int4"}},
        {"partition": {"kind": "dirichlet"}},
        {"training": {"steps": 2, "batch_size": 2}},
    ],
)
def test_what_shapes_learning_is_in_the_key(changes, tiny):
    assert first_key(changed(tiny, **changes)) != first_key(tiny)


def test_other_clients_and_other_data_have_other_keys(tiny, tmp_path):
    groups = tiny.model_dump()["clients"]
    weighted = [groups[0] | {"share": 0.4}, *groups[1:]]
    assert first_key(changed(tiny, clients=weighted)) != first_key(tiny)
    farther = [groups[0] | {"distance": (300.0, 900.0)}, *groups[1:]]
    assert first_key(changed(tiny, clients=farther)) == first_key(tiny)
    copy = shutil.copy(tiny.task.data, tmp_path / Path(tiny.task.data).name)
    moved = changed(tiny, task=tiny.task.model_dump() | {"data": str(copy)})
    assert first_key(moved) == first_key(tiny)
    Path(copy).write_text(Path(copy).read_text() + "\n")
    assert first_key(moved) != first_key(tiny)


def test_what_is_told_of_noise_is_not_in_the_key(tiny):
    noisy = changed(tiny, privacy={"clip": 1, "noise": 5})
    assert first_key(changed(noisy, privacy={"clip": 1, "noise": 5, "delta": 1e-6})) == first_key(noisy)
    assert first_key(changed(noisy, privacy={"clip": 1, "noise": 4})) != first_key(noisy) != first_key(tiny)


# -- Budget -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "fields"), [("s", ["round_s"]), ("B", ["bytes_up", "bytes_down"]), ("J", ["energy_j"])]
)
def test_a_budget_ends_after_the_round_that_spends_it(unit, fields, tiny, finished, tmp_path):
    first, second = [sum(event[field] for field in fields) for event in rounds_of(finished)[1:3]]
    run(tiny, tmp_path / "run", budget=f"{first + second / 2!r} {unit}")
    assert rounds_of(tmp_path / "run") == rounds_of(finished)[:3]
    assert [event["event"] for event in read_events(tmp_path / "run" / "events.jsonl")][-1] == "end"


def test_a_budget_that_nobody_spends_changes_nothing(tiny, finished, tmp_path):
    run(tiny, tmp_path / "whole", budget=1e9)
    same_end(tmp_path / "whole", finished)


def test_energy_is_no_budget_of_a_flower_run_where_nobody_knows_it(tiny, tmp_path):
    groups = [group.model_dump() for group in tiny.clients]
    groups[1]["device"]["power"] = None
    config = {"scenario": dump_scenario(changed(tiny, clients=groups)), "out": str(tmp_path / "run")}
    config |= {"resume": False, "budget": "20 J", "deadline": "", "progress": str(tmp_path / "progress")}
    context = Context(1, node_id=0, node_config={}, state=RecordDict(), run_config=config)
    with pytest.raises(InputError, match=r"clients\.1\.power: found nothing"):
        flower_app(InProcessGrid(client_app, 4, {}), context)
    assert not (tmp_path / "run").exists()


def test_a_round_on_file_that_does_not_tell_what_it_took_is_named(tiny, finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "summary.json").unlink()
    events = folder / "events.jsonl"
    events.write_text(events.read_text().replace('"energy_j"', '"energy"'))
    with pytest.raises(InputError, match=r"events\.jsonl: round 1, energy_j: found nothing"):
        run(tiny, folder, resume=True, budget="20 J")
