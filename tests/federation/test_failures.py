"""Whole runs in which clients fail: they go on without them, say so, and lose nothing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ConfigRecord, Context, Error, Message, RecordDict
from stopping import Stop

from airtune import AirtuneError, Scenario, run
from airtune.errors import ArgumentError
from airtune.federation import flower, in_process
from airtune.federation.client_app import app as client_app
from airtune.federation.residual import CLIENT_FILES
from airtune.results.events import read_events
from airtune.scenario import Payload

ADAPTER = "adapter/adapter_model.safetensors"


class Saboteur:
    """The clients' app, but for client 2's replies in some rounds."""

    def __init__(self, spoil, rounds=(2,), clients=(2,)) -> None:
        self.spoil, self.rounds, self.clients = spoil, rounds, clients
        self.kept: dict[int, RecordDict] = {}

    def __call__(self, message: Message, context: Context) -> Message:
        reply = client_app(message, context)
        number, client = message.metadata.group_id, context.node_config["partition-id"]
        if message.metadata.message_type != "train" or client not in self.clients:
            return reply
        self.kept[int(number)] = reply.content
        if int(number) not in self.rounds:
            return reply
        spoilt = self.spoil(self, reply.content)
        if isinstance(spoilt, Error):
            return Message(spoilt, reply_to=message)
        return Message(spoilt, reply_to=message)


def dies(saboteur, content):
    return Error(code=5, reason="Error: Node Unavailable")


def replays(saboteur, content):
    return saboteur.kept[1]


def poisons(saboteur, content):
    record = content.array_records["adapter"]
    name = next(iter(record))
    return RecordDict(
        dict(content) | {"adapter": type(record)({**record, name: Array(record[name].numpy() * np.nan)})}
    )


def impersonates(saboteur, content):
    return RecordDict(dict(content) | {"origin": ConfigRecord({"client": 3, "round": 2})})


def exact(scenario: Scenario) -> Scenario:
    """With uploads in which any number of float32 may stand."""
    return scenario.model_copy(update={"payload": Payload(format="float32")})


def rounds_of(folder: Path) -> list[dict]:
    return [event for event in read_events(folder / "events.jsonl") if event["event"] == "round"]


@pytest.mark.parametrize(
    ("method", "spoil", "reason"),
    [
        ("joint", dies, "Error: Node Unavailable"),
        ("fedit", replays, "an update of round 1"),
        ("flexlora", poisons, "is not finite"),
        ("fedbuff", impersonates, "an update that says it is client 3's"),
    ],
)
def test_a_run_goes_on_without_a_client_and_names_it(method, spoil, reason, tiny, tmp_path, monkeypatch):
    scenario = exact(Scenario.model_validate(tiny.model_dump() | {"method": method}))
    monkeypatch.setattr(in_process, "client_app", Saboteur(spoil))
    first, second, third = rounds_of(run(scenario, tmp_path / "run"))
    assert [client["id"] for client in second["lost"]] == ["fast-0"]
    assert reason in second["lost"][0]["reason"]
    assert "fast-0" not in [row["id"] for row in second["clients"]]
    assert "lost" not in first
    assert "lost" not in third
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["rounds"] == 3


def test_a_round_without_any_update_ends_the_run_which_can_go_on(tiny, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(in_process, "client_app", Saboteur(dies, clients=range(4)))
    with pytest.raises(AirtuneError, match=r"^round 2: no update came; client slow-0: Error: Node.*fast-1"):
        run(tiny, tmp_path / "run")
    assert len(rounds_of(tmp_path / "run")) == 1
    monkeypatch.setattr(in_process, "client_app", client_app)
    run(tiny, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / ADAPTER).read_bytes() == (finished / ADAPTER).read_bytes()


def test_a_run_with_a_failure_resumes_to_what_it_would_have_been(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(in_process, "client_app", Saboteur(dies))
    straight = run(tiny, tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        run(tiny, tmp_path / "run", observer=Stop(2))
    run(tiny, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / ADAPTER).read_bytes() == (straight / ADAPTER).read_bytes()


def test_a_round_with_a_failure_is_no_lesson_for_other_runs(tiny, finished, tmp_path, monkeypatch):
    learnt = tmp_path / "learnt"
    monkeypatch.setattr(in_process, "client_app", Saboteur(dies))
    run(tiny, tmp_path / "failed", learnt=learnt)
    monkeypatch.setattr(in_process, "client_app", client_app)
    run(tiny, tmp_path / "run", learnt=learnt)
    assert (tmp_path / "run" / ADAPTER).read_bytes() == (finished / ADAPTER).read_bytes()


def test_a_client_whose_disk_misbehaves_is_left_out_until_it_is_mended(tiny, tmp_path):
    """What its uploads owe cannot be kept: its place is taken, or no file can be made, or it is damaged."""
    owing = Scenario.model_validate(tiny.model_dump() | {"payload": {"keep": 0.5}, "rounds": 4})
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(owing, folder, observer=Stop(1))
    kept = folder / CLIENT_FILES
    for client in "13":
        (kept / client).mkdir(parents=True)
    (kept / "0").write_text("no folder")
    (kept / "1" / "new").mkdir()
    (kept / "3" / "1.safetensors").write_bytes(b"no state")
    with pytest.raises(KeyboardInterrupt):
        run(owing, folder, resume=True, observer=Stop(2))
    second = rounds_of(folder)[-1]
    assert [row["id"] for row in second["clients"]] == ["fast-0"]
    reasons = {row["id"]: row["reason"] for row in second["lost"]}
    assert reasons.keys() == {"slow-0", "slow-1", "fast-1"}
    assert "Not a directory" in reasons["slow-0"] or "File exists" in reasons["slow-0"]
    assert "Is a directory" in reasons["slow-1"]
    assert "expected what a client of airtune keeps between rounds" in reasons["fast-1"]
    shutil.rmtree(kept)
    run(owing, folder, resume=True)
    assert all("lost" not in event for event in rounds_of(folder)[2:])


def test_an_adapter_of_no_use_is_not_kept(tiny, tmp_path, monkeypatch):
    """Every number is finite, as the server demands, but the model with them has no loss."""

    def blows_up(saboteur, content):
        record = content.array_records["adapter"]
        huge = {name: Array(np.full_like(array.numpy(), 3e38)) for name, array in record.items()}
        return RecordDict(dict(content) | {"adapter": type(record)(huge)})

    monkeypatch.setattr(in_process, "client_app", Saboteur(blows_up))
    with pytest.raises(AirtuneError, match="no finite test loss"):
        run(exact(tiny), tmp_path / "run")
    assert len(rounds_of(tmp_path / "run")) == 1


# -- Flower's engines, without starting them -----------------------------------------------------------


def test_an_engine_that_does_not_start_leaves_its_log_and_nothing_else(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(flower, "flower_command", lambda name: "false")
    with pytest.raises(AirtuneError, match="engine stopped before the run's end; see ") as error:
        run(tiny, tmp_path / "run", engine="flower-deployment")
    log = Path(str(error.value).split()[-1])
    assert "has ended with status 1" in log.read_text()
    shutil.rmtree(log.parent)
    assert not (tmp_path / "run").exists()


def test_what_an_engine_cannot_do_is_refused_before_it_is_started(tiny, finished, tmp_path, monkeypatch):
    with pytest.raises(ArgumentError, match="expected none beside an engine of Flower's"):
        run(tiny, tmp_path / "run", engine="flower-deployment", learnt=tmp_path / "learnt")
    with pytest.raises(AirtuneError, match="not empty"):
        run(tiny, finished, engine="flower-deployment")
    monkeypatch.setattr(flower, "find_spec", lambda name: None)
    with pytest.raises(AirtuneError, match=r"needs Ray: pip install 'airtune\[simulation\]'"):
        run(tiny, tmp_path / "run", engine="flower-simulation")
    assert not (tmp_path / "run").exists()
