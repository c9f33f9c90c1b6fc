"""The ClientApp on a testbed: airtune's own, which trains on its quota of the processor and says how long."""

import copy
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from airtune.federation.client_app import describe
from airtune.testbed.cpu_groups import CpuGroups
from airtune.testbed.keeper import PRIORITY

app = ClientApp()
app.query()(describe)

CALIBRATION = 0  # the round before the first, in which nothing is learnt


@dataclass(frozen=True)
class Computing:
    """When a client trained, by the monotonic clock, which all processes share, and its processor seconds."""

    begin: float
    end: float
    cpu_s: float


@app.train()
def train(message: Message, context: Context) -> Message:
    """A client's part in a round."""
    from airtune.federation.client_round import answer
    from airtune.federation.messages import Assignment
    from airtune.learning import training

    config = context.run_config
    home, client = Path(str(config["home"])), int(context.node_config["partition-id"])
    number = int(Assignment.from_content(message.content).round_number)
    groups = CpuGroups(Path(str(config["groups"])))
    if number == CALIBRATION:  # what its upload leaves out is not owed to anybody
        context = copy.copy(context)  # Flower keeps its own for later messages
        context.run_config = config | {"state": str(home / "calibration")}

    def measured(*arguments: Any) -> training.Trained:
        with groups.inside(client):
            os.nice(PRIORITY)  # what carries messages goes first
            begin, cpu = time.monotonic(), time.process_time()
            try:
                return training.train(*arguments)
            finally:
                end, cpu_s = time.monotonic(), time.process_time() - cpu
                os.nice(-PRIORITY)
                _file(home, number, client).write_text(json.dumps(asdict(Computing(begin, end, cpu_s))))

    return answer(message, context, measured)


def computing(home: Path, number: int, client: int) -> Computing:
    """What a client has said of its training in a round."""
    return Computing(**json.loads(_file(home, number, client).read_text()))


def _file(home: Path, number: int, client: int) -> Path:
    return home / f"round-{number}-client-{client}.json"
