"""What a run may spend before it ends: simulated seconds, bytes, or joules."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airtune.errors import InputError, words
from airtune.quantities import read_amount
from airtune.results.events import EVENTS_FILE
from airtune.scenario import Scenario

SPENT = {"s": ("round_s",), "B": ("bytes_up", "bytes_down"), "J": ("energy_j",)}  # fields of round events
EXPECTED = "seconds, bytes or joules above 0, such as '400 s', '500 MB' or '20 kJ'"


@dataclass(frozen=True)
class Budget:
    """An `amount` above 0 in a `unit`, a key of `SPENT`. The round that reaches it is a run's last."""

    amount: float
    unit: str

    @staticmethod
    def read(value: object) -> "Budget":
        """`value` as a budget: a number of seconds, or text with a unit. Raises ValueError if it is none."""
        if isinstance(value, Budget):
            return value
        budget = Budget(*read_amount(value, tuple(SPENT), EXPECTED))
        if not budget.amount > 0:
            raise ValueError(EXPECTED)
        return budget

    def __str__(self) -> str:
        return f"{self.amount!r} {self.unit}"

    def part(self, event: Mapping[str, Any]) -> float:
        """What a round, as its event tells, takes of it. Raises InputError where the event does not tell."""
        for field in SPENT[self.unit]:
            if field not in event:
                place = f"round {event['round']}, {field}"
                expected = f"a number, for a budget in {self.unit}"
                raise InputError(EVENTS_FILE, place, words("nothing"), expected)
        return float(sum(event[field] for field in SPENT[self.unit]))

    def check(self, scenario: Scenario) -> None:
        """Raise InputError where nobody can tell what a round takes of it."""
        for number, (group, power) in enumerate(_powers(scenario)):
            if self.unit == "J" and power is None:
                found = words(f"nothing, so that nobody knows the energy of {group}")
                raise InputError("scenario", f"clients.{number}.power", found, "W, for a budget in J")


def _powers(scenario: Scenario) -> list[tuple[str, float | None]]:
    """The groups' ids, and what their devices draw."""
    return list({member.group: (member.group, member.power) for member in scenario.members()}.values())
