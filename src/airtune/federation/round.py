"""One round: planned, played and clocked."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from airtune.costs.energy import client_energy, energy_j
from airtune.costs.error import Gradients
from airtune.costs.round_time import steps_within
from airtune.federation.checkpoint import Checkpoint
from airtune.federation.clock import Work, clock_round, clock_unplanned, link_rates
from airtune.federation.gradients import unknown, update
from airtune.federation.learn import Learner
from airtune.federation.learnt_rounds import ClientTraining, LearntRound
from airtune.federation.messages import Assignment
from airtune.federation.missing import FAILURE, OUTAGE, late_rows, lost_row, missing, work_in_vain
from airtune.federation.setting import Setting
from airtune.federation.trainings import Listener
from airtune.observer import Observer
from airtune.planning import Pace, Plan
from airtune.privacy.accountant import spent
from airtune.radio.channel import Channels, draw_channels


@dataclass(frozen=True)
class PlannedRound:
    """A round's channels, its plan, and what each participant is asked to do, without the adapter yet.

    `missing` says why the updates of some of them do not arrive (`federation.missing`).
    """

    number: int
    channels: Channels
    plan: Plan
    assignments: Mapping[int, Assignment]
    missing: Mapping[int, str]

    @property
    def asked(self) -> set[int]:
        """Who is sent an assignment: an upload that is lost or late may be seen by somebody all the same."""
        return {client for client in self.assignments if self.missing.get(client) != OUTAGE}

    @property
    def arriving(self) -> dict[int, Assignment]:
        """What those are asked to do whose updates arrive."""
        return {client: asked for client, asked in self.assignments.items() if client not in self.missing}


def play_round(
    setting: Setting, learner: Learner, before: Checkpoint, observer: Observer
) -> tuple[Plan, Checkpoint]:
    """Plan and play the round after `before`: everybody planned for trains, and the server waits for all.

    Who fails, or sends something else than an update, is left out of the round and named in its event.
    For those who are missing by the scenario's faults, see `federation.missing`, it waits until the deadline.

    Raises:
        AirtuneError: no update came, says why none did; or what was merged is of no use.
        StateGoneError: the round is not known, and `before` has no adapter to learn it from.
        InfeasibleError: this round's channels allow no plan.
    """
    known = unknown(setting.scenario)
    if "gradients" in before.event:
        known = Gradients.from_fields(before.event["gradients"])
    pace = Pace(**before.event.get("pace", {}))
    planned = plan_round(setting, known, pace, before.round_number + 1)
    on_client = announced(setting, planned, observer)
    learnt = learner.learn(before, planned.arriving, on_client) if planned.arriving else _nothing(before)
    known, pace = known_after(setting, known, planned, learnt), pace.after(planned.plan)
    facts = clocked(setting, planned, learnt.training, learnt.failed)
    clock_s = before.clock_s + facts["round_s"]
    event = {
        "event": "round",
        **facts,
        **late_rows(setting, learnt.late),
        "clock_s": clock_s,
        "loss": learnt.loss,
        "group_loss": learnt.group_loss,
        "gradients": known.to_fields(),
        "pace": asdict(pace),
        **spent(setting.scenario, before.event, planned.asked),
    }
    state = Checkpoint(planned.number, clock_s, learnt.key, learnt.adapter, learnt.clients, event)
    return planned.plan, state


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
    weight = plan.weight
    if weight is None:
        weight = np.array([member.weight for member in setting.scenario.members()])
    assignments = {
        client: Assignment(
            number,
            int(steps[client]),
            measured.path.reduction(float(plan.prune[client])) if own is None else own[client],
            setting.method.proximal,
            {},
            float(weight[client]),
        )
        for client in np.flatnonzero(plan.participates).tolist()
    }
    scenario = setting.scenario
    speed = np.array([one.device.flops_per_s for one in scenario.members()])
    slow = np.array([scenario.faults.slowdown(one.names, number) for one in scenario.members()])
    done_s = plan.client_round_s + (slow * steps - scenario.training.steps) * step_flops / speed
    waits = setting.method.buffer is None
    return PlannedRound(
        number, channels, plan, assignments, missing(scenario, number, plan, done_s) if waits else {}
    )


def announced(setting: Setting, planned: PlannedRound, observer: Observer) -> Listener:
    """Tell of a planned round, and how to tell of clients that finish in it."""
    plan, members = planned.plan, setting.scenario.members()
    down, up = link_rates(setting.scenario, planned.channels, plan.bandwidth_hz, plan.participates)
    links = {members[client].id: (float(down[client]), float(up[client])) for client in planned.assignments}
    observer.on_plan(planned.number, links)
    return lambda client, loss: observer.on_client(planned.number, client, loss)


def _nothing(before: Checkpoint) -> LearntRound:
    """What a round teaches of which no update arrives."""
    loss, group_loss = before.event["loss"], before.event.get("group_loss", {})
    return LearntRound(before.key, before.adapter, before.clients, {}, np.zeros((0, 0)), loss, group_loss)


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
    setting: Setting,
    planned: PlannedRound,
    training: Mapping[int, ClientTraining],
    failed: Mapping[int, str],
) -> dict[str, Any]:
    """The round's event, but for what the server's judge and clocks add.

    Args:
        failed: whose updates the round has to do without, and why. What they did nobody knows.
    """
    members, path = setting.scenario.members(), setting.measured.path
    work = {
        client: Work(
            planned.assignments[client].reduction.shape(path.full), done.work, done.bytes_down, done.bytes_up
        )
        for client, done in training.items()
    }
    vain = {
        client: work_in_vain(setting, planned.assignments[client])
        for client, why in planned.missing.items()
        if why != OUTAGE
    }
    times = clock_round(setting, planned.number, planned.channels, planned.plan, work | vain)
    round_s = max((times[client].total_s for client in work), default=0.0)
    if planned.missing:
        round_s = max(round_s, setting.scenario.faults.deadline * planned.plan.round_s)
    clients = [
        {
            "id": members[client].id,
            "prune": path.snapped(float(planned.plan.prune[client])),
            "bandwidth_hz": float(planned.plan.bandwidth_hz[client]),
            **asdict(spent),
            "waiting_s": round_s - spent.total_s,
            "bytes_up": work[client].bytes_up,
            "bytes_down": work[client].bytes_down,
            "flops": work[client].flops,
            **client_energy(setting.scenario, members[client], spent).to_fields(),
            **_told(training[client]),
            "trained_layers": work[client].shape.layers - work[client].shape.first_trained,
        }
        for client, spent in sorted(times.items())
        if client in work
    ]
    lost = [
        lost_row(setting, client, why, vain.get(client), times.get(client), round_s)
        for client, why in sorted(planned.missing.items())
    ]
    lost += [
        lost_row(setting, client, FAILURE, None, None, round_s) | {"reason": reason}
        for client, reason in sorted(failed.items())
    ]
    rows = [*clients, *lost]
    return {
        "round": planned.number,
        "round_s": round_s,
        "planned_s": planned.plan.round_s,
        "fedit_s": clock_unplanned(setting, planned.number, planned.channels, work),
        **{name: sum(row[name] for row in rows) for name in ("bytes_up", "bytes_down", "flops")},
        **known_energy(rows),
        "clients": clients,
        **({"lost": lost} if lost else {}),
    }


def _told(training: ClientTraining) -> dict[str, float]:
    return {} if training.loss is None else {"loss": training.loss}


def known_energy(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """A round's `energy_j`, from the clients' parts in it; nothing where it is not known."""
    found = energy_j(rows)
    return {} if found is None else {"energy_j": found}
