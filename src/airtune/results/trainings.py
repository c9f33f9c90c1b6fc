"""When each client did what, on the simulated clock.

A training fills one round where the server waits for all. Without waiting it may begin rounds before the one
that merges it, or still be on its way when the run ends.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from airtune.results.event_schema import ClientRound, Lost
from airtune.results.history import History

PHASES = ("download", "overhead", "compute", "upload", "waiting")


@dataclass(frozen=True)
class Training:
    """One client's training, seconds on the simulated clock.

    Attributes:
        row: its part in the event of the round that merges it, or would.
        begin_s: when its download begins.
        end_s: end of the round that merges it; of the last round if none has yet.
    """

    row: ClientRound
    begin_s: float
    end_s: float

    def phases(self) -> Iterator[tuple[str, float, float]]:
        """The phases that take time, each with its begin and end, as far as the run goes."""
        begin = self.begin_s
        for phase in PHASES:
            end = min(begin + seconds_in(self.row, phase), self.end_s)
            if end > begin:
                yield phase, begin, end
            begin = end


def seconds_in(row: ClientRound, phase: str) -> float:
    """What a phase took a client; events written before there was an overhead have none."""
    seconds: float = row.get(f"{phase}_s", 0.0)  # type: ignore[assignment]
    return seconds


def trainings(history: History) -> dict[tuple[str, int], Training]:
    """What a client (its id) was at in a round (its place in `history.rounds`); nothing if left out."""
    found: dict[tuple[str, int], Training] = {}
    ends = [event["clock_s"] for event in history.rounds]
    for last, event in enumerate(history.rounds):
        rows = list(event["clients"])
        if last == len(ends) - 1:
            rows += [flight["row"] for flight in event.get("flights", [])]
        for row in rows:
            begin = ends[last] - event["round_s"]
            first = last
            if "begun_s" in row:
                begin = row["begun_s"]
                first = min(bisect_right(ends, begin), last)
            training = Training(row, begin, ends[last])
            found |= {(row["id"], place): training for place in range(first, last + 1)}
    return found


def lost_updates(history: History) -> dict[tuple[str, int], Lost]:
    """Whose update a round (its place in `history.rounds`) waited for in vain."""
    return {
        (lost["id"], place): lost
        for place, event in enumerate(history.rounds)
        for lost in event.get("lost", [])
    }
