"""Messages over a Flower grid: who the nodes are, and a round's assignments sent and answered."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from airtune.errors import AirtuneError
from airtune.federation.overdue import QUERY, Late, Overdue, ask
from airtune.federation.report import Report

CONNECT_S = 120.0  # how long a run waits for all its nodes before it begins
ANSWER_S = 300.0  # and for what they say of themselves; nodes may have to start processes for that
POLL_S = 0.2  # how often a grid of separate processes is asked for replies


def nodes_by_client(grid: Grid, ids: Sequence[str]) -> tuple[dict[int, int], dict[int, Report]]:
    """Ask every node which client it is. Node ids are random, so everything is keyed by client instead.

    Waits for nodes that are still to come, and asks again those that answer with an error.

    Args:
        ids: of all clients, in the order of their numbers.

    Returns:
        The node of every client, and what each reports of its device.

    Raises:
        AirtuneError: two nodes are the same client, or a client has no node, if none answers with an error.
    """
    found: dict[int, int] = {}
    wrong: dict[int, AirtuneError] = {}
    reports: dict[int, Report] = {}
    latest = time.monotonic() + CONNECT_S
    while True:
        for node, report in _answers(grid, set(grid.get_node_ids()) - set(found.values())):
            if isinstance(report, AirtuneError):
                wrong[node] = report
                continue
            wrong.pop(node, None)
            if report.client in found:
                raise AirtuneError(f"two nodes say that they are client {report.client}")
            found[report.client], reports[report.client] = node, report
        absent = [identifier for client, identifier in enumerate(ids) if client not in found]
        if not absent:
            return found, reports
        if time.monotonic() > latest:
            for node, error in wrong.items():
                raise AirtuneError(f"node {node}: {error}") from error
            raise AirtuneError(f"no node is client {absent[0]}")
        time.sleep(POLL_S)


def nodes_now(grid: Grid, nodes: Mapping[int, int]) -> dict[int, int]:
    """The nodes that are there now: those gone are left out, and newcomers are asked which client they are.

    A client whose process was started again has a new node, which takes the place of the old one once that is
    gone: no newcomer takes the place of a node that is there. One that gives no answer is nobody.
    """
    there = set(grid.get_node_ids())
    stay = {client: node for client, node in nodes.items() if node in there}
    new = _answers(grid, there - set(nodes.values()))
    return {report.client: node for node, report in new if isinstance(report, Report)} | stay


def exchange(
    grid: Grid,
    nodes: Mapping[int, int],
    contents: Mapping[int, RecordDict],
    round_number: int,
    overdue: Overdue,
) -> Iterator[tuple[int, RecordDict | AirtuneError]]:
    """Send every client its content and yield (client, reply) as replies come in, each client once.

    An error stands for a reply that did not come: the client has no node, could not be reached, has failed,
    was late, or was not asked as it still works on an earlier round.
    """
    waiting: dict[str, int] = {}
    behind = overdue.behind(grid)

    def arrived() -> Iterator[tuple[int, RecordDict | AirtuneError]]:
        for reply in grid.pull_messages(list(waiting)):
            # By the message it answers: an error need not come from the node that was asked.
            client = waiting.pop(reply.metadata.reply_to_message_id, None)
            if client is not None:
                yield client, _content(reply, nodes[client])

    for client, content in contents.items():
        if nodes.get(client) in behind:
            yield client, AirtuneError(f"not asked, still at work on round {behind[nodes[client]]}")
            continue
        sent: list[str] = []
        if client in nodes:
            message = grid.create_message(content, "train", nodes[client], str(round_number))
            sent = [identifier for identifier in grid.push_messages([message]) if identifier]
        if not sent:
            yield client, AirtuneError("no node that could be reached")
        for identifier in sent:
            waiting[identifier] = client
        yield from arrived()
    latest = math.inf if overdue.deadline_s is None else time.monotonic() + overdue.deadline_s
    while waiting and time.monotonic() < latest:
        time.sleep(POLL_S)
        yield from arrived()
    for identifier, client in waiting.items():
        overdue.add(identifier, nodes[client], Late(client, round_number))
        yield client, AirtuneError(f"no reply within {overdue.deadline_s:g} s")


def _content(reply: Message, node: int) -> RecordDict | AirtuneError:
    if reply.has_error():
        return AirtuneError(" ".join((reply.error.reason or "an error without a reason").split()))
    if reply.metadata.src_node_id != node:
        return AirtuneError("a reply that comes from another's node")
    return reply.content


def _answers(grid: Grid, nodes: Iterable[int]) -> Iterator[tuple[int, Report | AirtuneError]]:
    """(node, what it says of itself, or what is wrong with its answer), of those that answer in time."""
    messages = [grid.create_message(ask(), QUERY, node, "0") for node in sorted(nodes)]
    for reply in grid.send_and_receive(messages, timeout=ANSWER_S) if messages else ():
        node = reply.metadata.src_node_id
        content = _content(reply, node)
        yield node, content if isinstance(content, AirtuneError) else _report(content)


def _report(content: RecordDict) -> Report | AirtuneError:
    try:
        return Report.from_content(content)
    except AirtuneError as error:
        return error
