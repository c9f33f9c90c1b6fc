"""One round over a Flower grid: plan, slice, send, receive, merge; and what it took."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from airtune.costs.count import upload_forms
from airtune.costs.error import Gradients
from airtune.costs.round_time import steps_within
from airtune.errors import AirtuneError
from airtune.federation.clock import Work, clock_round, clock_unplanned
from airtune.federation.gradients import update
from airtune.federation.messages import Assignment, Update, adapter_bytes
from airtune.federation.setting import Setting
from airtune.payload.update import decode_update
from airtune.planning import Pace, Plan
from airtune.pruning.adapters import Adapter, check_update, slice_adapter, slice_sent
from airtune.radio.channel import Channels, draw_channels

POLL_S = 0.2  # how often a grid of separate processes is asked for replies


@dataclass(frozen=True)
class PlayedRound:
    """The plan, the merged adapter, what is now known of the gradients, and the facts for the event."""

    plan: Plan
    adapter: Adapter
    known: Gradients
    facts: dict[str, Any]


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
        with _blame(f"node {node}"):
            client = _client_number(_content(reply))
        if client in found:
            raise AirtuneError(f"two nodes say that they are client {client}")
        found[client] = node
    for client, identifier in enumerate(ids):
        if client not in found:
            raise AirtuneError(f"no node is client {identifier}")
    return found


def _client_number(content: RecordDict) -> int:
    try:
        return int(content.config_records["profile"]["partition-id"])  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as error:
        raise AirtuneError("a reply that does not say which client it is") from error


def play_round(
    grid: Grid,
    nodes: Mapping[int, int],
    setting: Setting,
    adapter: Adapter,
    known: Gradients,
    pace: Pace,
    round_number: int,
    on_client: Callable[[str, float], None],
) -> PlayedRound:
    """Play one round from `adapter`.

    Args:
        nodes: node of every client, from `nodes_by_client`.
        known: of the clients' gradients, as the rounds before have measured them.
        pace: of the rounds before, as they were planned.
        on_client: told (client id, training loss) of every client as it finishes.

    Raises:
        AirtuneError: a client fails or its update cannot be merged; names the client.
        InfeasibleError: this round's channels allow no plan.
    """
    channels = draw_channels(setting.scenario, round_number)
    plan = setting.method.plan(setting.situation(channels, known, round_number, pace))
    members, path = setting.scenario.members(), setting.measured.path
    reductions = {
        client: path.reduction(float(plan.prune[client]))
        for client in range(len(members))
        if plan.participates[client]
    }
    steps = steps_within(setting.scenario, setting.curves, plan)
    contents = {
        client: Assignment(
            round_number,
            int(steps[client]),
            reduction,
            setting.method.proximal,
            slice_sent(adapter, path.full, reduction),
        ).to_content()
        for client, reduction in reductions.items()
    }
    work: dict[int, Work] = {}
    updates: dict[int, Update] = {}
    trained: dict[int, Adapter] = {}
    payload = setting.scenario.payload
    for client, reply in _exchange(grid, nodes, contents, round_number):
        name, shape = members[client].id, reductions[client].shape(path.full)
        with _blame(f"round {round_number}: client {name}"):
            content = _content(reply)
            updates[client] = Update.from_content(content, upload_forms(shape, payload))
            held = slice_adapter(adapter, path.full, reductions[client], trained_only=True)
            trained[client] = decode_update(updates[client].matrices, held, payload)
            check_update(trained[client], shape)
        sent = adapter_bytes(contents[client]), adapter_bytes(content)
        work[client] = Work(shape, updates[client].work, *sent)
        on_client(name, updates[client].loss)
    # Sorted: floating-point sums must not depend on who answered first.
    holders = [(members[client].weight, reductions[client], trained[client]) for client in sorted(trained)]
    merged = setting.method.aggregate(adapter, path.full, holders)
    sketches = {client: update.sketches for client, update in updates.items()}
    weight = np.array([member.weight for member in members])
    facts = _facts(setting, round_number, channels, plan, work, updates)
    examples = {client: reductions[client].examples for client in updates}
    return PlayedRound(plan, merged, update(known, sketches, examples, weight), facts)


def _facts(
    setting: Setting,
    round_number: int,
    channels: Channels,
    plan: Plan,
    work: Mapping[int, Work],
    updates: Mapping[int, Update],
) -> dict[str, Any]:
    """The round's event, but for what the server's judge and clocks add."""
    members = setting.scenario.members()
    times = clock_round(setting, channels, plan, work)
    round_s = max(spent.total_s for spent in times.values())
    clients = [
        {
            "id": members[client].id,
            "prune": setting.measured.path.snapped(float(plan.prune[client])),
            "bandwidth_hz": float(plan.bandwidth_hz[client]),
            "download_s": spent.download_s,
            "compute_s": spent.compute_s,
            "upload_s": spent.upload_s,
            "waiting_s": round_s - spent.total_s,
            "bytes_up": work[client].bytes_up,
            "bytes_down": work[client].bytes_down,
            "flops": work[client].flops,
            "loss": updates[client].loss,
            "trained_layers": work[client].shape.layers - work[client].shape.first_trained,
        }
        for client, spent in sorted(times.items())
    ]
    return {
        "round": round_number,
        "round_s": round_s,
        "planned_s": plan.round_s,
        "fedit_s": clock_unplanned(setting, channels, work),
        "bytes_up": sum(done.bytes_up for done in work.values()),
        "bytes_down": sum(done.bytes_down for done in work.values()),
        "flops": sum(done.flops for done in work.values()),
        "clients": clients,
    }


def _exchange(
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


def _content(reply: Message) -> RecordDict:
    if reply.has_error():
        raise AirtuneError(reply.error.reason)
    return reply.content


@contextmanager
def _blame(who: str) -> Iterator[None]:
    """Begin errors with the one whose reply is wrong."""
    try:
        yield
    except AirtuneError as error:
        raise AirtuneError(f"{who}: {error}") from error
