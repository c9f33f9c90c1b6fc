"""Whole testbeds with the tiny model: what they learn and measure, and that they leave nothing."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from superlink import marked

from airtune import AirtuneError, load_scenario
from airtune.observer import Observer
from airtune.results.events import read_events
from airtune.results.testbed_facts import FACTS_FILE, Facts
from airtune.results.testbed_rows import PARTS, ROWS_FILE, read_rows, write_rows
from airtune.scenario_file import dump_scenario
from airtune.testbed.cpu_groups import PREFIX
from airtune.testbed.machine import check_machine
from airtune.testbed.network import server_address
from airtune.testbed.run import PORT, run_on_testbed

ROOT = Path(__file__).parents[2]
ADAPTER = "adapter/adapter_model.safetensors"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def place() -> Path:
    try:
        return check_machine()
    except AirtuneError as error:
        pytest.skip(str(error))


def groups(place: Path, process: int) -> list[Path]:
    return list(place.glob(f"{PREFIX}*-{process}"))


def rounds_of(folder: Path) -> list[dict]:
    return [event for event in read_events(folder / "events.jsonl") if event["event"] == "round"]


# The scenario in a folder, each of its groups of one client with the overhead of the start event.
SIMULATE = """
import sys, airtune
from pathlib import Path
from airtune.results.events import read_events
real = Path(sys.argv[1])
scenario, (start, *_) = airtune.load_scenario(real / "scenario.yaml"), read_events(real / "events.jsonl")
groups = [
    group.model_dump() | {"overhead": client["overhead_s"]}
    for group, client in zip(scenario.clients, start["clients"], strict=True)
]
airtune.run(airtune.Scenario.model_validate(scenario.model_dump() | {"clients": groups}), sys.argv[2])
"""


def simulated(real: Path, out: Path) -> bytes:
    """The adapter of the same run in one process."""
    subprocess.run(
        [sys.executable, "-c", SIMULATE, str(real), str(out)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
    )
    return (out / ADAPTER).read_bytes()


@pytest.fixture(scope="module")
def small():
    tiny = load_scenario(ROOT / "examples" / "tiny.yaml")
    clients = [group.model_dump() | {"count": 1} for group in tiny.clients]
    return type(tiny).model_validate(tiny.model_dump() | {"clients": clients, "rounds": 2})


@pytest.fixture(scope="module")
def owing(small):
    """With uploads that owe something, which the calibration must not touch."""
    return type(small).model_validate(small.model_dump() | {"payload": {"format": "int4", "keep": 0.3}})


def test_it_learns_what_one_process_does_and_measures_every_client_and_round(place, small, tmp_path):
    before = psutil.Process().children(recursive=True)
    run_on_testbed(small, tmp_path / "real", Observer())
    assert psutil.Process().children(recursive=True) == before
    assert groups(place, os.getpid()) == []
    assert (tmp_path / "real" / ADAPTER).read_bytes() == simulated(tmp_path / "real", tmp_path / "simulated")
    rows, facts = read_rows(tmp_path / "real"), Facts.read(tmp_path / "real")
    assert [(row.round, row.client) for row in rows] == [(n, c) for n in (1, 2) for c in ("slow", "fast")]
    told = [client for event in rounds_of(tmp_path / "real") for client in event["clients"]]
    overhead_s = {client.id: client.overhead_s for client in facts.clients}
    for row, client in zip(rows, told, strict=True):
        assert row.upload_predicted_s == pytest.approx(client["upload_s"] * facts.factor, abs=1e-3)
        assert row.overhead_predicted_s == pytest.approx(overhead_s[row.client], abs=1e-3)
        total_s = sum(client[f"{part}_s"] for part in PARTS)
        assert row.round_predicted_s == pytest.approx(total_s * facts.factor, abs=1e-3)
        assert row.bytes_up_wire > row.bytes_up > 0
        # Nothing passes faster than the link is, which carries more than the adapter.
        assert row.upload_measured_s > 0.8 * row.upload_predicted_s
        assert row.compute_measured_s > 0
        parts = [row.measured(part) for part in PARTS]
        assert row.round_measured_s == pytest.approx(sum(parts), abs=0.01)
        assert row.all_measured_s >= row.round_measured_s


def test_a_testbed_that_was_killed_leaves_nothing_and_goes_on(place, owing, tmp_path):
    mark, out = f"airtune-test-{os.getpid()}", tmp_path / "run"
    (tmp_path / "owing.yaml").write_text(dump_scenario(owing))
    command = ["testbed", str(tmp_path / "owing.yaml"), "--out", str(out)]
    parent = subprocess.Popen(
        [sys.executable, "-m", "airtune.cli", *command], env=os.environ | {"AIRTUNE_TEST": mark}
    )
    try:
        while not (out / ROWS_FILE).exists() and parent.poll() is None:
            time.sleep(0.2)
        assert len(groups(place, parent.pid)) == 1
        networks = {os.readlink(f"/proc/{one.pid}/ns/net") for one in marked(mark)}
        assert len(networks) == 1 + 1 + 2  # the caller's, the server's and the clients'
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    latest = time.monotonic() + 20
    while (marked(mark) or groups(place, parent.pid)) and time.monotonic() < latest:
        time.sleep(0.2)
    assert marked(mark) == []
    assert groups(place, parent.pid) == []
    before, facts = read_rows(out), (out / FACTS_FILE).read_bytes()
    assert [row.round for row in before] == [1, 1]
    write_rows(out, [*before, *(replace(row, round=2) for row in before)])  # as if killed a moment later
    run_on_testbed(owing, out, Observer(), resume=True)
    assert (out / FACTS_FILE).read_bytes() == facts
    after = read_rows(out)
    assert after[:2] == before
    assert [row.round for row in after[2:]] == [2, 2]
    assert not {row.all_measured_s for row in after[2:]} & {row.all_measured_s for row in before}
    assert (out / ADAPTER).read_bytes() == simulated(out, tmp_path / "simulated")


class Killer(Observer):
    """Kills the node of a client once a round is planned."""

    def __init__(self, client: int, round_number: int) -> None:
        self.client, self.round_number, self.killed = client, round_number, 0

    def on_plan(self, round_number, rates) -> None:
        if round_number != self.round_number:
            return
        for one in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):  # Flower's processes come and go
                words = one.cmdline()  # the keeper has all of these in a single one
                superlink = f"{server_address(self.client)}:{PORT}"
                if "airtune.federation.warm_node" in words and superlink in words:
                    one.kill()
                    self.killed += 1


def test_a_node_that_is_killed_is_named_and_the_rounds_go_on_without_it(place, small, tmp_path):
    before, killer = psutil.Process().children(recursive=True), Killer(1, 2)
    longer = small.model_copy(update={"rounds": 3})
    run_on_testbed(longer, tmp_path / "run", killer, deadline_s=150)
    assert killer.killed == 1
    assert psutil.Process().children(recursive=True) == before
    assert groups(place, os.getpid()) == []
    first, second, third = rounds_of(tmp_path / "run")
    assert "lost" not in first
    assert [row["id"] for row in second["lost"]] == [row["id"] for row in third["lost"]] == ["fast"]
    assert third["lost"][0]["reason"] == "no node that could be reached"
    told = [(row.round, row.client) for row in read_rows(tmp_path / "run")]
    assert told == [(1, "slow"), (1, "fast"), (2, "slow"), (3, "slow")]


def test_an_error_of_the_server_is_raised_here(place, small, tmp_path):
    task = small.task.model_dump() | {"data": str(tmp_path / "gone.jsonl")}
    wrong = type(small).model_validate(small.model_dump() | {"task": task})
    with pytest.raises(AirtuneError, match=r"gone\.jsonl"):
        run_on_testbed(wrong, tmp_path / "run", Observer())
    assert not (tmp_path / "run" / "scenario.yaml").exists()
    assert groups(place, os.getpid()) == []
