"""Whole testbeds with the tiny model: what they learn and measure, and that they leave nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from superlink import marked

from airtune import AirtuneError, load_scenario
from airtune.observer import Observer
from airtune.results.events import read_events
from airtune.testbed.cpu_groups import PREFIX
from airtune.testbed.machine import check_machine
from airtune.testbed.rows import FACTS, read_rows
from airtune.testbed.run import run_on_testbed

ROOT = Path(__file__).parents[2]
ADAPTER = "adapter/adapter_model.safetensors"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


@pytest.fixture(scope="module")
def hierarchy() -> Path:
    try:
        return check_machine()
    except AirtuneError as error:
        pytest.skip(str(error))


def groups(hierarchy: Path, process: int) -> list[Path]:
    return list(hierarchy.glob(f"{PREFIX}{process}"))


@pytest.fixture(scope="module")
def small():
    tiny = load_scenario(ROOT / "examples" / "tiny.yaml")
    clients = [group.model_dump() | {"count": 1} for group in tiny.clients]
    return type(tiny).model_validate(tiny.model_dump() | {"clients": clients, "rounds": 2})


def test_it_learns_what_one_process_does_and_measures_every_client_and_round(hierarchy, small, tmp_path):
    before = psutil.Process().children(recursive=True)
    run_on_testbed(small, tmp_path / "real", Observer())
    assert psutil.Process().children(recursive=True) == before
    assert groups(hierarchy, os.getpid()) == []
    code = "import sys, airtune; airtune.run(airtune.load_scenario(sys.argv[1]), sys.argv[2])"
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "real" / "scenario.yaml"), str(tmp_path / "simulated")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
    )
    assert (tmp_path / "real" / ADAPTER).read_bytes() == (tmp_path / "simulated" / ADAPTER).read_bytes()
    rows, facts = read_rows(tmp_path / "real"), json.loads((tmp_path / "real" / FACTS).read_text())
    assert [(row.round, row.client) for row in rows] == [(n, c) for n in (1, 2) for c in ("slow", "fast")]
    events = [event for event in read_events(tmp_path / "real" / "events.jsonl") if event["event"] == "round"]
    told = [client for event in events for client in event["clients"]]
    for row, client in zip(rows, told, strict=True):
        assert row.upload_predicted_s == pytest.approx(client["upload_s"] * facts["factor"], abs=1e-3)
        assert row.bytes_up_wire > row.bytes_up > 0
        # Nothing passes faster than the link is, which carries more than the adapter.
        assert row.upload_measured_s > 0.8 * row.upload_predicted_s
        assert row.compute_measured_s > 0
        parts = [row.measured(phase) for phase in ("download", "compute", "upload", "overhead")]
        assert row.round_measured_s == pytest.approx(sum(parts), abs=0.01)
        assert row.all_measured_s >= row.round_measured_s


def test_nothing_outlives_a_parent_that_is_killed(hierarchy, tmp_path):
    mark = f"airtune-test-{os.getpid()}"
    scenario, out = str(ROOT / "examples" / "tiny.yaml"), str(tmp_path / "run")
    parent = subprocess.Popen(
        [sys.executable, "-m", "airtune.cli", "testbed", scenario, "--out", out],
        env=os.environ | {"AIRTUNE_TEST": mark},
    )
    try:
        while not (tmp_path / "run" / FACTS).exists() and parent.poll() is None:
            time.sleep(0.2)
        assert len(groups(hierarchy, parent.pid)) == 1
        networks = {os.readlink(f"/proc/{one.pid}/ns/net") for one in marked(mark)}
        assert len(networks) == 1 + 1 + 4  # the caller's, the server's and the clients'
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    latest = time.monotonic() + 20
    while (marked(mark) or groups(hierarchy, parent.pid)) and time.monotonic() < latest:
        time.sleep(0.2)
    assert marked(mark) == []
    assert groups(hierarchy, parent.pid) == []


def test_an_error_of_the_server_is_raised_here(hierarchy, small, tmp_path):
    task = small.task.model_dump() | {"data": str(tmp_path / "gone.jsonl")}
    wrong = type(small).model_validate(small.model_dump() | {"task": task})
    with pytest.raises(AirtuneError, match=r"gone\.jsonl"):
        run_on_testbed(wrong, tmp_path / "run", Observer())
    assert not (tmp_path / "run" / "scenario.yaml").exists()
    assert groups(hierarchy, os.getpid()) == []
