"""What a planner answers, and the one place where its times are computed."""

import json
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from airtune.planning.problem import Problem
from airtune.radio.rate import rate

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Plan:
    """Pruning rates and bandwidth for every client, and what they cost.

    Attributes:
        method: the solver that made it.
        ids: (K,) client ids.
        prune: (K,) ρ; 1 for a client that is left out.
        bandwidth_hz: (K,) uplink bandwidth; 0 for a client that is left out.
        uplink_s, client_round_s: (K,) seconds of the upload and of the whole round; 0 if left out.
        participates: (K,) False for the clients left out.
        round_s: T, the slowest client's round.
        rounds: N, rounds to the target loss.
        total_s: N·T.
        lower_bound_s: no plan takes less than this N·T; None if the method has no such bound.
        relative_gap: (total_s - lower_bound_s) / total_s, or None.
        solve_s: seconds the solver took on this machine.
        round_lower_bound_s: no plan within the error budget has a shorter round; None without a budget.
        binds: (K,) what binds each client, as `explain` says it; None if nobody asked.
        weight: (K,) aggregation weights that it was made for, which sum to 1; None for the problem's own.
    """

    method: str
    ids: tuple[str, ...]
    prune: Array
    bandwidth_hz: Array
    uplink_s: Array
    client_round_s: Array
    participates: Mask
    round_s: float
    rounds: float
    total_s: float
    lower_bound_s: float | None = None
    relative_gap: float | None = None
    solve_s: float = 0.0
    round_lower_bound_s: float | None = None
    binds: tuple[tuple[str, ...], ...] | None = None
    weight: Array | None = None

    def bounded(self, lower_bound_s: float) -> "Plan":
        """The plan with a lower bound on N·T over all plans beside it."""
        bound = min(lower_bound_s, self.total_s)
        gap = 0.0 if bound == self.total_s else 1.0 - bound / self.total_s
        return replace(self, lower_bound_s=bound, relative_gap=gap)

    def to_json(self) -> str:
        """The plan file (`airtune-plan/1`)."""
        clients: list[dict[str, Any]] = [
            {
                "id": identifier,
                "participates": bool(self.participates[k]),
                "prune": float(self.prune[k]),
                "bandwidth_hz": float(self.bandwidth_hz[k]),
                "uplink_s": float(self.uplink_s[k]),
                "round_s": float(self.client_round_s[k]),
            }
            for k, identifier in enumerate(self.ids)
        ]
        if self.binds is not None:
            for client, names in zip(clients, self.binds, strict=True):
                client["binds"] = list(names)
        if self.weight is not None:
            for client, weight in zip(clients, self.weight, strict=True):
                client["weight"] = float(weight)
        whole = {
            "schema": "airtune-plan/1",
            "method": self.method,
            "round_s": self.round_s,
            "rounds": self.rounds,
            "total_s": self.total_s,
            "lower_bound_s": self.lower_bound_s,
            "relative_gap": self.relative_gap,
            "solve_s": self.solve_s,
            "clients": clients,
        }
        if self.round_lower_bound_s is not None:
            whole["round_lower_bound_s"] = self.round_lower_bound_s
        return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, file: str = "plan") -> "Plan":
        """Read a plan file's text.

        Raises:
            InputError: it is not a plan file; names the field.
        """
        # Imported where it is used: pydantic takes longer than everything else in planning.
        from airtune.planning.reading import PlanFile, read_json

        read = read_json(PlanFile, text, file)
        return cls(
            method=read.method,
            ids=tuple(client.id for client in read.clients),
            prune=np.array([client.prune for client in read.clients]),
            bandwidth_hz=np.array([client.bandwidth_hz for client in read.clients]),
            uplink_s=np.array([client.uplink_s for client in read.clients]),
            client_round_s=np.array([client.round_s for client in read.clients]),
            participates=np.array([client.participates for client in read.clients]),
            round_s=read.round_s,
            rounds=read.rounds,
            total_s=read.total_s,
            lower_bound_s=read.lower_bound_s,
            relative_gap=read.relative_gap,
            solve_s=read.solve_s,
            round_lower_bound_s=read.round_lower_bound_s,
            binds=None
            if any(client.binds is None for client in read.clients)
            else tuple(tuple(client.binds or ()) for client in read.clients),
            weight=None
            if any(client.weight is None for client in read.clients)
            else np.array([client.weight for client in read.clients]),
        )


def evaluate(
    problem: Problem, method: str, prune: Array, bandwidth_hz: Array, participates: Mask | None = None
) -> Plan:
    """The plan that ρ and b make, every time and N recomputed from them alone.

    Args:
        prune, bandwidth_hz: (K,).
        participates: (K,) False for clients left out: they count with their `drop_error` and no time.

    Returns:
        The plan; its `round_s` is infinite where a client has bits to send and no bandwidth, its
        `rounds` where the error is too large.
    """
    present = np.ones(len(problem.ids), bool) if participates is None else participates
    bits = problem.bits_at(prune)
    with np.errstate(divide="ignore", invalid="ignore"):
        uplink = np.where(bits > 0, bits / rate(bandwidth_hz, problem.snr_hz, problem.rate), 0.0)
    client_round = problem.busy_at(prune) + uplink
    error = np.where(present, problem.error_at(prune), problem.drop_error)
    rounds = float(problem.rounds.count(problem.weight @ error))
    round_s = float(client_round[present].max())
    return Plan(
        method=method,
        ids=problem.ids,
        prune=np.where(present, prune, 1.0),
        bandwidth_hz=np.where(present, bandwidth_hz, 0.0),
        uplink_s=np.where(present, uplink, 0.0),
        client_round_s=np.where(present, client_round, 0.0),
        participates=present,
        round_s=round_s,
        rounds=rounds,
        total_s=math.inf if math.isinf(rounds) else round_s * rounds,
    )
