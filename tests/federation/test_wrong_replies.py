"""A round in which a reply is wrong or missing: it is left out, and its client is named."""

import re

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import fake_app, play

from airtune.federation.grid import InProcessGrid
from airtune.payload.joined import JOINED


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


@settings(max_examples=40)
@given(data=st.data())
def test_no_reply_whatever_is_in_it_stops_a_round(data, setting, adapter):
    integers, floats = st.integers(-(2**62), 2**62), st.floats()
    values = integers | floats
    names = st.sampled_from(["loss", "rows", "length", "labels"])
    numbers = st.dictionaries(names, values | st.lists(integers) | st.lists(floats))
    words = st.dictionaries(st.sampled_from(["client", "round"]), values | st.text(max_size=5) | st.binary())
    arrays = st.dictionaries(
        st.sampled_from([JOINED, *sorted(adapter)]),
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
