"""The round before the first: what this machine computes, and what Flower takes beside computing and sending.

Everybody trains the whole model for as many steps as in a round, at once, without quotas and on unshaped
links. Nothing of it is merged.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid

from airtune.costs.count import step_flops
from airtune.errors import AirtuneError
from airtune.federation.exchange import nodes_by_client
from airtune.federation.messages import Assignment
from airtune.federation.overdue import Overdue
from airtune.federation.setting import Setting
from airtune.federation.trainings import train_clients
from airtune.pruning.adapters import Adapter, initial_adapter
from airtune.randomness import generator
from airtune.testbed.client_app import CALIBRATION, computing
from airtune.testbed.wire import Wire


@dataclass(frozen=True)
class Calibration:
    """What a testbed is like.

    Attributes:
        core_flops_per_s: of one thread in training, a processor second.
        overhead_s: (clients,) what a client's round takes beside downloading, computing and uploading.
        reading_s: what the server takes from when the last update has passed its link until it has read all.
        framing: (down, up) bytes that links carry for every byte of the adapter, with all headers and what
            Flower says beside it.
    """

    core_flops_per_s: float
    overhead_s: npt.NDArray[np.float64]
    reading_s: float
    framing: tuple[float, float]


def calibrate(grid: Grid, setting: Setting, home: Path, wire: Wire) -> Calibration:
    """Play the round.

    Raises:
        AirtuneError: a client has failed; says which, and why.
    """
    scenario, full = setting.scenario, setting.measured.path.full
    ids = [member.id for member in scenario.members()]
    nodes, _ = nodes_by_client(grid, ids)
    whole = setting.measured.path.reduction(0.0)
    asked = {
        client: Assignment(CALIBRATION, scenario.training.steps, whole, 0.0, {}) for client in range(len(ids))
    }
    done_at: dict[str, float] = {}

    def on_client(client: str, loss: float | None) -> None:
        done_at[client] = time.monotonic()

    wire.start()
    begin = time.monotonic()
    adapter = _unlike_arrays(setting)
    done = train_clients(grid, nodes, setting, adapter, asked, on_client, Overdue(None))
    wire.stop()
    for client, why in done.failed.items():
        raise AirtuneError(f"testbed: client {ids[client]}: {why}")
    told = [computing(home, CALIBRATION, client) for client in range(len(ids))]
    flops = sum(step_flops(whole.shape(full), step) for facts in done.facts.values() for step in facts.work)
    overhead, carried, last = [], np.zeros(2), begin
    for client, name in enumerate(ids):
        down = wire.down(client, begin, told[client].begin)
        up = wire.up(client, told[client].end, done_at[name])
        computed = told[client].end - told[client].begin
        overhead.append(up.end - begin - down.seconds - computed - up.seconds)
        last = max(last, up.end)
        carried += [down.bytes, up.bytes]
    facts = done.facts.values()
    framing = carried / [sum(one.bytes_down for one in facts), sum(one.bytes_up for one in facts)]
    speed = flops / sum(one.cpu_s for one in told)
    reading_s = max(done_at.values()) - last
    return Calibration(speed, np.array(overhead), reading_s, (float(framing[0]), float(framing[1])))


def _unlike_arrays(setting: Setting) -> Adapter:
    """An adapter of no two arrays alike: Flower sends those once, and every B begins as zeros."""
    adapter = initial_adapter(setting.measured.path.full, setting.scenario.seed)
    noise = generator(setting.scenario.seed, "calibration")
    scale = np.float32(1e-6)
    return {
        name: array + scale * noise.standard_normal(array.shape, dtype=np.float32)
        for name, array in adapter.items()
    }
