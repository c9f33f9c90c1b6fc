"""Drills on real processes: a run whose clients can be held in the midst of a round."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from superlink import SuperLink

from airtune import Scenario
from airtune.results.events import read_events
from airtune.scenario_file import dump_scenario

ADAPTER = "adapter/adapter_model.safetensors"
OFF = "--disable-runtime-dependency-installation"
FLEET = {"slow": 0, "fast": 1}

# Says when it trains, and in which process, and goes on once it may.
CLIENT = """
import os
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
        sign = Path(SIGNS, f"trains-{which}")
        sign.with_suffix(".new").write_text(str(os.getpid()))
        sign.with_suffix(".new").rename(sign)
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
        self.project, self.scenario = project, scenario

    def begin(self) -> None:
        """Start the run."""
        self.superlink.flwr("ls", "mine")  # until it is up
        self.run = self.superlink.start("flwr", "run", str(self.project), "mine", "--stream")

    def node(self, client: str, **how: Any) -> subprocess.Popen[bytes]:
        """Start a client's node, as users do: a warm one."""
        return self.superlink.node(self.scenario, client, "--insecure", **how)

    def hold(self, client: str, number: int) -> None:
        """Have a client wait in the midst of a round."""
        (self.signs / f"hold-{FLEET[client]}-{number}").touch()

    def let_go(self, client: str, number: int) -> None:
        """And go on."""
        (self.signs / f"hold-{FLEET[client]}-{number}").unlink()

    def until_it_trains(self, client: str, number: int) -> int:
        """Wait until it has got as far as that. Returns its process."""
        sign = self.signs / f"trains-{FLEET[client]}-{number}"
        self.until(sign.exists)
        return int(sign.read_text())

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
