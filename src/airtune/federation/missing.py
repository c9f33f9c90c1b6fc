"""Who is missing in a round, and what it took in vain: uploads lost, clients out, clients too late.

The server plans as if nothing could go wrong. It waits for whoever is missing until the deadline, then merges
what is there, with the plan's weights among those who sent it. Of a client that is out it knows from the next
round on, and plans without it until it is back.

Who is missing has to be known before anybody trains, as only the others do: it follows from the scenario and
from planned seconds alone. What a client did in vain until the round was over is counted by typical steps.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from airtune.costs.energy import ClientEnergy, client_energy
from airtune.costs.round_time import ClientTime
from airtune.federation.clock import Work
from airtune.federation.messages import Assignment
from airtune.federation.overdue import Late
from airtune.federation.setting import Setting
from airtune.planning import Plan
from airtune.scenario import Scenario

OUTAGE, UPLOAD, LATE = "outage", "upload", "late"
FAILURE = "failure"  # of a real client, or a reply that was refused
ROUND_UP = 1 + 1e-9  # who is planned to end with the round is not late by a rounding


def missing(scenario: Scenario, number: int, plan: Plan, done_s: npt.NDArray[np.float64]) -> dict[int, str]:
    """Why each planned client is missed in a round: it is out, its upload is lost, or it is late.

    Args:
        done_s: (clients,) seconds of their rounds as planned, but for what slows them down.
    """
    faults, members, found = scenario.faults, scenario.members(), {}
    for client in np.flatnonzero(plan.participates).tolist():
        if faults.is_out(members[client].names, number):
            found[client] = OUTAGE
        elif faults.loses_upload(scenario.seed, members[client].id, number):
            found[client] = UPLOAD
        elif done_s[client] > faults.deadline * plan.round_s * ROUND_UP:
            found[client] = LATE
    return found


def work_in_vain(setting: Setting, asked: Assignment) -> Work:
    """What a client does that is asked for this, were all its examples of the typical length."""
    reduction, typical = asked.reduction, setting.measured.work
    costs = setting.measured.costs(reduction, setting.scenario.payload)
    steps = [replace(typical, rows=typical.rows * reduction.examples)] * asked.steps
    down, up = (round(bits / 8) for bits in (costs.download_bits, costs.upload_bits))
    return Work(reduction.shape(setting.measured.path.full), steps, down, up)


def late_rows(setting: Setting, late: Sequence[Late]) -> dict[str, Any]:
    """A round's `late`: whose replies of which earlier rounds came in it, if any did."""
    members = setting.scenario.members()
    rows = [{"id": members[one.client].id, "round": one.round_number} for one in late]
    return {"late": rows} if rows else {}


def lost_row(
    setting: Setting, client: int, why: str, work: Work | None, whole: ClientTime | None, round_s: float
) -> dict[str, Any]:
    """A missing client's part in an event: what it did in vain before the round was over.

    Args:
        work, whole: all that it would have done, and its seconds; None of a client that does nothing, or of
            which nobody knows what it did.
    """
    member = setting.scenario.members()[client]
    lost: dict[str, Any] = {"id": member.id, "why": why}
    if work is None or whole is None:
        nothing = {"bytes_up": 0, "bytes_down": 0, "flops": 0.0}
        return lost | nothing | ClientEnergy(0.0, 0.0).to_fields()
    spent = whole.until(round_s)
    return lost | {
        "bytes_up": round(work.bytes_up * spent.upload_s / whole.upload_s),
        "bytes_down": round(work.bytes_down * spent.download_s / whole.download_s),
        "flops": work.flops * spent.compute_s / whole.compute_s,
        **client_energy(setting.scenario, member, spent).to_fields(),
    }
