"""Which node is which client: when a run begins, and as nodes come and go."""

from collections.abc import Callable

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from playing import IDS

from airtune import AirtuneError
from airtune.federation.exchange import nodes_by_client, nodes_now
from airtune.federation.grid import InProcessGrid


def querying(answer: Callable[[int], dict]) -> InProcessGrid:
    app = ClientApp()

    @app.query()
    def describe(message, context):
        profile = ConfigRecord(answer(context.node_config["partition-id"]))
        return Message(RecordDict({"profile": profile}), reply_to=message)

    return InProcessGrid(app, 4, {})


def test_nodes_are_found_by_what_they_say():
    nodes, _ = nodes_by_client(querying(lambda client: {"partition-id": 3 - client}), IDS)
    assert nodes == {
        3: 1,
        2: 2,
        1: 3,
        0: 4,
    }


def test_nodes_that_do_not_make_up_the_fleet_are_refused(monkeypatch):
    monkeypatch.setattr("airtune.federation.exchange.CONNECT_S", 0.0)
    with pytest.raises(AirtuneError, match="two nodes say that they are client 1"):
        nodes_by_client(querying(lambda client: {"partition-id": 1}), IDS)
    with pytest.raises(AirtuneError, match="node 1: a reply that does not say which client it is"):
        nodes_by_client(querying(lambda client: {"name": "x"}), IDS)
    with pytest.raises(AirtuneError, match="no node is client late"):
        nodes_by_client(querying(lambda client: {"partition-id": client}), [*IDS, "late"])


def test_a_run_waits_for_nodes_that_are_still_to_come(monkeypatch):
    monkeypatch.setattr("airtune.federation.exchange.POLL_S", 0.0)
    grid = querying(lambda client: {"partition-id": client})
    late = iter([[1, 2], [1, 2], [1, 2, 3, 4]])
    grid.get_node_ids = lambda: next(late)
    assert nodes_by_client(grid, IDS)[0] == {0: 1, 1: 2, 2: 3, 3: 4}


def test_a_client_that_comes_back_has_a_new_node():
    grid = querying(lambda client: {"partition-id": client % 3})
    grid.get_node_ids = lambda: [2, 3, 4]  # node 1 was client 0, and node 4 is now
    assert nodes_now(grid, {0: 1, 1: 2, 2: 3}) == {0: 4, 1: 2, 2: 3}
    grid.get_node_ids = lambda: [2, 3]
    assert nodes_now(grid, {0: 1, 1: 2, 2: 3}) == {1: 2, 2: 3}


def test_no_newcomer_takes_the_place_of_a_node_that_is_there():
    grid = querying(lambda client: {"partition-id": client % 3})  # node 4 says that it is client 0
    assert nodes_now(grid, {0: 1, 1: 2, 2: 3}) == {0: 1, 1: 2, 2: 3}
