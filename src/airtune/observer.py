"""Who is told how a run goes on, while it does."""

from typing import Any


class Observer:
    """Told how a run goes on. This one does nothing with it; subclasses override what they care for."""

    def on_start(self, event: dict[str, Any], rounds_done: int) -> None:
        """The run begins, or goes on after `rounds_done` rounds; `event` is its start event."""

    def on_client(self, round_number: int, client: str, loss: float) -> None:
        """A client finished its training of a round."""

    def on_round(self, event: dict[str, Any]) -> None:
        """A round is over; `event` is its event."""
