"""Runs with every payload, to the end: what is sent is counted, what is learnt is nearly the same."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, Message, RecordDict
from safetensors.numpy import load_file

from airtune import Scenario, run
from airtune.costs.count import download_bytes, upload_bytes
from airtune.costs.error import Gradients
from airtune.federation.client_app import app as client_app
from airtune.federation.exchange import nodes_by_client
from airtune.federation.grid import InProcessGrid
from airtune.federation.messages import Assignment
from airtune.federation.overdue import Overdue
from airtune.federation.round import plan_round
from airtune.federation.setting import Setting, make_setting
from airtune.federation.trainings import train_clients
from airtune.planning import Pace
from airtune.pruning.adapters import initial_adapter
from airtune.pruning.measured import measured_path
from airtune.results.events import read_events
from airtune.scenario import Payload
from airtune.scenario_file import dump_scenario

EXACT = {"format": "float32", "download": "float32"}
NOTHING_KNOWN = Gradients(np.ones(4), np.ones(4))  # of the clients' gradients


def changed(scenario: Scenario, **changes: object) -> Scenario:
    return Scenario.model_validate(scenario.model_dump() | changes)


def summary(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def exact(tiny, tmp_path_factory) -> Path:
    """A run whose messages lose nothing."""
    return run(changed(tiny, payload=EXACT), tmp_path_factory.mktemp("exact") / "run")


@pytest.mark.parametrize(
    ("payload", "behind"),  # how much of the loss that float32 takes away may be missing
    [
        ({"format": "bfloat16"}, 0.01),
        ({}, 0.01),
        ({"format": "int4"}, 0.03),
        ({"format": "float32", "keep": 0.5}, 0.1),
        ({"format": "int4", "keep": 0.25}, 0.2),
    ],
)
def test_every_payload_learns_and_is_counted(payload, behind, tiny, exact, finished, tmp_path):
    scenario = changed(tiny, payload=payload)
    folder = run(scenario, tmp_path / "run") if payload else finished
    full, lossy = summary(exact), summary(folder)
    assert lossy["bytes_down"] < 0.6 * full["bytes_down"]
    assert lossy["simulated_s"] < full["simulated_s"]
    learnt = full["loss_before"] - full["loss_after"]
    assert lossy["loss_after"] <= full["loss_after"] + behind * learnt
    path = measured_path(scenario).path
    for event in read_events(folder / "events.jsonl"):
        for row in event["clients"] if event["event"] == "round" else ():
            shape = path.reduction(row["prune"]).shape(path.full)
            assert row["bytes_up"] == upload_bytes(shape, scenario.payload)
            assert row["bytes_up"] < 0.6 * upload_bytes(shape, Payload(**EXACT))
            assert row["bytes_down"] == download_bytes(shape, scenario.payload)
            assert row["bytes_down"] < 0.6 * download_bytes(shape, Payload(**EXACT))


@pytest.mark.parametrize(("reduction", "criterion"), [("width", "lora_gradient"), ("depth", "taylor")])
def test_a_frozen_a_stays_as_it_was_drawn(reduction, criterion, tiny, finished, tmp_path):
    lora = tiny.lora.model_dump() | {"train_a": False}
    scenario = changed(tiny, reduction=reduction, criterion=criterion, lora=lora)
    folder = run(scenario, tmp_path / "run")
    start = initial_adapter(measured_path(scenario).path.full, scenario.seed)
    found = load_file(folder / "adapter" / "adapter_model.safetensors")
    for name, matrix in start.items():
        stayed = np.array_equal(found[f"base_model.model.{name}"], matrix)
        assert stayed == (".lora_A." in name), name
    frozen, full = summary(folder), summary(finished)
    assert frozen["loss_after"] < frozen["loss_before"] - 0.1
    assert frozen["bytes_down"] < 0.6 * full["bytes_down"]
    if reduction == "depth":
        assert frozen["bytes_up"] < 0.6 * full["bytes_up"]


def with_number(content: RecordDict, number: bytes) -> None:
    """Overwrite the first bytes of the first matrix: of a whole int4 matrix, its first scale."""
    record = content.array_records["adapter"]
    name = next(iter(record))
    array = record[name].numpy().copy()
    array[:4] = np.frombuffer(number, np.uint8)
    record[name] = Array(array)


def first_assignments(setting: Setting) -> Mapping[int, Assignment]:
    return plan_round(setting, NOTHING_KNOWN, Pace(), 1).assignments


def test_a_wrong_payload_is_blamed_on_its_client(tiny):
    scenario = changed(tiny, payload={"format": "int4"})
    setting = make_setting(scenario, measured_path(scenario))

    def tampering(message: Message, context: object) -> Message:
        reply = client_app(message, context)
        if message.metadata.message_type == "train":
            with_number(reply.content, np.float32("nan").tobytes())
        return reply

    grid = InProcessGrid(tampering, 4, {"scenario": dump_scenario(scenario)})
    nodes, _ = nodes_by_client(grid, [member.id for member in scenario.members()])
    adapter = initial_adapter(setting.measured.path.full, scenario.seed)
    expected = r"^an update whose matrix model\S+ has a scale that is negative or not"
    done = train_clients(
        grid, nodes, setting, adapter, first_assignments(setting), lambda client, loss: None, Overdue()
    )
    assert re.match(expected, done.failed[0])


def test_a_client_that_sends_another_format_is_refused(tiny):
    scenario = changed(tiny, payload={"format": "int4"})
    setting = make_setting(scenario, measured_path(scenario))
    grid = InProcessGrid(client_app, 4, {"scenario": dump_scenario(tiny)})
    nodes, _ = nodes_by_client(grid, [member.id for member in scenario.members()])
    adapter = initial_adapter(setting.measured.path.full, scenario.seed)
    expected = "^an update that is not the 6528 numbers in uint8"
    done = train_clients(
        grid, nodes, setting, adapter, first_assignments(setting), lambda client, loss: None, Overdue()
    )
    assert re.match(expected, done.failed[0])
