"""A run's events arranged for reading across clients and rounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from airtune.errors import InputError, words
from airtune.results.event_schema import RoundEvent, StartEvent, Summary
from airtune.results.events import EVENTS_FILE, read_events, round_events, start_event, summarise

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """K clients in the order of the scenario, R rounds in the order of time.

    Attributes:
        start: the start event.
        rounds: R round events.
        summary: totals over the rounds.
        finished: whether the run has ended.
    """

    start: StartEvent
    rounds: list[RoundEvent]
    summary: Summary
    finished: bool

    @classmethod
    def of(cls, events: Sequence[Mapping[str, Any]]) -> "History":
        """Arrange `events`; an InputError if there is no start event."""
        # A resume may follow the end: the process was killed between the last event and the last file.
        steps = [event["event"] for event in events if event["event"] != "resume"]
        return cls(start_event(events), round_events(events), summarise(events), steps[-1] == "end")

    @classmethod
    def read(cls, directory: Path) -> "History":
        """The history of the run in a folder, finished or not.

        Raises:
            InputError: the folder or its events are missing or wrong.
        """
        if not directory.is_dir():
            raise InputError(directory, "", words("no such folder"), "the folder of a run or comparison")
        path = directory / EVENTS_FILE
        events = read_events(path)
        if not events:
            raise InputError(path, "", words("no start event"), "the events of a run that has started")
        return cls.of(events)

    @property
    def clients(self) -> list[str]:
        """K ids."""
        return [client["id"] for client in self.start["clients"]]

    @property
    def numbers(self) -> list[int]:
        """R round numbers."""
        return [event["round"] for event in self.rounds]

    def per_round(self, field: str) -> Array:
        """(R,) one field of the round events."""
        return np.array([event[field] for event in self.rounds], dtype=np.float64)  # type: ignore[literal-required]

    def per_client(self, field: str) -> Array:
        """(K, R) one field of the clients' rounds; NaN where a client was left out.

        Of a client whose update was lost it is what it took, and NaN for all else.
        """
        row = {client: index for index, client in enumerate(self.clients)}
        values = np.full((len(row), len(self.rounds)), np.nan)
        for column, event in enumerate(self.rounds):
            for client in [*event["clients"], *event.get("lost", [])]:
                values[row[client["id"]], column] = client.get(field, np.nan)
        return values
