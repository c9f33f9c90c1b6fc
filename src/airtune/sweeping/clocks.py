"""Learnt rounds on the clock of another scenario: other devices or links, the same training.

What a round teaches depends on who trains how much, not on when it is done. A run's events hold the FLOPs
that each client spent and the bytes it moved, which is all that a clock needs.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from airtune.costs.error import Gradients
from airtune.costs.round_time import ClientTime, downlink_rates, uplink_rates
from airtune.errors import InfeasibleError
from airtune.federation.gradients import unknown
from airtune.federation.learnt_rounds import next_key
from airtune.federation.round import PlannedRound, plan_round
from airtune.federation.setting import Setting
from airtune.planning import SOLVERS, Pace
from airtune.radio.channel import Channels, draw_channels
from airtune.results.event_schema import RoundEvent
from airtune.results.history import History

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Clocked:
    """A run as it would have gone elsewhere.

    `own` if the method's own plans there led through rounds that have been learnt: then this is what the
    method takes. Else who trains how much is kept as it was learnt, and bandwidth alone is planned anew.
    """

    history: History
    own: bool


def learnt_keys(setting: Setting, history: History) -> dict[str, RoundEvent]:
    """A run's rounds by all that has shaped what they taught, from the first round on.

    Events do not hold all that clients were told, so it is planned again. Rounds that today's planner plans
    otherwise are left out, and those that follow.
    """

    def learnt(planned: PlannedRound, key: str) -> RoundEvent | None:
        if planned.number > len(history.rounds):
            return None
        event = history.rounds[planned.number - 1]
        prune = {ids[k]: path.snapped(float(planned.plan.prune[k])) for k in planned.assignments}
        return event if prune == {client["id"]: client["prune"] for client in event["clients"]} else None

    ids, path = [member.id for member in setting.scenario.members()], setting.measured.path
    return {key: event for _, key, event in _followed(setting, learnt)}


def clock_elsewhere(
    history: History, setting: Setting, learnt: Mapping[str, RoundEvent], target: float
) -> Clocked:
    """The run of `history` on the devices and links of `setting`.

    Args:
        learnt: rounds of all runs of the same seed, by `learnt_keys`.
        target: loss up to which the method's own rounds have to be known.
    """
    own = own_rounds(setting, learnt)
    if len(own) >= len(history.rounds) or any(event["loss"] <= target for event in own):
        return Clocked(_told(history, own), True)
    return Clocked(_told(history, kept_rounds(history, setting)), False)


def own_rounds(setting: Setting, learnt: Mapping[str, RoundEvent]) -> list[RoundEvent]:
    """The rounds that the method's own plans lead through, as far as they have been learnt."""
    return [
        _clocked(setting, planned.channels, planned.plan.bandwidth_hz, event)
        for planned, _, event in _followed(setting, lambda _, key: learnt.get(key))
    ]


def _followed(
    setting: Setting, learnt: Callable[[PlannedRound, str], RoundEvent | None]
) -> Iterator[tuple[PlannedRound, str, RoundEvent]]:
    """Each round as the method plans it, its key, and what it taught, until `learnt` knows no more."""
    key, known, pace = "", unknown(setting.scenario), Pace()
    for number in itertools.count(1):
        try:
            planned = plan_round(setting, known, pace, number)
        except InfeasibleError:
            return
        key = next_key(key, setting.method, planned.assignments)
        event = learnt(planned, key)
        if event is None:
            return
        yield planned, key, event
        if "gradients" in event:
            known = Gradients.from_fields(event["gradients"])
        pace = pace.after(planned.plan)


def kept_rounds(history: History, setting: Setting) -> list[RoundEvent]:
    """The run's rounds with the same clients and pruning rates, and bandwidth shared as the method does."""
    ids = [member.id for member in setting.scenario.members()]
    cells = np.array([member.cell for member in setting.scenario.members()])
    solver = "fedit" if _shares_equally(history, cells) else "bandwidth-only"
    found = []
    for event in history.rounds:
        channels = draw_channels(setting.scenario, event["round"])
        prune = {client["id"]: client["prune"] for client in event["clients"]}
        takes_part = np.array([client in prune for client in ids])
        rates = np.array([prune.get(client, 0.0) for client in ids])
        problem = setting.situation(channels, unknown(setting.scenario), event["round"]).problem(takes_part)
        # It has been learnt, so nobody asks what was lost by it, which would be told with unknown gradients.
        rounds = replace(problem.rounds, penalty=0.0)
        problem = replace(problem, prune_min=rates, prune_max=rates, rounds=rounds)
        bandwidth = np.zeros(len(ids))
        bandwidth[takes_part] = SOLVERS[solver](problem.restrict(takes_part)).bandwidth_hz
        found.append(_clocked(setting, channels, bandwidth, event))
    return found


def _shares_equally(history: History, cells: npt.NDArray[np.int64]) -> bool:
    """Whether, in every round, all clients of a cell that took part had the same bandwidth."""
    bandwidth = history.per_client("bandwidth_hz")
    for cell in np.unique(cells):
        own = bandwidth[cells == cell]
        present = own[:, ~np.isnan(own).all(axis=0)]
        if not np.allclose(np.nanmin(present, axis=0), np.nanmax(present, axis=0), rtol=1e-9, atol=0.0):
            return False
    return True


def _clocked(setting: Setting, channels: Channels, bandwidth_hz: Floats, event: RoundEvent) -> RoundEvent:
    """A round with the seconds it takes on these channels and this bandwidth."""
    scenario = setting.scenario
    done = {client["id"]: client for client in event["clients"]}
    members = scenario.members()
    takes_part = np.array([member.id in done for member in members])
    down = downlink_rates(scenario, channels, takes_part)
    up = uplink_rates(scenario, channels, bandwidth_hz)
    times = {
        member.id: ClientTime(
            8.0 * done[member.id]["bytes_down"] / float(down[number]),
            member.overhead_s,
            done[member.id]["flops"] / member.device.flops_per_s,
            8.0 * done[member.id]["bytes_up"] / float(up[number]),
        )
        for number, member in enumerate(members)
        if member.id in done
    }
    round_s = max(spent.total_s for spent in times.values())
    bandwidth = dict(zip((member.id for member in members), bandwidth_hz.tolist(), strict=True))
    clients: list[dict[str, Any]] = [
        {
            **client,
            "bandwidth_hz": bandwidth[name],
            **asdict(times[name]),
            "waiting_s": round_s - times[name].total_s,
        }
        for name, client in done.items()
    ]
    return cast(RoundEvent, {**event, "round_s": round_s, "clients": clients})


def _told(history: History, rounds: Iterable[RoundEvent]) -> History:
    """The history of these rounds. What they say of plans, `planned_s` and `fedit_s`, is as it was."""
    clock_s, told = 0.0, []
    for event in rounds:
        clock_s += event["round_s"]
        told.append({**event, "clock_s": clock_s})
    return History.of([dict(history.start), *told])
