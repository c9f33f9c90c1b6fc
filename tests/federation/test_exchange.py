"""A round over grids that behave badly: replies out of order, wrong, or missing."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from airtune import AirtuneError
from airtune.costs.count import Workload
from airtune.costs.error import Gradients
from airtune.federation.exchange import nodes_by_client
from airtune.federation.gradients import products
from airtune.federation.grid import InProcessGrid
from airtune.federation.learn import merge, train_clients
from airtune.federation.messages import Assignment, Update
from airtune.federation.round import clocked, plan_round
from airtune.federation.setting import Setting, make_setting
from airtune.planning import Pace, Plan
from airtune.pruning.adapters import Adapter, initial_adapter, slice_adapter
from airtune.pruning.measured import measured_path
from airtune.randomness import generator

IDS = ["slow-0", "slow-1", "fast-0", "fast-1"]
Reply = Callable[[int, RecordDict], RecordDict]


@pytest.fixture(scope="module")
def setting(tiny) -> Setting:
    return make_setting(tiny, measured_path(tiny))


@pytest.fixture(scope="module")
def adapter(setting) -> Adapter:
    return initial_adapter(setting.measured.path.full, 0)


def fake_app(setting: Setting, tamper: Reply = lambda client, content: content) -> ClientApp:
    """Clients that add noise of their own instead of training; `tamper` changes what they reply."""
    app, path = ClientApp(), setting.measured.path

    @app.query()
    def describe(message, context):
        return Message(
            RecordDict({"profile": ConfigRecord({"partition-id": context.node_config["partition-id"]})}),
            reply_to=message,
        )

    @app.train()
    def train(message, context):
        client = context.node_config["partition-id"]
        assignment = Assignment.from_content(message.content)
        noise = generator(0, "noise", client)
        shape = assignment.reduction.shape(path.full)
        trained = {
            name: assignment.adapter[name] + noise.standard_normal(size).astype(np.float32)
            for name, _, _, size in shape.adapter_shapes(trained_only=True)
        }
        content = Update(trained, 5.0, (Workload(4, 60.0, 8.0),) * 2).to_content()
        reply = tamper(client, content)
        return Message(reply, reply_to=message) if isinstance(reply, RecordDict) else reply_error(message)

    def reply_error(message):
        return Message(Error(code=0, reason="out of memory"), reply_to=message)

    return app


class ShuffledGrid(InProcessGrid):
    """Keeps all replies back until the last message is out, and then hands them out one at a time."""

    order: tuple[int, ...] = ()

    def pull_messages(self, message_ids):
        waiting = {int(key.rsplit("/", 1)[1]) for key in message_ids}
        if waiting & {1, 2, 3, 4} and len(self._replies) + len(self.handed) < 4:
            return []
        for node in self.order:
            if node in waiting and node not in self.handed:
                self.handed.append(node)
                return super().pull_messages([key for key in message_ids if key.endswith(f"/{node}")])
        return []

    def send_and_receive(self, messages, *, timeout=None):
        return InProcessGrid.pull_messages(self, self.push_messages(messages))


@dataclass
class Played:
    plan: Plan
    adapter: Adapter
    products: np.ndarray
    facts: dict


def play(grid: InProcessGrid, setting: Setting, adapter: Adapter, told: list | None = None) -> Played:
    nodes = nodes_by_client(grid, IDS)
    planned = plan_round(setting, Gradients(np.ones(len(IDS)), np.ones(len(IDS))), Pace(), 1)
    trained, training = train_clients(
        grid,
        nodes,
        setting,
        adapter,
        planned.assignments,
        lambda client, loss: told.append(client) if told is not None else None,
    )
    merged = merge(setting, adapter, planned.assignments, trained)
    moved = products(adapter, list(trained.values()))
    return Played(planned.plan, merged, moved, clocked(setting, planned, training))


@pytest.mark.parametrize("order", [(4, 3, 2, 1), (2, 4, 1, 3)])
def test_the_order_of_replies_does_not_matter(order, setting, adapter, monkeypatch):
    monkeypatch.setattr("airtune.federation.exchange.POLL_S", 0.0)
    straight = play(InProcessGrid(fake_app(setting), 4, {}), setting, adapter)
    grid = ShuffledGrid(fake_app(setting), 4, {})
    grid.order, grid.handed = order, []
    told = []
    shuffled = play(grid, setting, adapter, told)
    assert told == [IDS[node - 1] for node in order]
    assert shuffled.facts == straight.facts
    assert (shuffled.products == straight.products).all()
    assert all((shuffled.adapter[name] == straight.adapter[name]).all() for name in adapter)
    assert any((straight.adapter[name] != adapter[name]).any() for name in adapter)


def replaced(content: RecordDict, **arrays: np.ndarray | None) -> RecordDict:
    """The reply with some matrices replaced, or left out where there is None."""
    found = {name: array.numpy() for name, array in content.array_records["adapter"].items()} | arrays
    record = ArrayRecord({name: Array(array) for name, array in found.items() if array is not None})
    return RecordDict(dict(content) | {"adapter": record})


def first_matrix(content: RecordDict) -> tuple[str, np.ndarray]:
    name = next(iter(content.array_records["adapter"]))
    return name, content.array_records["adapter"][name].numpy()


def not_finite(content: RecordDict) -> RecordDict:
    name, matrix = first_matrix(content)
    matrix = matrix.copy()
    matrix[0, 0] = np.nan
    return replaced(content, **{name: matrix})


def wrong_shape(content: RecordDict) -> RecordDict:
    name, matrix = first_matrix(content)
    return replaced(content, **{name: matrix[:, :-1]})


def missing(content: RecordDict) -> RecordDict:
    return replaced(content, **{first_matrix(content)[0]: None})


def stranger(content: RecordDict) -> RecordDict:
    return replaced(content, stranger=np.ones((2, 2), dtype=np.float32))


def no_loss(content: RecordDict) -> RecordDict:
    metrics = MetricRecord(dict(content.metric_records["metrics"]) | {"loss": float("nan")})
    return RecordDict(dict(content) | {"metrics": metrics})


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (not_finite, "is not finite"),
        (wrong_shape, "without a matrix .* of shape"),
        (missing, "without a matrix"),
        (stranger, "a matrix stranger that was not asked for"),
        (no_loss, "a training loss that is not finite"),
        (lambda content: RecordDict({}), "a reply that is not an update"),
        (lambda content: None, "out of memory"),
    ],
)
def test_a_wrong_reply_is_blamed_on_its_client(tamper, expected, setting, adapter):
    app = fake_app(setting, lambda client, content: tamper(content) if client == 2 else content)
    with pytest.raises(AirtuneError, match=f"^round 1: client fast-0: .*{expected}"):
        play(InProcessGrid(app, 4, {}), setting, adapter)


def querying(answer: Callable[[int], dict]) -> InProcessGrid:
    app = ClientApp()

    @app.query()
    def describe(message, context):
        profile = ConfigRecord(answer(context.node_config["partition-id"]))
        return Message(RecordDict({"profile": profile}), reply_to=message)

    return InProcessGrid(app, 4, {})


def test_nodes_are_found_by_what_they_say():
    assert nodes_by_client(querying(lambda client: {"partition-id": 3 - client}), IDS) == {
        3: 1,
        2: 2,
        1: 3,
        0: 4,
    }


def test_nodes_that_do_not_make_up_the_fleet_are_refused():
    with pytest.raises(AirtuneError, match="two nodes say that they are client 1"):
        nodes_by_client(querying(lambda client: {"partition-id": 1}), IDS)
    with pytest.raises(AirtuneError, match="node 1: a reply that does not say which client it is"):
        nodes_by_client(querying(lambda client: {"name": "x"}), IDS)
    with pytest.raises(AirtuneError, match="no node is client late"):
        nodes_by_client(querying(lambda client: {"partition-id": client}), [*IDS, "late"])


def test_a_client_gets_its_sub_model_s_adapter_and_no_more(setting, adapter):
    seen = {}

    class Listening(InProcessGrid):
        def push_messages(self, messages):
            messages = list(messages)
            for message in messages:
                if message.metadata.message_type == "train":
                    seen[message.metadata.dst_node_id - 1] = Assignment.from_content(message.content)
            return super().push_messages(messages)

    played = play(Listening(fake_app(setting), 4, {}), setting, adapter)
    path = setting.measured.path
    assert sorted(seen) == [0, 1, 2, 3]
    for client, assignment in seen.items():
        expected = path.reduction(float(played.plan.prune[client]))
        assert (assignment.reduction.neurons == expected.neurons).all()
        held = slice_adapter(adapter, path.full, expected)
        assert assignment.adapter.keys() == held.keys()
        assert all((assignment.adapter[name] == held[name]).all() for name in held)
    assert played.facts["bytes_down"] == sum(row["bytes_down"] for row in played.facts["clients"])
