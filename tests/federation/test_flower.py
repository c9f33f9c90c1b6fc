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
from superlink import SuperLink, marked

from airtune import AirtuneError, Scenario, load_scenario, run
from airtune.federation.commands import HOST
from airtune.observer import Observer
from airtune.results.events import read_events
from airtune.scenario_file import dump_scenario

ROOT = Path(__file__).parents[2]
ADAPTER = "adapter/adapter_model.safetensors"
ENGINES = ["flower-simulation", "flower-deployment"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


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
def test_every_engine_learns_the_same_also_after_a_resume(engine, pair, straight, tmp_path):
    needs(engine)
    before, first, second = descendants(), Listener(stop_after=1), Listener()
    with pytest.raises(KeyboardInterrupt):
        run(pair, tmp_path / "run", observer=first, engine=engine)
    assert descendants() == before
    assert first.heard[0] == ("start", 0)
    assert set(first.heard[1:]) == {(1, "slow"), (1, "fast"), 1}
    run(pair, tmp_path / "run", resume=True, observer=second, engine=engine)
    assert descendants() == before
    assert second.heard[0] == ("start", 1)
    assert set(second.heard[1:]) == {(2, "slow"), (2, "fast"), 2}
    assert (tmp_path / "run" / ADAPTER).read_bytes() == (straight / ADAPTER).read_bytes()
    assert timeless(tmp_path / "run") == timeless(straight)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "clients",  # what they keep is theirs, in the process it is in the checkpoint
        *(path.name for path in straight.iterdir()),
    }
    run(pair, tmp_path / "run", resume=True, engine=engine)  # there is nothing left to do


class Killer(Observer):
    """Kills the node of the last client, and all that it has started, after the first round."""

    def on_round(self, event) -> None:
        if event["round"] == 1:
            living = [one for one in descendants() if one.status() != psutil.STATUS_ZOMBIE]
            node, *_ = (one for one in living if "partition-id=1 num-partitions=2" in one.cmdline())
            for process in [*node.children(recursive=True), node]:
                process.kill()


def test_a_run_goes_on_without_a_node_that_is_killed(pair, tmp_path):
    folder = run(pair, tmp_path / "run", observer=Killer(), engine="flower-deployment")
    first, second = (event for event in read_events(folder / "events.jsonl") if event["event"] == "round")
    assert "lost" not in first
    assert [client["id"] for client in second["lost"]] == ["fast"]
    assert [row["id"] for row in second["clients"]] == ["slow"]
    assert descendants() == []


def test_an_error_of_the_server_is_raised_here(pair, tmp_path):
    task = pair.task.model_dump() | {"data": str(tmp_path / "gone.jsonl")}
    wrong = Scenario.model_validate(pair.model_dump() | {"task": task})
    with pytest.raises(AirtuneError, match=r"gone\.jsonl"):
        run(wrong, tmp_path / "run", engine="flower-deployment")
    assert not (tmp_path / "run").exists()


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
    pytest.importorskip("ray")
    with SuperLink(tmp_path, "--insecure", "--simulation") as superlink:
        nodes = "num-supernodes=4 client-resources-num-cpus=1"
        superlink.flwr("run", str(ROOT), "mine", "--stream", "--federation-config", nodes)
    summary = json.loads((tmp_path / "runs" / "tiny-joint" / "summary.json").read_text())
    assert summary["rounds"] == load_scenario(ROOT / "examples" / "tiny.yaml").rounds


def test_encrypted_and_with_registered_nodes_alone(pair, tmp_path):
    """With the keys of the documented script. A stranger's node, which is there first, takes no part.

    The nodes have loaded other data than the run is about.
    """
    one_round, others = pair.model_copy(update={"rounds": 1}), pair.model_copy(update={"seed": 99})
    keys = tmp_path / "keys"
    subprocess.run([ROOT / "examples" / "flower-keys.sh", keys, HOST, "3"], check=True)
    again = subprocess.run([ROOT / "examples" / "flower-keys.sh", keys, HOST, "3"], check=False)
    assert again.returncode == 2
    assert all(file.stat().st_mode & 0o077 == 0 for file in keys.iterdir())
    files = {"ca": "ca.crt", "cert": "superlink.crt", "key": "superlink.key"}
    options = [
        f"--ssl-{'ca-cert' if name == 'ca' else name}file={keys / file}" for name, file in files.items()
    ]
    connection = f'root-certificates = "{keys / "ca.crt"}"'
    off = "--disable-runtime-dependency-installation"
    with SuperLink(tmp_path, *options, "--enable-supernode-auth", off, connection=connection) as superlink:

        def node(client: str, key: str) -> subprocess.Popen[bytes]:
            certificates = ["--root-certificates", str(keys / "ca.crt")]
            own = [*certificates, "--auth-supernode-private-key", str(keys / key)]
            return superlink.node(others, client, *own)

        for client in range(2):
            superlink.flwr("supernode", "register", str(keys / f"node-{client}.pub"), "mine")
        assert node("slow", "node-2").wait(timeout=60) == 1
        for client, key in (("slow", "node-0"), ("fast", "node-1")):
            node(client, key)
        (tmp_path / "run.toml").write_text(
            f"scenario = {json.dumps(dump_scenario(one_round))}\nout = {json.dumps(str(tmp_path / 'run'))}\n"
        )
        superlink.flwr("run", str(ROOT), "mine", "--stream", "--run-config", str(tmp_path / "run.toml"))
    straight = run(one_round, tmp_path / "straight")
    assert (tmp_path / "run" / ADAPTER).read_bytes() == (straight / ADAPTER).read_bytes()
