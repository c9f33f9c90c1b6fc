"""A round over grids that behave badly: replies out of order, or of another node."""

import pytest
from playing import IDS, fake_app, play

from airtune.federation.grid import InProcessGrid
from airtune.federation.messages import Assignment
from airtune.pruning.adapters import slice_adapter


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
