"""Joules of a client's round: its device's power while it computes, the radio's while it sends.

What a device draws while it waits, receives or gets ready to train (a round's overhead) is left out: no
figure holds for all its radios, and it would draw much of that without the training too. Sending counts with
the power that is radiated, as the planner has it; an amplifier draws more.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airtune.costs.round_time import ClientTime
from airtune.scenario import Client, Scenario

PARTS = ("compute_j", "transmit_j")


@dataclass(frozen=True)
class ClientEnergy:
    """J of a client's round; `compute_j` is None where nobody knows what its device draws."""

    compute_j: float | None
    transmit_j: float

    def to_fields(self) -> dict[str, float]:
        """What is known, as events hold it."""
        known = {"transmit_j": self.transmit_j}
        return known if self.compute_j is None else known | {"compute_j": self.compute_j}


def client_energy(scenario: Scenario, client: Client, spent: ClientTime) -> ClientEnergy:
    """What a round of so many seconds took this client."""
    transmit_w = 1e-3 * 10 ** (scenario.radio.client_power / 10)  # from dBm
    compute_j = None if client.power is None else client.power * spent.compute_s
    return ClientEnergy(compute_j, transmit_w * spent.upload_s)


def energy_j(rows: Iterable[Mapping[str, Any]]) -> float | None:
    """The sum over clients' parts in an event; None where a part of it is not known."""
    parts = [row.get(part) for row in rows for part in PARTS]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
