"""Seconds of a client's round: predicted for the planner, and clocked from what was done and sent."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
import numpy.typing as npt

from airtune.costs.count import Workload, step_flops
from airtune.costs.curves import PathCurves, SubmodelCosts, convex_envelope
from airtune.costs.error import Gradients, in_fleet
from airtune.costs.shapes import ModelShape
from airtune.planning import ErrorPower, ErrorTable, Memory, Plan, Problem, Rounds
from airtune.radio.channel import Channels
from airtune.radio.rate import rate
from airtune.scenario import Scenario

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClientTime:
    """Simulated seconds of a client's round, one phase after the other.

    `overhead_s` is all that is none of the others: what a client takes to start and to load its model, say.
    """

    download_s: float
    overhead_s: float
    compute_s: float
    upload_s: float

    @property
    def total_s(self) -> float:
        return self.download_s + self.overhead_s + self.compute_s + self.upload_s

    def until(self, end_s: float) -> "ClientTime":
        """What is done of it so many seconds after its begin."""
        left_s, done = end_s, []
        for phase_s in astuple(self):
            done.append(min(phase_s, left_s))
            left_s -= done[-1]
        return ClientTime(*done)


def build_problem(
    scenario: Scenario,
    curves: PathCurves,
    channels: Channels,
    participates: Mask,
    known: Gradients,
    weight: Floats | None = None,
) -> Problem:
    """The planner's numbers for one round.

    Downloads happen before training, over an equal share of the cell's downlink, so they count as time
    that bandwidth cannot change: the part that shrinks with the sub-model joins `compute_s`, the rest
    `fixed_s`. So does a client's overhead.

    Args:
        channels: this round's, or the mean channels.
        participates: (clients,) who takes part; the others' downloads are not sent.
        known: of the clients' gradients.
        weight: (clients,) with which updates are merged; by default the scenario's.
    """
    members = scenario.members()
    speed = np.array([member.device.flops_per_s for member in members]) / scenario.training.steps
    downlink = downlink_rates(scenario, channels, participates)
    count = len(members)
    exponent = scenario.convergence.exponent
    alone = ErrorTable(*convex_envelope(curves.error.prune, curves.error.missed + curves.error.wrong))
    budget = np.array([member.memory for member in members])
    fits = curves.memory_bytes <= np.maximum(budget, curves.memory_bytes.min())[:, None]
    problem = Problem(
        ids=tuple(member.id for member in members),
        cell_ids=tuple(cell.id for cell in scenario.cells),
        cell=np.array([member.cell for member in members]),
        bandwidth_hz=np.array([cell.bandwidth for cell in scenario.cells]),
        weight=np.array([member.weight for member in members]) if weight is None else weight,
        snr_hz=channels.uplink_snr_hz,
        fixed_s=curves.flops.fixed / speed + curves.download_bits.fixed / downlink + _overhead_s(scenario),
        compute_s=curves.flops.prunable / speed + curves.download_bits.prunable / downlink,
        fixed_bits=np.full(count, curves.upload_bits.fixed),
        payload_bits=np.full(count, curves.upload_bits.prunable),
        prune_min=curves.prune[np.argmax(fits, axis=1)],
        prune_max=np.full(count, curves.prune[-1]),
        rounds=Rounds(
            scenario.convergence.base,
            scenario.convergence.penalty,
            alone if exponent is None else ErrorPower(exponent),
        ),
        # What a client's memory holds is known along the path, so its floor is exact; if nothing fits, the
        # planner says so.
        memory=Memory(budget, np.full(count, curves.memory_bytes.min()), np.zeros(count)),
        rate=scenario.radio.rate,
    )
    if exponent is not None:
        return problem
    least, steps = scenario.convergence.anchors, scenario.training.steps
    return in_fleet(problem, participates, curves.error, known, least, steps)


def bound_to(
    problem: Problem,
    scenario: Scenario,
    channels: Channels,
    participates: Mask,
    costs: Sequence[SubmodelCosts],
) -> Problem:
    """`problem` where clients have sub-models of their own, which cost `costs` (clients,), and ρ is 0.

    What these sub-models lose is not known: error and rounds are those of the whole model.
    """
    members, nothing = scenario.members(), np.zeros(len(costs))
    speed = np.array([member.device.flops_per_s for member in members]) / scenario.training.steps
    flops, upload, download, memory = np.array([astuple(one) for one in costs]).T
    return replace(
        problem,
        fixed_s=flops / speed
        + download / downlink_rates(scenario, channels, participates)
        + _overhead_s(scenario),
        compute_s=nothing,
        fixed_bits=upload,
        payload_bits=nothing,
        prune_min=nothing,
        prune_max=nothing,
        memory=Memory(np.array([member.memory for member in members]), memory, nothing),
    )


def steps_within(scenario: Scenario, step_flops: Floats, plan: Plan) -> npt.NDArray[np.int64]:
    """(clients,) local steps: those asked for, and more where a client would only wait for the round to end.

    The planned round stays as long as it is; a client gets as many steps as end before it, at most
    `training.most_steps`.

    Args:
        step_flops: (clients,) of a typical step.
    """
    training = scenario.training
    speed = np.array([member.device.flops_per_s for member in scenario.members()])
    spare = np.maximum(plan.round_s - plan.client_round_s, 0.0)
    steps = training.steps + np.floor(spare * speed / step_flops)
    return np.asarray(np.minimum(steps, training.most_steps or training.steps), dtype=np.int64)


def clock_client(
    shape: ModelShape,
    work: Sequence[Workload],
    flops_per_s: float,
    bits: tuple[float, float],
    rates: tuple[float, float],
    overhead_s: float,
) -> ClientTime:
    """What a round took one client: the steps it really trained, the bits (down, up) it really moved.

    Args:
        shape: its sub-model.
        work: one entry a step.
        bits, rates: downlink and uplink, bit and bit/s.
        overhead_s: of this client.
    """
    compute = sum(step_flops(shape, step) for step in work) / flops_per_s
    return ClientTime(bits[0] / rates[0], overhead_s, compute, bits[1] / rates[1])


def downlink_rates(scenario: Scenario, channels: Channels, participates: Mask) -> Floats:
    """Download rates in bit/s, (clients,): a cell's participants share its downlink equally."""
    cell = np.array([member.cell for member in scenario.members()])
    served = np.maximum(np.bincount(cell, weights=participates, minlength=len(scenario.cells)), 1)
    share = np.array([place.downlink for place in scenario.cells]) / served
    return rate(share[cell], channels.downlink_snr_hz, scenario.radio.rate)


def uplink_rates(scenario: Scenario, channels: Channels, bandwidth_hz: Floats) -> Floats:
    """Upload rates in bit/s on the planned bandwidth, (clients,)."""
    return rate(bandwidth_hz, channels.uplink_snr_hz, scenario.radio.rate)


def _overhead_s(scenario: Scenario) -> Floats:
    """(clients,) seconds of a round beside downloading, computing and uploading."""
    return np.array([member.overhead_s for member in scenario.members()])
