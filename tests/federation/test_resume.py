"""A run killed at any moment goes on to the very adapter that it would have reached unkilled."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stopping import Stop

from airtune import AirtuneError, InputError, Plan, Scenario, run
from airtune.errors import ArgumentError
from airtune.federation.checkpoint import FILE, Checkpoint
from airtune.federation.folder import RunFolder
from airtune.federation.residual import CLIENT_FILES, hand_over
from airtune.observer import Observer
from airtune.results.events import read_events

TINY = Path(__file__).parents[2] / "examples" / "tiny.yaml"
ADAPTER = "adapter/adapter_model.safetensors"

# One process imports everything once and forks a child for every moment. The child kills itself there.
KILLED_RUNS = """
import os, signal, sys
from pathlib import Path
from airtune import load_scenario, run
from airtune.federation import checkpoint, folder, in_process
from airtune.observer import Observer


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


class Killer(Observer):
    def __init__(self, moment):
        self.moment = moment

    def on_start(self, event, rounds_done):
        if self.moment == "start":
            die()

    def on_client(self, number, client, loss):
        if self.moment == f"client {number} {client}":
            die()

    def on_round(self, event):
        if self.moment == f"round {event['round']}":
            die()


def torn(path, events):
    with open(path, "ab") as file:
        file.write(b'{"event": "round", "rou')
    die()


def when(condition, first, then):
    return lambda *arguments: (first if condition(*arguments) else then)(*arguments)


def arm(moment):
    in_second_round = lambda path, events: events and events[0].get("round") == 2
    if moment == "before the first checkpoint":
        checkpoint.Checkpoint.save = die
    if moment == "before the checkpoint is in place":
        second = lambda old, new: Path(new).name == checkpoint.FILE and Path(new).exists()
        os.replace = when(second, die, os.replace)
    if moment == "between checkpoint and event":
        folder.append_events = when(in_second_round, die, folder.append_events)
    if moment == "within the event's line":
        folder.append_events = when(in_second_round, torn, folder.append_events)
    if moment == "before the report":
        folder.write_report = die


out, scenario = Path(sys.argv[1]), load_scenario(sys.argv[2])
for number, moment in enumerate(sys.argv[3:]):
    child = os.fork()
    if child == 0:
        arm(moment)
        run(scenario, out / str(number), observer=Killer(moment))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (moment, status)
"""

# What is in the folder at each moment: the last round on file, None where there is no checkpoint.
MOMENTS = {"client 2 slow-1": 1, "between checkpoint and event": 2, "before the first checkpoint": None}
MORE_MOMENTS = {
    "start": 0,
    "client 1 slow-0": 0,
    "round 1": 1,
    "before the checkpoint is in place": 0,
    "within the event's line": 2,
    "client 3 fast-1": 2,
    "round 3": 3,
    "before the report": 3,
}


def killed(moments: list[str], out: Path) -> dict[str, Path]:
    subprocess.run([sys.executable, "-c", KILLED_RUNS, str(out), str(TINY), *moments], check=True)
    return {moment: out / str(number) for number, moment in enumerate(moments)}


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return killed(list(MOMENTS), tmp_path_factory.mktemp("few"))


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return killed(list(MORE_MOMENTS), tmp_path_factory.mktemp("more"))


def goes_on(folder: Path, rounds_on_file: int | None, tiny: Scenario, finished: Path) -> None:
    checkpoint = Checkpoint.load(folder)
    assert (None if checkpoint is None else checkpoint.round_number) == rounds_on_file
    assert not (folder / "summary.json").exists()
    events = folder / "events.jsonl"
    written = events.read_bytes() if events.exists() else b""
    whole_lines = written[: written.rfind(b"\n") + 1]

    run(tiny, folder, resume=True)

    assert (folder / ADAPTER).read_bytes() == (finished / ADAPTER).read_bytes()
    assert events.read_bytes().startswith(whole_lines)
    found, expected = read_events(events), read_events(finished / "events.jsonl")
    real_time = ("elapsed_s",)
    assert [
        {key: value for key, value in event.items() if key not in real_time}
        for event in found
        if event["event"] in ("start", "round")
    ] == [
        {key: value for key, value in event.items() if key not in real_time}
        for event in expected
        if event["event"] in ("start", "round")
    ]
    assert [event["event"] for event in found].count("end") == 1
    assert [event["event"] for event in found].count("resume") == (rounds_on_file is not None)
    assert {path.name for path in folder.iterdir()} - {f"{FILE}.new"} == {
        path.name for path in finished.iterdir()
    }


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(moment, few, tiny, finished):
    goes_on(few[moment], MOMENTS[moment], tiny, finished)


@pytest.mark.slow
@pytest.mark.parametrize("moment", MORE_MOMENTS)
def test_whatever_the_moment(moment, more, tiny, finished):
    goes_on(more[moment], MORE_MOMENTS[moment], tiny, finished)


def test_a_run_may_be_interrupted_again_and_again(tiny, finished, tmp_path):
    for after in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            run(tiny, tmp_path / "run", resume=after > 1, observer=Stop(after))
    run(tiny, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / ADAPTER).read_bytes() == (finished / ADAPTER).read_bytes()
    rounds = [event for event in read_events(tmp_path / "run" / "events.jsonl") if event["event"] == "round"]
    assert [event["round"] for event in rounds] == [1, 2, 3]


def test_what_lossy_uploads_still_owe_is_not_forgotten(tiny, tmp_path):
    """Clients train other layers every round, so that residuals wait for rounds that send them."""
    payload = {"format": "int4", "keep": 0.3}
    lossy = Scenario.model_validate(tiny.model_dump() | {"payload": payload})
    straight = run(lossy, tmp_path / "straight")
    for after in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            run(lossy, tmp_path / "run", resume=after > 1, observer=Stop(after))
    run(lossy, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / ADAPTER).read_bytes() == (straight / ADAPTER).read_bytes()
    first, again = (Checkpoint.load(folder).clients for folder in (straight, tmp_path / "run"))
    assert {name.split("/")[0] for name in first} == {"0", "1", "2", "3"}
    assert first.keys() == again.keys()
    assert all((first[name] == again[name]).all() for name in first)
    assert any(first[name].any() for name in first)


def test_clients_may_go_on_in_processes_of_their_own_and_come_back(tiny, tmp_path):
    """What they owe moves from the checkpoint to files, which clients in this process then keep too."""
    lossy = Scenario.model_validate(tiny.model_dump() | {"payload": {"format": "int4", "keep": 0.3}})
    straight, folder = run(lossy, tmp_path / "straight"), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(lossy, folder, observer=Stop(1))
    hand_over(Checkpoint.load(folder), folder / CLIENT_FILES)
    with pytest.raises(KeyboardInterrupt):
        run(lossy, folder, resume=True, observer=Stop(2))
    assert {path.name for path in (folder / CLIENT_FILES).iterdir()} == {"0", "1", "2", "3"}
    run(lossy, folder, resume=True)
    assert (folder / ADAPTER).read_bytes() == (straight / ADAPTER).read_bytes()


def test_clients_with_files_of_their_own_learn_nothing_from_other_runs(tiny, tmp_path):
    lossy = Scenario.model_validate(tiny.model_dump() | {"payload": {"format": "int4", "keep": 0.3}})
    with pytest.raises(KeyboardInterrupt):
        run(lossy, tmp_path / "run", observer=Stop(1))
    hand_over(Checkpoint.load(tmp_path / "run"), tmp_path / "run" / CLIENT_FILES)
    with pytest.raises(ArgumentError, match=r"learnt: .*expected none for a run that began on an engine"):
        run(lossy, tmp_path / "run", resume=True, learnt=tmp_path / "learnt")
    assert not (tmp_path / "learnt").exists()


def test_what_joint_online_has_learned_is_not_forgotten(tiny, tmp_path):
    def plans(folder: Path) -> list[Plan]:
        files = sorted((folder / "plans").iterdir())
        return [replace(Plan.from_json(file.read_text()), solve_s=0.0) for file in files]

    online = Scenario.model_validate(tiny.model_dump() | {"method": "joint-online"})
    straight = run(online, tmp_path / "straight")
    for after in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            run(online, tmp_path / "run", resume=after > 1, observer=Stop(after))
    run(online, tmp_path / "run", resume=True)
    planned = plans(straight)
    assert [plan.to_json() for plan in plans(tmp_path / "run")] == [plan.to_json() for plan in planned]
    assert (tmp_path / "run" / ADAPTER).read_bytes() == (straight / ADAPTER).read_bytes()
    *_, last = (event for event in read_events(straight / "events.jsonl") if event["event"] == "round")
    assert last["pace"]["progress"] == pytest.approx(sum(1 / plan.rounds for plan in planned))
    assert last["pace"]["time_s"] == pytest.approx(sum(plan.round_s for plan in planned))
    # Something was learned: not every round is the one that is best by itself.
    assert [plan.lower_bound_s is None for plan in planned] == [False, True, True]


def test_the_observer_hears_the_rounds_that_are_left(tiny, tmp_path):
    heard = []

    class Listener(Observer):
        def on_start(self, event, rounds_done):
            heard.append((event["event"], rounds_done))

        def on_client(self, number, client, loss):
            heard.append((number, client))

        def on_round(self, event):
            heard.append(event["round"])

    with pytest.raises(KeyboardInterrupt):
        run(tiny, tmp_path / "run", observer=Stop(2))
    run(tiny, tmp_path / "run", resume=True, observer=Listener())
    clients = ["slow-0", "slow-1", "fast-0", "fast-1"]
    assert heard == [("start", 2), *((3, client) for client in clients), 3]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_finished_run_is_left_as_it_is(tiny, finished):
    before = contents(finished)
    run(tiny, finished, resume=True)
    assert contents(finished) == before


@pytest.mark.parametrize("changes", [{"seed": 2}, {"rounds": 4}, {"method": "fedit"}])
def test_another_scenario_cannot_go_on(changes, tiny, finished):
    before = contents(finished)
    other = Scenario.model_validate(tiny.model_dump() | changes)
    with pytest.raises(InputError, match=f"scenario.yaml: {next(iter(changes))}: found another value"):
        run(other, finished, resume=True)
    assert contents(finished) == before


def test_a_folder_that_is_not_empty_is_not_written_to(tiny, finished, tmp_path):
    before = contents(finished)
    with pytest.raises(AirtuneError, match="not empty; go on with --resume or choose another --out"):
        run(tiny, finished)
    assert contents(finished) == before
    (tmp_path / "letter.txt").touch()
    for resume in (False, True):
        with pytest.raises(AirtuneError, match="not empty"):
            run(tiny, tmp_path, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_place_that_cannot_be_a_folder_is_refused(tiny, tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="expected a folder to write to"):
            run(tiny, place)


@pytest.mark.parametrize("engine", ["in-process", "flower-deployment"])
def test_two_processes_cannot_run_in_one_folder(engine, tiny, tmp_path):
    """The second one leaves it as it is: one that has just begun, and one whose clients owe something."""
    lossy = Scenario.model_validate(tiny.model_dump() | {"payload": {"format": "int4", "keep": 0.3}})
    RunFolder(tmp_path / "begun").prepare(lossy, resume=False)
    with pytest.raises(KeyboardInterrupt):
        run(lossy, tmp_path / "going on", observer=Stop(1))
    for folder in (tmp_path / "begun", tmp_path / "going on"):
        with RunFolder(folder).lock():
            before = contents(folder)
            with pytest.raises(AirtuneError, match="another process is running here"):
                run(lossy, folder, resume=True, engine=engine)
            assert contents(folder) == before
        with RunFolder(folder).lock():
            pass  # free again


def test_an_engine_that_cannot_be_started_leaves_nothing_behind(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(AirtuneError, match=r"engine cannot be started: .*gone"):
        run(tiny, tmp_path / "run", engine="flower-deployment")
    assert list(tmp_path.iterdir()) == []


# -- Damage -------------------------------------------------------------------------------------------


@pytest.fixture
def unfinished(finished: Path, tmp_path: Path) -> Path:
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "summary.json").unlink()
    return copy


def test_a_damaged_checkpoint_is_named(tiny, unfinished):
    file = unfinished / FILE
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match=rf"{FILE}: .*expected a checkpoint of airtune"):
        run(tiny, unfinished, resume=True)
    assert file.exists()


def test_damaged_events_are_named(tiny, unfinished):
    with (unfinished / "events.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(InputError, match=r"events\.jsonl: line 6"):
        run(tiny, unfinished, resume=True)


def test_a_damaged_path_is_measured_anew(tiny, unfinished, finished):
    (unfinished / "path.npz").write_bytes(b"PK\x03\x04")
    run(tiny, unfinished, resume=True)
    assert (unfinished / ADAPTER).read_bytes() == (finished / ADAPTER).read_bytes()


@given(data=st.data())
def test_any_bytes_are_a_checkpoint_or_an_input_error(data, finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    whole = (finished / FILE).read_bytes()
    if data.draw(st.booleans()):
        damaged = data.draw(st.binary(max_size=64)) + whole[: data.draw(st.integers(0, 3000))]
    else:
        place = data.draw(st.integers(0, 3000))
        damaged = whole[:place] + data.draw(st.binary(min_size=1, max_size=8)) + whole[place + 8 :]
    (folder / FILE).write_bytes(damaged)
    with contextlib.suppress(InputError):
        Checkpoint.load(folder)
    shutil.rmtree(folder)


def test_a_checkpoint_is_read_as_it_was_written(finished, tmp_path):
    kept = {"3/residual/model.a": np.ones((2, 3), np.float32)}
    state = replace(Checkpoint.load(finished), clients=kept)
    state.save(tmp_path)
    again = Checkpoint.load(tmp_path)
    assert (again.round_number, again.clock_s, again.event) == (3, state.clock_s, state.event)
    assert again.adapter.keys() == state.adapter.keys()
    assert all((again.adapter[name] == state.adapter[name]).all() for name in state.adapter)
    assert again.clients.keys() == kept.keys()
    assert (again.clients["3/residual/model.a"] == 1).all()
    assert Checkpoint.load(tmp_path / "nowhere") is None
