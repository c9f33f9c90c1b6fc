"""Messages over a Flower grid: who the nodes are, and a round's assignments sent and answered."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from airtune.errors import AirtuneError

POLL_S = 0.2  # how often a grid of separate processes is asked for replies


def nodes_by_client(grid: Grid, ids: Sequence[str]) -> dict[int, int]:
    """Ask every node which client it is. Node ids are random, so everything is keyed by client instead.

    Args:
        ids: of all clients, in the order of their numbers.

    Raises:
        AirtuneError: a node answers with an error, two nodes are the same client, or a client has no node.
    """
    messages = [
        grid.create_message(RecordDict({"ask": ConfigRecord()}), "query", node, "0")
        for node in grid.get_node_ids()
    ]
    found: dict[int, int] = {}
    for reply in grid.send_and_receive(messages):
        node = reply.metadata.src_node_id
        with blame(f"node {node}"):
            client = _client_number(content_of(reply))
        if client in found:
            raise AirtuneError(f"two nodes say that they are client {client}")
        found[client] = node
    for client, identifier in enumerate(ids):
        if client not in found:
            raise AirtuneError(f"no node is client {identifier}")
    return found


def exchange(
    grid: Grid, nodes: Mapping[int, int], contents: Mapping[int, RecordDict], round_number: int
) -> Iterator[tuple[int, Message]]:
    """Send every client its content and yield (client, reply) as replies come in."""
    waiting: dict[str, int] = {}
    clients = {node: client for client, node in nodes.items()}

    def arrived() -> Iterator[tuple[int, Message]]:
        for reply in grid.pull_messages(list(waiting)):
            client = clients[reply.metadata.src_node_id]
            for identifier in [key for key, value in waiting.items() if value == client]:
                del waiting[identifier]
            yield client, reply

    for client, content in contents.items():
        message = grid.create_message(content, "train", nodes[client], str(round_number))
        for identifier in grid.push_messages([message]):
            waiting[identifier] = client
        yield from arrived()
    while waiting:
        time.sleep(POLL_S)
        yield from arrived()


def content_of(reply: Message) -> RecordDict:
    """What a reply holds. Raises AirtuneError if it is an error instead."""
    if reply.has_error():
        raise AirtuneError(reply.error.reason)
    return reply.content


@contextmanager
def blame(who: str) -> Iterator[None]:
    """Begin errors with the one whose reply is wrong."""
    try:
        yield
    except AirtuneError as error:
        raise AirtuneError(f"{who}: {error}") from error


def _client_number(content: RecordDict) -> int:
    try:
        return int(content.config_records["profile"]["partition-id"])  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as error:
        raise AirtuneError("a reply that does not say which client it is") from error
