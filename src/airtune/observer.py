"""Who is told how a run or a comparison goes on, while it does."""

from collections.abc import Mapping, Sequence
from typing import Any


class Observer:
    """Told how a run goes on. This one does nothing with it; subclasses override what they care for."""

    def on_start(self, event: dict[str, Any], rounds_done: int) -> None:
        """The run begins, or goes on after `rounds_done` rounds; `event` is its start event."""

    def on_plan(self, round_number: int, rates: Mapping[str, Sequence[float]]) -> None:
        """A round is planned, and its messages are sent next.

        Args:
            rates: bit/s (down, up) of its links, by client id; of those who take part.
        """

    def on_client(self, round_number: int, client: str, loss: float | None) -> None:
        """A client finished its training of a round; with privacy it withholds its loss."""

    def on_round(self, event: dict[str, Any]) -> None:
        """A round is over; `event` is its event."""


class CompareObserver:
    """Told how a comparison goes on. This one does nothing with it."""

    def on_start(self, rounds: int) -> None:
        """So many rounds will be played at most, those played before included."""

    def on_progress(self, rounds: int, running: Sequence[str]) -> None:
        """So many rounds are played, by all jobs together; these jobs are running."""

    def on_end(self, job: str, reason: str | None) -> None:
        """A job has ended; with a `reason` it has failed."""


class Observers(Observer):
    """Tells several, in their order."""

    def __init__(self, *told: Observer) -> None:
        self._told = told

    def on_start(self, event: dict[str, Any], rounds_done: int) -> None:
        """Tells all."""
        for one in self._told:
            one.on_start(event, rounds_done)

    def on_plan(self, round_number: int, rates: Mapping[str, Sequence[float]]) -> None:
        """Tells all."""
        for one in self._told:
            one.on_plan(round_number, rates)

    def on_client(self, round_number: int, client: str, loss: float | None) -> None:
        """Tells all."""
        for one in self._told:
            one.on_client(round_number, client, loss)

    def on_round(self, event: dict[str, Any]) -> None:
        """Tells all."""
        for one in self._told:
            one.on_round(event)
