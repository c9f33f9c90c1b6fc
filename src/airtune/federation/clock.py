"""The simulated clock: a round's seconds from the bytes really sent and the steps really trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from airtune.costs.count import Workload, step_flops
from airtune.costs.round_time import ClientTime, clock_client, downlink_rates, uplink_rates
from airtune.costs.shapes import ModelShape
from airtune.federation.gradients import unknown
from airtune.federation.setting import Setting
from airtune.planning import Plan
from airtune.radio.channel import Channels
from airtune.scenario import Scenario


@dataclass(frozen=True)
class Work:
    """What one client did in a round: its sub-model, every step's size, and the bytes it moved."""

    shape: ModelShape
    steps: Sequence[Workload]
    bytes_down: int
    bytes_up: int

    @property
    def flops(self) -> float:
        return sum(step_flops(self.shape, step) for step in self.steps)


def clock_round(
    setting: Setting, number: int, channels: Channels, plan: Plan, work: Mapping[int, Work]
) -> dict[int, ClientTime]:
    """Simulated seconds of every client in `work`, on this round's channels and the plan's bandwidth.

    Args:
        number: of the round, from which on a client may be slow.
    """
    scenario = setting.scenario
    takes_part = np.isin(np.arange(len(plan.prune)), list(work))
    down, up = link_rates(scenario, channels, plan.bandwidth_hz, takes_part)
    members = scenario.members()
    return {
        client: clock_client(
            done.shape,
            done.steps,
            members[client].device.flops_per_s / scenario.faults.slowdown(members[client].names, number),
            (8.0 * done.bytes_down, 8.0 * done.bytes_up),
            (float(down[client]), float(up[client])),
            members[client].overhead_s,
        )
        for client, done in work.items()
    }


def link_rates(
    scenario: Scenario,
    channels: Channels,
    bandwidth_hz: npt.NDArray[np.float64],
    takes_part: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Download and upload rates of a round in bit/s, (clients,) each."""
    down = downlink_rates(scenario, channels, takes_part)
    return down, uplink_rates(scenario, channels, bandwidth_hz)


def clock_unplanned(setting: Setting, number: int, channels: Channels, work: Mapping[int, Work]) -> float:
    """Seconds this round would have taken with equal bandwidth and nothing pruned: method `fedit`.

    The clients train as many steps as long as they did, with all rows that their memory holds; one that was
    left out trains typical ones.
    """
    plan = setting.unplanned(channels, unknown(setting.scenario))
    path = setting.measured.path
    costs = {  # many clients have the same rate
        prune: setting.measured.costs(path.reduction(prune), setting.scenario.payload)
        for prune in set(plan.prune.tolist())
    }
    typical = [setting.measured.work] * setting.scenario.training.steps
    full = {}
    for client, prune in enumerate(plan.prune):
        reduction = path.reduction(float(prune))
        done = work[client].steps if client in work else typical
        steps = [replace(step, rows=setting.measured.work.rows * reduction.examples) for step in done]
        down, up = costs[float(prune)].download_bits, costs[float(prune)].upload_bits
        full[client] = Work(reduction.shape(path.full), steps, round(down / 8), round(up / 8))
    return max(time.total_s for time in clock_round(setting, number, channels, plan, full).values())
