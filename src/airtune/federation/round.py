"""One round as the server plans it beforehand and clocks it afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from airtune.costs.error import Gradients
from airtune.costs.round_time import steps_within
from airtune.federation.clock import Work, clock_round, clock_unplanned
from airtune.federation.gradients import update
from airtune.federation.learnt_rounds import ClientTraining, LearntRound
from airtune.federation.messages import Assignment
from airtune.federation.setting import Setting
from airtune.planning import Pace, Plan
from airtune.radio.channel import Channels, draw_channels


@dataclass(frozen=True)
class PlannedRound:
    """A round's channels, its plan, and what each participant is asked to do, without the adapter yet."""

    number: int
    channels: Channels
    plan: Plan
    assignments: Mapping[int, Assignment]


def plan_round(setting: Setting, known: Gradients, pace: Pace, number: int) -> PlannedRound:
    """Plan round `number`.

    Args:
        known: of the clients' gradients, as the rounds before have measured them.
        pace: of the rounds before, as they were planned.

    Raises:
        InfeasibleError: this round's channels allow no plan.
    """
    channels = draw_channels(setting.scenario, number)
    plan = setting.method.plan(setting.situation(channels, known, number, pace))
    own, measured = setting.submodels(number), setting.measured
    if own is None:
        step_flops = setting.curves.flops.at(plan.prune)
    else:
        step_flops = np.array([one.step_flops(measured.path.full, measured.work) for one in own])
    steps = steps_within(setting.scenario, step_flops, plan)
    assignments = {
        client: Assignment(
            number,
            int(steps[client]),
            measured.path.reduction(float(plan.prune[client])) if own is None else own[client],
            setting.method.proximal,
            {},
        )
        for client in np.flatnonzero(plan.participates).tolist()
    }
    return PlannedRound(number, channels, plan, assignments)


def known_after(setting: Setting, before: Gradients, planned: PlannedRound, learnt: LearntRound) -> Gradients:
    """What is known of the clients' gradients once they have trained."""
    clients = sorted(learnt.training)
    return update(
        before,
        clients,
        learnt.products,
        {client: planned.assignments[client].reduction.examples for client in clients},
        np.array([member.weight for member in setting.scenario.members()]),
    )


def clocked(
    setting: Setting, planned: PlannedRound, training: Mapping[int, ClientTraining]
) -> dict[str, Any]:
    """The round's event, but for what the server's judge and clocks add."""
    members, path = setting.scenario.members(), setting.measured.path
    work = {
        client: Work(
            planned.assignments[client].reduction.shape(path.full), done.work, done.bytes_down, done.bytes_up
        )
        for client, done in training.items()
    }
    times = clock_round(setting, planned.channels, planned.plan, work)
    round_s = max(spent.total_s for spent in times.values())
    clients = [
        {
            "id": members[client].id,
            "prune": path.snapped(float(planned.plan.prune[client])),
            "bandwidth_hz": float(planned.plan.bandwidth_hz[client]),
            "download_s": spent.download_s,
            "compute_s": spent.compute_s,
            "upload_s": spent.upload_s,
            "waiting_s": round_s - spent.total_s,
            "bytes_up": work[client].bytes_up,
            "bytes_down": work[client].bytes_down,
            "flops": work[client].flops,
            "loss": training[client].loss,
            "trained_layers": work[client].shape.layers - work[client].shape.first_trained,
        }
        for client, spent in sorted(times.items())
    ]
    return {
        "round": planned.number,
        "round_s": round_s,
        "planned_s": planned.plan.round_s,
        "fedit_s": clock_unplanned(setting, planned.channels, work),
        "bytes_up": sum(done.bytes_up for done in work.values()),
        "bytes_down": sum(done.bytes_down for done in work.values()),
        "flops": sum(done.flops for done in work.values()),
        "clients": clients,
    }
