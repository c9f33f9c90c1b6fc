"""A round over grids that behave badly: replies out of order, wrong, or missing."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from hypothesis import given, settings
from hypothesis import strategies as st

from airtune import AirtuneError
from airtune.costs.count import Workload
from airtune.costs.error import Gradients
from airtune.federation.exchange import nodes_by_client, nodes_now
from airtune.federation.gradients import products
from airtune.federation.grid import InProcessGrid
from airtune.federation.learn import merge
from airtune.federation.messages import Assignment, Update
from airtune.federation.overdue import Overdue
from airtune.federation.round import clocked, plan_round
from airtune.federation.setting import Setting, make_setting
from airtune.federation.trainings import train_clients
from airtune.payload.joined import JOINED
from airtune.planning import Pace, Plan
from airtune.pruning.adapters import Adapter, initial_adapter, slice_adapter
from airtune.pruning.measured import measured_path
from airtune.randomness import generator
from airtune.scenario import Payload

IDS = ["slow-0", "slow-1", "fast-0", "fast-1"]
Reply = Callable[[int, RecordDict], RecordDict]


@pytest.fixture(scope="module")
def setting(tiny) -> Setting:
    """The clients here send what they like as it is."""
    exact = tiny.model_copy(update={"payload": Payload(format="float32", download="float32")})
    return make_setting(exact, measured_path(exact))


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
        work = (Workload(4, 60.0, 8.0),) * assignment.steps
        content = Update(client, assignment.round_number, trained, 5.0, work).to_content()
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
    failed: dict


def play(grid: InProcessGrid, setting: Setting, adapter: Adapter, told: list | None = None) -> Played:
    nodes, _ = nodes_by_client(grid, IDS)
    planned = plan_round(setting, Gradients(np.ones(len(IDS)), np.ones(len(IDS))), Pace(), 1)
    done = train_clients(
        grid,
        nodes,
        setting,
        adapter,
        planned.assignments,
        lambda client, loss: told.append(client) if told is not None else None,
        Overdue(),
    )
    merged = merge(setting, adapter, planned.assignments, done.trained)
    moved = products(adapter, list(done.trained.values()))
    return Played(
        planned.plan, merged, moved, clocked(setting, planned, done.facts, done.failed), done.failed
    )


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


def replaced(content: RecordDict, array: np.ndarray, name: str = JOINED) -> RecordDict:
    """The reply with another array beside the one with all matrices, or in its place."""
    record = ArrayRecord(dict(content.array_records["adapter"]) | {name: Array(array)})
    return RecordDict(dict(content) | {"adapter": record})


def numbers(content: RecordDict) -> np.ndarray:
    return content.array_records["adapter"][JOINED].numpy().copy()


def not_finite(content: RecordDict) -> RecordDict:
    found = numbers(content)
    found[0] = np.nan
    return replaced(content, found)


def wrong_size(content: RecordDict) -> RecordDict:
    return replaced(content, numbers(content)[:-1])


def missing(content: RecordDict) -> RecordDict:
    return RecordDict(dict(content) | {"adapter": ArrayRecord({})})


def stranger(content: RecordDict) -> RecordDict:
    return replaced(content, np.ones((2, 2), dtype=np.float32), "stranger")


def no_loss(content: RecordDict) -> RecordDict:
    return with_metrics(content, loss=float("nan"))


def with_metrics(content: RecordDict, **changes: object) -> RecordDict:
    metrics = MetricRecord(dict(content.metric_records["metrics"]) | changes)
    return RecordDict(dict(content) | {"metrics": metrics})


def from_another(content: RecordDict, **changes: int) -> RecordDict:
    origin = ConfigRecord(dict(content.config_records["origin"]) | changes)
    return RecordDict(dict(content) | {"origin": origin})


def ten_times(content: RecordDict) -> RecordDict:
    return replaced(content, np.tile(numbers(content), 10))


def no_safetensors(content: RecordDict) -> RecordDict:
    record = content.array_records["adapter"]
    record[JOINED] = Array("float32", record[JOINED].shape, "numpy.ndarray", b"garbage" * 1000)
    return content


def more_records(content: RecordDict) -> RecordDict:
    return RecordDict(dict(content) | {"more": ArrayRecord({"x": Array(np.zeros((1000, 1000)))})})


WRONG = [
    (not_finite, "is not finite"),
    (wrong_size, "is not the .* numbers in float32 that were asked for"),
    (missing, "is not the .* numbers in float32 that were asked for"),
    (stranger, "an array stranger that was not asked for"),
    (ten_times, "is not the .* numbers in float32 that were asked for"),
    (no_safetensors, "is not the .* numbers in float32 that were asked for"),
    (more_records, "a record more that was not asked for"),
    (no_loss, "a training loss that is"),
    (lambda content: with_metrics(content, loss=1e300), "a training loss that is"),
    (lambda content: with_metrics(content, rows=[4] * 10**5), "another number of steps than 2"),
    (lambda content: with_metrics(content, rows=[4, 10**9]), "a training step"),
    (lambda content: with_metrics(content, length=[60.0, 1e300]), "a training step"),
    (lambda content: with_metrics(content, labels=[60.0, -1.0]), "a training step"),
    (lambda content: from_another(content, client=0), "that says it is client 0's"),
    (lambda content: from_another(content, round=7), "an update of round 7"),
    (lambda content: RecordDict({}), "a reply that is not an update"),
    (lambda content: None, "out of memory"),
]


@pytest.mark.parametrize(("tamper", "expected"), WRONG)
def test_a_wrong_reply_is_left_out_and_blamed_on_its_client(tamper, expected, setting, adapter):
    """What is merged is what would have been without that client: the weights are those that are left."""
    app = fake_app(setting, lambda client, content: tamper(content) if client == 2 else content)
    played = play(InProcessGrid(app, 4, {}), setting, adapter)
    assert list(played.failed) == [2]
    assert re.search(expected, played.failed[2])
    gone = play(Partial(fake_app(setting), 4, {}), setting, adapter)
    assert gone.failed == {2: "no node that could be reached"}
    assert all((played.adapter[name] == gone.adapter[name]).all() for name in adapter)
    assert [(one["id"], one["why"], one["reason"]) for one in played.facts.pop("lost")] == [
        ("fast-0", "failure", played.failed[2])
    ]
    assert gone.facts.pop("lost")[0]["reason"] == gone.failed[2]
    assert played.facts == gone.facts
    assert [row["id"] for row in played.facts["clients"]] == ["slow-0", "slow-1", "fast-1"]


class Partial(InProcessGrid):
    """Loses what is for client 2."""

    def push_messages(self, messages):
        for message in messages:
            if message.metadata.message_type == "train" and message.metadata.dst_node_id == 3:
                return [None]
        return super().push_messages(messages)


def test_an_endless_reason_is_cut_and_does_nothing_to_a_terminal(setting, adapter):
    app = fake_app(setting, lambda client, content: None if client == 1 else content)
    grid = InProcessGrid(app, 4, {})
    push = grid.push_messages

    def pushed(messages):
        identifiers = push(messages)
        for identifier in identifiers:
            reply = grid._replies[identifier]
            if reply.has_error():
                reply.error.__dict__["_reason"] = "\x1b[2J" + "x" * 10**6
        return identifiers

    grid.push_messages = pushed
    (reason,) = play(grid, setting, adapter).failed.values()
    assert len(reason) < 300
    assert reason.isprintable()


class Impostor(InProcessGrid):
    """Client 1 answers what client 0 was asked, and client 3's reply comes twice."""

    def pull_messages(self, message_ids):
        replies = super().pull_messages(message_ids)
        trained = [reply for reply in replies if reply.metadata.message_type == "train"]
        for reply in trained:
            if reply.metadata.src_node_id == 1:
                reply.metadata.__dict__["_src_node_id"] = 2
        return [*replies, *(reply for reply in trained if reply.metadata.src_node_id == 4)]


def test_a_reply_counts_once_and_only_from_the_node_that_was_asked(setting, adapter):
    told = []
    played = play(Impostor(fake_app(setting), 4, {}), setting, adapter, told)
    assert played.failed == {0: "a reply that comes from another's node"}
    assert told == ["slow-1", "fast-0", "fast-1"]


@settings(max_examples=40)
@given(data=st.data())
def test_no_reply_whatever_is_in_it_stops_a_round(data, setting, adapter):
    integers, floats = st.integers(-(2**62), 2**62), st.floats()
    values = integers | floats
    names = st.sampled_from(["loss", "rows", "length", "labels"])
    numbers = st.dictionaries(names, values | st.lists(integers) | st.lists(floats))
    words = st.dictionaries(st.sampled_from(["client", "round"]), values | st.text(max_size=5) | st.binary())
    arrays = st.dictionaries(
        st.sampled_from(sorted(adapter)),
        st.builds(lambda raw: Array("float32", (1,), "numpy.ndarray", raw), st.binary(max_size=300)),
        max_size=3,
    )
    record = (
        st.builds(MetricRecord, numbers) | st.builds(ConfigRecord, words) | st.builds(ArrayRecord, arrays)
    )
    names = st.sampled_from(["adapter", "metrics", "origin", "more"])

    def tamper(client, content):
        if client != 3:
            return content
        kept = {name: part for name, part in content.items() if data.draw(st.booleans())}
        return RecordDict(kept | data.draw(st.dictionaries(names, record, max_size=3)))

    played = play(InProcessGrid(fake_app(setting, tamper), 4, {}), setting, adapter)
    assert set(played.failed) <= {3}
    assert all(np.isfinite(matrix).all() for matrix in played.adapter.values())


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
