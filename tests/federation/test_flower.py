"""Whole runs on Flower's own engines: what they learn, tell and leave behind; and that they end with us."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from airtune import AirtuneError, Scenario, load_scenario, run
from airtune.observer import Observer
from airtune.results.events import read_events

ROOT = Path(__file__).parents[2]
ADAPTER = "adapter/adapter_model.safetensors"
ENGINES = ["flower-simulation", "flower-deployment"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


@pytest.fixture(scope="module")
def small(tiny: Scenario) -> Scenario:
    """Two clients and two rounds, with uploads that still owe something: clients have to remember it."""
    clients = [group.model_dump() | {"count": 1} for group in tiny.clients]
    payload = {"format": "int4", "keep": 0.3}
    return Scenario.model_validate(tiny.model_dump() | {"clients": clients, "rounds": 2, "payload": payload})


@pytest.fixture(scope="module")
def straight(small: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(small, tmp_path_factory.mktemp("straight") / "run")


class Listener(Observer):
    """Hears what the run tells, and stops it as Ctrl-C does after a round if it is to."""

    def __init__(self, stop_after: int = 0) -> None:
        self.heard: list[object] = []
        self.stop_after = stop_after

    def on_start(self, event, rounds_done) -> None:
        self.heard.append(("start", rounds_done))

    def on_client(self, number, client, loss) -> None:
        self.heard.append((number, client))

    def on_round(self, event) -> None:
        self.heard.append(event["round"])
        if event["round"] == self.stop_after:
            raise KeyboardInterrupt


def needs(engine: str) -> None:
    if engine == "flower-simulation":
        pytest.importorskip("ray")


def descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def timeless(folder: Path) -> list[dict]:
    events = [event for event in read_events(folder / "events.jsonl") if event["event"] != "resume"]
    return [{key: value for key, value in event.items() if key != "elapsed_s"} for event in events]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_learns_the_same_also_after_a_resume(engine, small, straight, tmp_path):
    needs(engine)
    before, first, second = descendants(), Listener(stop_after=1), Listener()
    with pytest.raises(KeyboardInterrupt):
        run(small, tmp_path / "run", observer=first, engine=engine)
    assert descendants() == before
    assert first.heard[0] == ("start", 0)
    assert set(first.heard[1:]) == {(1, "slow"), (1, "fast"), 1}
    run(small, tmp_path / "run", resume=True, observer=second, engine=engine)
    assert descendants() == before
    assert second.heard[0] == ("start", 1)
    assert set(second.heard[1:]) == {(2, "slow"), (2, "fast"), 2}
    assert (tmp_path / "run" / ADAPTER).read_bytes() == (straight / ADAPTER).read_bytes()
    assert timeless(tmp_path / "run") == timeless(straight)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "clients",  # what they keep is theirs, in the process it is in the checkpoint
        *(path.name for path in straight.iterdir()),
    }
    run(small, tmp_path / "run", resume=True, engine=engine)  # there is nothing left to do


def test_an_error_of_the_server_is_raised_here(small, tmp_path):
    task = small.task.model_dump() | {"data": str(tmp_path / "gone.jsonl")}
    wrong = Scenario.model_validate(small.model_dump() | {"task": task})
    with pytest.raises(AirtuneError, match=r"gone\.jsonl"):
        run(wrong, tmp_path / "run", engine="flower-deployment")
    assert not (tmp_path / "run").exists()


def marked(mark: str) -> list[psutil.Process]:
    """All processes of this machine with this word in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if mark in process.environ().values() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            pass
    return found


def test_nothing_outlives_a_parent_that_is_killed(tmp_path):
    mark = f"airtune-test-{os.getpid()}"
    scenario, out = str(ROOT / "examples" / "tiny.yaml"), str(tmp_path / "run")
    command = [sys.executable, "-m", "airtune.cli", "run", scenario, "--out", out]
    parent = subprocess.Popen(
        [*command, "--engine", "flower-deployment"], env=os.environ | {"AIRTUNE_TEST": mark}
    )
    events = tmp_path / "run" / "events.jsonl"
    while not events.exists() and parent.poll() is None:
        time.sleep(0.2)
    assert len(marked(mark)) > 6  # keeper, SuperLink, four SuperNodes and what they have started
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    latest = time.monotonic() + 20
    while marked(mark) and time.monotonic() < latest:
        time.sleep(0.2)
    assert marked(mark) == []


def test_flwr_run_takes_the_project_as_it_is(tmp_path):
    """A SuperLink that somebody else has started, and nothing of `airtune run`."""
    pytest.importorskip("ray")
    from airtune.federation.flower import HOST, QUIET, _free_ports

    (port,) = _free_ports(1)
    home = tmp_path / "flwr"
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "mine"\n[superlink.mine]\naddress = "{HOST}:{port}"\ninsecure = true\n'
    )
    binaries = Path(sys.executable).parent
    search = os.pathsep.join([str(binaries), os.environ["PATH"]])
    environment = os.environ | QUIET | {"FLWR_HOME": str(home), "PATH": search, "OMP_NUM_THREADS": "1"}
    superlink = subprocess.Popen(
        [binaries / "flower-superlink", "--insecure", "--simulation", "--host", HOST, "--port", str(port)],
        env=environment,
        cwd=tmp_path,
    )
    try:
        command = [binaries / "flwr", "run", ROOT, "mine", "--stream"]
        command += ["--federation-config", "num-supernodes=4 client-resources-num-cpus=1"]
        for _ in range(100):
            ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if ran.returncode == 0:
                break
            time.sleep(0.5)  # the SuperLink is not up yet
        summary = json.loads((tmp_path / "runs" / "tiny-joint" / "summary.json").read_text())
        assert summary["rounds"] == load_scenario(ROOT / "examples" / "tiny.yaml").rounds
    finally:
        started = [superlink, *psutil.Process(superlink.pid).children(recursive=True)]
        for process in started:
            process.kill()
        superlink.wait()
