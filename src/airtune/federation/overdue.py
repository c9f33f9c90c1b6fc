"""Late replies: how long a round waits, whose are still to come, and who is at work on an old round.

A node of Flower's deployment engine handles one message after the other. So a client that was late is not
asked to train again before it has caught up: its node is sent a query with every round, and whoever answers
one, or the old round, if only with an error, has left that behind. Queries also bring a client back whose
reply was lost for good.
"""

import math
from dataclasses import dataclass

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

QUERY = "query"
MOST_S = 1e9


@dataclass(frozen=True)
class Late:
    """A reply that a round did not wait for: the client's and the round's number."""

    client: int
    round_number: int


class Overdue:
    """Replies that are still to come after a round went on without them.

    Attributes:
        deadline_s: real seconds that a round waits for replies once all its messages are sent; None for as
            long as it takes.
    """

    def __init__(self, deadline_s: float | None = None) -> None:
        self.deadline_s = deadline_s
        self._owed: dict[str, Late] = {}  # by the message that they answer
        self._behind: dict[int, int] = {}  # node: the latest round that it has not answered
        self._asked: dict[str, tuple[int, int]] = {}  # message: the node, the round over if it answers
        self._came: list[Late] = []

    def add(self, message: str, node: int, late: Late) -> None:
        """A round goes on without the answer to `message`."""
        self._owed[message] = late
        self._asked[message] = node, late.round_number
        self._behind[node] = late.round_number

    def behind(self, grid: Grid) -> dict[int, int]:
        """Which nodes are still behind, and with what round. Asks them whether they are."""
        for reply in grid.pull_messages(list(self._asked)) if self._asked else ():
            self._hear(reply)
        there = set(grid.get_node_ids()) if self._behind else set()
        self._behind = {node: number for node, number in self._behind.items() if node in there}
        for node, number in self._behind.items():
            query = grid.create_message(ask(), QUERY, node, "0")
            self._asked |= {sent: (node, number) for sent in grid.push_messages([query]) if sent}
        return self._behind

    def came(self) -> list[Late]:
        """What has come too late since the last time: nothing of it is merged."""
        came, self._came = self._came, []
        return came

    def _hear(self, reply: Message) -> None:
        answered = reply.metadata.reply_to_message_id
        late = self._owed.pop(answered, None)
        node, number = self._asked.pop(answered, (None, 0))
        # An error that the SuperLink makes for a node that it misses is not the node's, which may work on.
        # The node's own, also that its client has crashed, is an answer.
        if reply.metadata.src_node_id != node:
            return
        if late is not None and not reply.has_error():
            self._came.append(late)
        if self._behind.get(node) == number:
            del self._behind[node]


def ask() -> RecordDict:
    """The content of a query: which client a node is, and what its device can do."""
    return RecordDict({"ask": ConfigRecord()})


def seconds(value: object) -> float:
    """`value` as a deadline in seconds. Raises ValueError if it is none."""
    try:
        found = float(str(value))
    except ValueError:
        found = math.nan
    if not MOST_S >= found > 0:
        raise ValueError(f"seconds above 0, at most {MOST_S:g}")
    return found
