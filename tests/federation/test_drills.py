"""Failure drills on real processes: what is killed, cut off or late is named, and nothing is half-merged."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from superlink import SuperLink, kill_all

from airtune import AirtuneError, Scenario, run
from airtune.observer import Observer
from airtune.results.events import read_events
from airtune.scenario_file import dump_scenario

ADAPTER = "adapter/adapter_model.safetensors"
OFF = "--disable-runtime-dependency-installation"
FLEET = {"slow": 0, "fast": 1}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


# -- A server that is killed -----------------------------------------------------------------------------


class Killer(Observer):
    """Kills a process of the run once its first round is over, or once the second has its first update."""

    def __init__(self, command: str, mid_round: bool) -> None:
        self.command, self.mid_round, self.killed = command, mid_round, 0

    def on_client(self, number, client, loss) -> None:
        if self.mid_round and number == 2:
            self.kill()

    def on_round(self, event) -> None:
        if not self.mid_round and event["round"] == 1:
            self.kill()

    def kill(self) -> None:
        for process in psutil.Process().children(recursive=True):
            if runs(process, self.command):
                process.kill()
                self.killed += 1


def runs(process: psutil.Process, command: str) -> bool:
    """Whether a process that is alive was started with this command."""
    try:
        return any(word.endswith(command) for word in process.cmdline()[:2])
    except psutil.Error:
        return False


@pytest.mark.parametrize("mid_round", [False, True])
@pytest.mark.parametrize("command", ["flwr-serverapp", "flower-superlink"])
def test_a_server_that_is_killed_goes_on_as_if_it_had_not_been(command, mid_round, pair, straight, tmp_path):
    killer = Killer(command, mid_round)
    with pytest.raises(AirtuneError, match="stopped before the run's end; see ") as error:
        run(pair, tmp_path / "run", observer=killer, engine="flower-deployment")
    shutil.rmtree(Path(str(error.value).split()[-1]).parent)
    assert killer.killed == 1
    assert psutil.Process().children() == []
    assert [event["round"] for event in rounds_of(tmp_path / "run")] == [1]
    assert not (tmp_path / "run" / ADAPTER).exists()
    run(pair, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / ADAPTER).read_bytes() == (straight / ADAPTER).read_bytes()


# -- Clients that fail -----------------------------------------------------------------------------------

# Says when it trains, and goes on once it may.
CLIENT = """
import time
from pathlib import Path

from flwr.clientapp import ClientApp

from airtune.federation.client_app import describe
from airtune.federation.client_round import answer
from airtune.learning.training import train as airtunes

app = ClientApp()
app.query()(describe)


@app.train()
def train(message, context):
    which = f"{context.node_config['partition-id']}-{message.metadata.group_id}"

    def held(*arguments):
        Path(SIGNS, f"trains-{which}").touch()
        while Path(SIGNS, f"hold-{which}").exists():
            time.sleep(0.1)
        return airtunes(*arguments)

    return answer(message, context, held)
"""


class Drill:
    """A run over a SuperLink with nodes of its own. Clients can be held in a round and let go."""

    def __init__(self, home: Path, scenario: Scenario, superlink: SuperLink, **config: object) -> None:
        self.out, self.signs, self.superlink = home / "run", home / "signs", superlink
        self.signs.mkdir()
        project = home / "project"
        project.mkdir()
        (project / "drill.py").write_text(f"SIGNS = {str(self.signs)!r}\n{CLIENT}")
        values = {"scenario": dump_scenario(scenario), "out": str(self.out), "resume": False}
        values |= {"budget": "", "deadline": "", "progress": "", "state": ""} | config
        lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())
        (project / "pyproject.toml").write_text(
            '[project]\nname = "drill"\nversion = "1.0.0"\ndescription = "A drill"\nlicense = "Apache-2.0"\n'
            '[tool.flwr.app]\npublisher = "airtune"\n[tool.flwr.app.components]\n'
            'serverapp = "airtune.federation.flower_app:app"\nclientapp = "drill:app"\n'
            f"[tool.flwr.app.config]\n{lines}\n"
        )
        self.project = project

    def begin(self) -> None:
        """Start the run."""
        self.superlink.flwr("ls", "mine")  # until it is up
        self.run = self.superlink.start("flwr", "run", str(self.project), "mine", "--stream")

    def hold(self, client: str, number: int) -> None:
        """Have a client wait in the midst of a round."""
        (self.signs / f"hold-{FLEET[client]}-{number}").touch()

    def let_go(self, client: str, number: int) -> None:
        """And go on."""
        (self.signs / f"hold-{FLEET[client]}-{number}").unlink()

    def until_it_trains(self, client: str, number: int) -> None:
        """Wait until it has got as far as that."""
        self.until((self.signs / f"trains-{FLEET[client]}-{number}").exists)

    def finish(self) -> list[dict]:
        """The rounds of the run, once it has ended."""
        self.until((self.out / "summary.json").exists)
        return rounds_of(self.out)

    def until(self, there: Callable[[], bool]) -> None:
        """Wait for something that has to come before the run's end."""
        while not there():
            ended = self.run.poll() is not None
            time.sleep(0.1)
            assert there() or not ended, "the run has ended before"


@contextmanager
def drill(
    home: Path, scenario: Scenario, rounds: int, host: str = "127.0.0.1", **config: object
) -> Iterator[Drill]:
    """A `Drill` of so many rounds, without its nodes."""
    scenario = scenario.model_copy(update={"rounds": rounds})
    with SuperLink(home, "--insecure", OFF, host=host) as superlink:
        yield Drill(home, scenario, superlink, state=str(home / "state"), **config)


def rounds_of(folder: Path) -> list[dict]:
    return [event for event in read_events(folder / "events.jsonl") if event["event"] == "round"]


def lost_of(event: dict) -> dict[str, str]:
    return {row["id"]: row["reason"] for row in event.get("lost", [])}


def kill(node: subprocess.Popen[bytes], command: str) -> None:
    """Kill what a SuperNode has started with this command."""
    for one in psutil.Process(node.pid).children(recursive=True):
        if runs(one, command):
            one.kill()


def test_a_client_that_is_killed_while_it_trains_is_lost_for_that_round(pair, tmp_path):
    """First the process that trains, then its node with it, in whose place another one comes."""
    with drill(tmp_path, pair, 3) as played:
        for number in (1, 2):
            played.hold("fast", number)
        played.superlink.node(0, "--insecure")
        node = played.superlink.node(1, "--insecure")
        played.begin()
        played.until_it_trains("fast", 1)
        kill(node, "flwr-clientapp")
        played.until_it_trains("fast", 2)
        kill_all(node)
        played.superlink.node(1, "--insecure")
        first, second, third = played.finish()
    assert lost_of(first).keys() == lost_of(second).keys() == {"fast"}
    assert [row["id"] for row in first["clients"]] == [row["id"] for row in second["clients"]] == ["slow"]
    assert lost_of(third) == {}


def test_a_late_reply_is_ignored_and_its_client_comes_back(pair, tmp_path):
    with drill(tmp_path, pair, 4, deadline="150") as played:
        for client, number in (("fast", 2), ("slow", 3)):
            played.hold(client, number)
        for client in FLEET.values():
            played.superlink.node(client, "--insecure")
        played.begin()
        played.until_it_trains("slow", 3)
        played.let_go("fast", 2)
        time.sleep(30)  # SuperNodes ask every few seconds for what there is to send
        played.let_go("slow", 3)
        first, second, third, fourth = played.finish()
    assert lost_of(first) == {}
    assert lost_of(second) == {"fast": "no reply within 150 s"}
    assert lost_of(third) == {"fast": "not asked, still at work on round 2"}
    assert fourth["late"] == [{"id": "fast", "round": 2}]
    assert [row["id"] for row in fourth["clients"]] == ["slow", "fast"]


def test_a_client_whose_disk_is_full_is_lost_until_there_is_room(pair, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("making a file system that can be full takes root")
    disk = tmp_path / "state" / "1"
    disk.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
    try:
        with drill(tmp_path, pair, 3) as played:
            for client in FLEET.values():
                played.superlink.node(client, "--insecure")
            played.hold("fast", 2)
            played.hold("fast", 3)
            played.begin()
            played.until_it_trains("fast", 2)
            with pytest.raises(OSError, match="No space left"):
                (disk / "full").write_bytes(bytes(2 << 20))
            played.let_go("fast", 2)
            played.until_it_trains("fast", 3)
            (disk / "full").unlink()
            played.let_go("fast", 3)
            first, second, third = played.finish()
    finally:
        subprocess.run(["umount", disk], check=True)
    assert lost_of(first) == lost_of(third) == {}
    assert lost_of(second).keys() == {"fast"}
    assert "No space left" in lost_of(second)["fast"]


# A clock that jumps once a file is there: Python's, which Flower and airtune ask for the time.
CLOCK = """
import datetime, os, time

ahead, true = float(os.environ["AHEAD"]), time.time


def off():
    return ahead if os.path.exists(os.environ["JUMPED"]) else 0.0


class Jumping(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)


time.time = lambda: true() + off()
datetime.datetime = Jumping
"""


@pytest.mark.parametrize("hours", [11, -24 * 365])
def test_a_client_whose_clock_jumps_holds_nobody_up(hours, pair, tmp_path):
    """Flower may take its task for dead, whose time was up by the new clock, or its node for gone."""
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(CLOCK)
    path = os.pathsep.join([str(tmp_path / "clock"), os.environ.get("PYTHONPATH", "")])
    jumped = tmp_path / "jumped"
    with drill(tmp_path, pair, 3, deadline="150") as played:
        played.superlink.node(0, "--insecure")
        own = {"PYTHONPATH": path, "AHEAD": str(hours * 3600), "JUMPED": str(jumped)}
        played.superlink.node(1, "--insecure", **own)
        played.hold("fast", 2)
        played.begin()
        played.until_it_trains("fast", 2)
        jumped.touch()
        played.let_go("fast", 2)
        first, *later = played.finish()
    assert lost_of(first) == {}
    for event in later:
        assert lost_of(event).keys() <= {"fast"}
        assert {row["id"] for row in event["clients"]} | lost_of(event).keys() == {"slow", "fast"}


# -- A link that drops -----------------------------------------------------------------------------------


@contextmanager
def other_network() -> Iterator[tuple[str, str, str]]:
    """A network namespace with one link to this one: its name, our end of the link, and our address there."""
    name, net = f"airtune-{os.getpid()}", f"10.213.{os.getpid() % 250}"
    ours, theirs = f"at{os.getpid()}a", f"at{os.getpid()}b"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        ip("addr", "add", f"{net}.1/30", "dev", ours)
        ip("link", "set", ours, "up")
        ip("-n", name, "addr", "add", f"{net}.2/30", "dev", theirs)
        ip("-n", name, "link", "set", theirs, "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield name, ours, f"{net}.1"
    finally:
        ip("link", "del", ours)  # it would outlive the name as long as a process is left in there
        ip("netns", "del", name)


@pytest.mark.parametrize("when", ["it trains", "it has trained"])
def test_a_link_that_drops_for_half_a_minute_costs_nothing(when, pair, straight, tmp_path):
    """While a client trains, or as its reply is due."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network of one's own takes root and iproute2")
    with other_network() as (name, link, host), drill(tmp_path, pair, 2, host, deadline="200") as played:
        played.superlink.node(0, "--insecure")
        played.superlink.node(1, "--insecure", within=["ip", "netns", "exec", name])
        played.hold("fast", 1)
        played.begin()
        played.until_it_trains("fast", 1)
        subprocess.run(["ip", "link", "set", link, "down"], check=True)
        if when == "it has trained":
            played.let_go("fast", 1)
        time.sleep(30)
        subprocess.run(["ip", "link", "set", link, "up"], check=True)
        if when == "it trains":
            played.let_go("fast", 1)
        first, second = played.finish()
    assert lost_of(first) == lost_of(second) == {}
    assert (tmp_path / "run" / ADAPTER).read_bytes() == (straight / ADAPTER).read_bytes()
