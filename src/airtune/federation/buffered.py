"""A round without waiting: clients train on from what they were sent while the server merges others' updates.

A round ends with a merge, as soon as the method's buffer is full. The updates of all others stay on their
way, from rounds before or from this one, and the checkpoint holds them. Each client has the bandwidth that
it has where all train, whether or not others send at the same time.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from airtune.federation.checkpoint import Checkpoint
from airtune.federation.gradients import unknown
from airtune.federation.learn import Learner, merge
from airtune.federation.learnt_rounds import next_key, without
from airtune.federation.messages import Assignment
from airtune.federation.missing import late_rows
from airtune.federation.round import PlannedRound, announced, clocked, known_energy, plan_round
from airtune.federation.setting import Setting
from airtune.federation.trainings import Trainings
from airtune.observer import Observer
from airtune.planning import Pace, Plan
from airtune.privacy.accountant import spent
from airtune.pruning.adapters import Adapter, slice_adapter

TOLD = ("client", "version", "done_s", "planned_s", "row")  # in events; changes are in the checkpoint


@dataclass(frozen=True)
class Flight:
    """An update on its way to the server.

    Attributes:
        client: its number.
        version: merges before the client was sent its adapter.
        done_s, planned_s: when it is there, and when it was expected, on the simulated clock.
        row: the client's part in the event of the round that it will be merged in.
        change: of the adapter, by its training.
    """

    client: int
    version: int
    done_s: float
    planned_s: float
    row: dict[str, Any]
    change: Adapter


def play_buffered_round(
    setting: Setting, learner: Learner, before: Checkpoint, observer: Observer
) -> tuple[Plan, Checkpoint]:
    """Send off whoever is idle, then merge the updates that are there first.

    Raises:
        AirtuneError: no update came and none is on its way; or what was merged is of no use.
        StateGoneError: `before` has no adapter to train from.
        InfeasibleError: this round's channels allow no plan.
    """
    assert setting.method.buffer is not None
    planned = plan_round(setting, unknown(setting.scenario), Pace(), before.round_number + 1)
    away = _flights(before)
    busy = {flight.client for flight in away}
    idle = {client: asked for client, asked in planned.assignments.items() if client not in busy}
    on_client = announced(setting, planned, observer)
    done = learner.train(before, idle, on_client) if idle else Trainings({}, {}, {})
    facts = clocked(setting, planned, done.facts, done.failed)
    for client, row in zip(done.facts, facts["clients"], strict=True):
        held = _held(setting, before, idle[client])
        away.append(
            Flight(
                client,
                before.round_number,
                before.clock_s + row["download_s"] + row["overhead_s"] + row["compute_s"] + row["upload_s"],
                before.clock_s + float(planned.plan.client_round_s[client]),
                row | {"begun_s": before.clock_s},
                {name: matrix - held[name] for name, matrix in done.trained[client].items()},
            )
        )
    if not away:
        raise learner.nobody(before.round_number + 1, done.failed)
    away.sort(key=lambda flight: (flight.done_s, flight.client))
    size = min(math.ceil(setting.method.buffer.share * len(planned.assignments)), len(away))
    there, away = sorted(away[:size], key=lambda flight: flight.client), away[size:]
    merged = _merged(setting, before, planned, there)
    loss, group_loss = learner.losses(merged)
    clock_s = max(flight.done_s for flight in there)
    expected_s = sorted(flight.planned_s for flight in [*there, *away])[size - 1]
    rows = [flight.row | {"waiting_s": clock_s - flight.done_s} for flight in there]
    event = {
        "event": "round",
        "round": planned.number,
        "round_s": clock_s - before.clock_s,
        "planned_s": max(expected_s - before.clock_s, 0.0),
        "fedit_s": facts["fedit_s"],
        **{name: sum(row[name] for row in rows) for name in ("bytes_up", "bytes_down", "flops")},
        **known_energy(rows),
        "clients": rows,
        **({"lost": facts["lost"]} if done.failed else {}),
        **late_rows(setting, done.late),
        "clock_s": clock_s,
        "loss": loss,
        "group_loss": group_loss,
        **spent(setting.scenario, before.event, set(idle)),
        "flights": [{name: getattr(flight, name) for name in TOLD} for flight in away],
    }
    changes = {f"{flight.client}/{name}": one for flight in away for name, one in flight.change.items()}
    key = _key(without(next_key(before.key, setting.method, idle), done.failed), there)
    state = Checkpoint(planned.number, clock_s, key, merged, learner.client_states(), event, changes)
    return planned.plan, state


def _merged(setting: Setting, before: Checkpoint, planned: PlannedRound, there: Sequence[Flight]) -> Adapter:
    """The next adapter: every update moves the present one, the less the more merges it has missed."""
    assert setting.method.buffer is not None
    moved: dict[int, Adapter] = {}
    for flight in there:
        held = _held(setting, before, planned.assignments[flight.client])
        counts = np.float32(setting.method.buffer.weight(before.round_number - flight.version))
        moved[flight.client] = {name: held[name] + counts * one for name, one in flight.change.items()}
    return merge(setting, before.adapter, planned.assignments, moved)


def _held(setting: Setting, before: Checkpoint, asked: Assignment) -> Adapter:
    """What a client would be sent now and train."""
    return slice_adapter(before.adapter, setting.measured.path.full, asked.reduction, trained_only=True)


def _flights(state: Checkpoint) -> list[Flight]:
    """The updates on their way at the end of a round."""
    found = []
    for told in state.event.get("flights", []):
        begin = f"{told['client']}/"
        change = {
            name.removeprefix(begin): array for name, array in state.flights.items() if name.startswith(begin)
        }
        found.append(Flight(**told, change=change))
    return found


def _key(key: str, there: Sequence[Flight]) -> str:
    """The key of what has been learnt, where `key` names what those who were idle have been sent."""
    merged = json.dumps([[flight.client, flight.version] for flight in there])
    return hashlib.sha256(f"{key} {merged}".encode()).hexdigest()
