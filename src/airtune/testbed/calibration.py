"""The round before the first: what this machine computes, and what Flower takes beside computing and sending.

Everybody trains the whole model for as many steps as in a round, at once, without quotas and on fast links.
Nothing of it is merged.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from flwr.serverapp import Grid

from airtune.costs.count import step_flops
from airtune.errors import AirtuneError
from airtune.federation.messages import Assignment
from airtune.federation.overdue import Overdue
from airtune.federation.setting import Setting
from airtune.federation.trainings import train_clients
from airtune.pruning.adapters import initial_adapter
from airtune.results.testbed_facts import ClientFacts, Facts
from airtune.testbed.client_app import CALIBRATION, computing
from airtune.testbed.cpu_groups import own_cores
from airtune.testbed.links import Links
from airtune.testbed.pace import choose_pace
from airtune.testbed.wire import Wire

POLL_S = 3.0  # a SuperNode asks so often whether there is a message, and so waits for half of it on average


FAST = 100e6  # bit/s; on links that nothing shapes 10 to 17 % came on top of the adapter instead of 5


def calibrate(
    grid: Grid, nodes: Mapping[int, int], setting: Setting, home: Path, links: Links, wire: Wire
) -> Facts:
    """Play the round, and choose a pace at which this machine can be all devices.

    Args:
        nodes: of all clients, from `nodes_by_client`.

    Raises:
        AirtuneError: a client has failed, says which, and why; or devices are too unlike.
    """
    members, full = setting.scenario.members(), setting.measured.path.full
    whole, steps = setting.measured.path.reduction(0.0), setting.scenario.training.steps
    asked = {client: Assignment(CALIBRATION, steps, whole, 0.0, {}) for client in range(len(members))}
    done_at: dict[str, float] = {}

    def on_client(client: str, loss: float | None) -> None:
        done_at[client] = time.monotonic()

    for client in range(len(members)):
        links.shape(client, FAST, FAST)
    wire.start()
    begin = time.monotonic()
    adapter = initial_adapter(full, setting.scenario.seed)
    done = train_clients(grid, nodes, setting, adapter, asked, on_client, Overdue(None))
    wire.stop()
    for client, why in done.failed.items():
        raise AirtuneError(f"testbed: client {members[client].id}: {why}")
    told = [computing(home, CALIBRATION, client) for client in range(len(members))]
    flops = sum(step_flops(whole.shape(full), step) for facts in done.facts.values() for step in facts.work)
    overhead, carried, last = [], np.zeros(2), begin
    for client, member in enumerate(members):
        down = wire.down(client, begin, told[client].begin)
        up = wire.up(client, told[client].end, done_at[member.id])
        overhead.append(POLL_S / 2 + told[client].begin - down.end + up.begin - told[client].end)
        last = max(last, up.end)
        carried += [down.bytes, up.bytes]
    facts = done.facts.values()
    framing = carried / [sum(one.bytes_down for one in facts), sum(one.bytes_up for one in facts)]
    speed = flops / sum(one.cpu_s for one in told)
    device_speeds = np.array([member.device.flops_per_s for member in members])
    pace = choose_pace(device_speeds, speed, own_cores())
    return Facts(
        factor=pace.factor,
        core_flops_per_s=speed,
        reading_s=max(0.0, max(done_at.values()) - last),
        framing_down=float(framing[0]),
        framing_up=float(framing[1]),
        clients=[
            ClientFacts(id=member.id, cores=float(cores), overhead_s=max(0.0, overhead_s))
            for member, cores, overhead_s in zip(members, pace.cores, overhead, strict=True)
        ],
    )
