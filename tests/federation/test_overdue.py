"""Rounds that do not wait for ever: who is late is left out, comes back, and its old reply is ignored."""

import time
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Error, Message
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID

from airtune.costs.count import Workload
from airtune.costs.error import Gradients
from airtune.federation import overdue
from airtune.federation.grid import InProcessGrid
from airtune.federation.messages import Assignment, Update
from airtune.federation.overdue import Late, Overdue
from airtune.federation.report import Report
from airtune.federation.round import plan_round
from airtune.federation.setting import Setting, make_setting
from airtune.federation.trainings import Trainings, train_clients
from airtune.planning import Pace
from airtune.pruning.adapters import initial_adapter
from airtune.pruning.measured import measured_path
from airtune.scenario import Payload

NODES = {0: 1, 1: 2, 2: 3, 3: 4}
SLOW = 3  # the node that is late
KNOWN = Gradients(np.ones(4), np.ones(4))


@pytest.fixture(scope="module")
def setting(tiny) -> Setting:
    """The clients here send back as it is what they were sent."""
    exact = tiny.model_copy(update={"payload": Payload(format="float32")})
    return make_setting(exact, measured_path(exact))


@pytest.fixture
def app(setting, monkeypatch) -> ClientApp:
    """Clients that send back what they were sent."""
    monkeypatch.setattr("airtune.federation.exchange.POLL_S", 0.001)
    found = ClientApp()

    @found.query()
    def describe(message, context):
        return Message(Report.of_node(context).to_content(), reply_to=message)

    @found.train()
    def train(message, context):
        asked = Assignment.from_content(message.content)
        shape = asked.reduction.shape(setting.measured.path.full)
        names = [name for name, *_ in shape.adapter_shapes(trained_only=True)]
        sent = {name: asked.adapter[name] for name in names}
        client = int(context.node_config["partition-id"])
        work = (Workload(4, 60.0, 8.0),) * asked.steps
        return Message(Update(client, asked.round_number, sent, 5.0, work).to_content(), reply_to=message)

    return found


class SlowNode(InProcessGrid):
    """One node answers nothing while it is `stuck`; of what it is sent, `lost` messages never arrive."""

    stuck = True
    lost: tuple[str, ...] = ()
    gone = False

    def get_node_ids(self):
        return [node for node in super().get_node_ids() if not (self.gone and node == SLOW)]

    def pull_messages(self, message_ids):
        whose = f"/{SLOW}"
        return super().pull_messages(
            key for key in message_ids if not key.endswith(whose) or (not self.stuck and key not in self.lost)
        )


def play(grid: InProcessGrid, setting: Setting, waits: Overdue, number: int) -> Trainings:
    adapter = initial_adapter(setting.measured.path.full, 0)
    planned = plan_round(setting, KNOWN, Pace(), 1)
    asked = {client: replace(one, round_number=number) for client, one in planned.assignments.items()}
    return train_clients(grid, NODES, setting, adapter, asked, lambda client, loss: None, waits)


def test_who_is_late_is_left_out_until_it_has_caught_up(app, setting):
    grid, waits = SlowNode(app, 4, {}), Overdue(0.01)
    first = play(grid, setting, waits, 1)
    assert first.failed == {2: "no reply within 0.01 s"}
    assert list(first.trained) == [0, 1, 3]
    second = play(grid, setting, waits, 2)
    assert second.failed == {2: "not asked, still at work on round 1"}
    grid.stuck = False
    third = play(grid, setting, waits, 3)
    assert third.failed == {}
    assert third.late == (Late(2, 1),)  # and not what it was asked for now
    assert play(grid, setting, waits, 4).late == ()


def test_who_lost_a_message_comes_back_too(app, setting):
    """Its node says so by answering a query, which it would not if it still trained."""
    grid, waits = SlowNode(app, 4, {}), Overdue(0.01)
    grid.stuck, grid.lost = False, ("1/train/3",)
    assert list(play(grid, setting, waits, 1).failed) == [2]
    assert play(grid, setting, waits, 2).failed == {2: "not asked, still at work on round 1"}
    third = play(grid, setting, waits, 3)
    assert (third.failed, third.late) == ({}, ())


class FailsLate(SlowNode):
    """The late reply is an error of the node `by`. No query is ever answered."""

    lost = ("0/query/3",)

    def __init__(self, by: int, *arguments) -> None:
        super().__init__(*arguments)
        self.by = by

    def push_messages(self, messages):
        asked = list(messages)
        identifiers = super().push_messages(asked)
        for message in asked:
            if message.metadata.message_id == "1/train/3":
                failed = Message(Error(8, "ClientApp stopped responding."), reply_to=message)
                failed.metadata.__dict__["_src_node_id"] = self.by
                self._replies["1/train/3"] = failed
        return identifiers


def test_who_fails_late_has_caught_up_too(app, setting):
    """Such a reply has nothing that could have been merged, so no event tells of it."""
    grid, waits = FailsLate(SLOW, app, 4, {}), Overdue(0.01)
    assert list(play(grid, setting, waits, 1).failed) == [2]
    grid.stuck = False
    second = play(grid, setting, waits, 2)
    assert (second.failed, second.late) == ({}, ())


def test_an_error_that_flower_made_for_a_node_does_not_say_that_it_has_caught_up(app, setting):
    """The SuperLink has not heard of it for a while, as where its link was down; now it is there."""
    grid, waits = FailsLate(SUPERLINK_NODE_ID, app, 4, {}), Overdue(0.01)
    assert list(play(grid, setting, waits, 1).failed) == [2]
    grid.stuck = False
    assert play(grid, setting, waits, 2).failed == {2: "not asked, still at work on round 1"}
    grid.lost = ()
    assert play(grid, setting, waits, 3).failed == {}


def test_a_node_that_is_gone_owes_nothing(app, setting):
    grid, waits = SlowNode(app, 4, {}), Overdue(0.01)
    play(grid, setting, waits, 1)
    assert waits.behind(grid) == {SLOW: 1}
    grid.gone = True
    assert waits.behind(grid) == {}


def test_clocks_that_jump_move_no_deadline(app, setting, monkeypatch):
    """Neither the server's, nor those that replies have their times from."""
    jumps = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: (-1) ** next(jumps) * 1e9)
    grid = InProcessGrid(app, 4, {})
    push = grid.push_messages

    def pushed(messages):
        identifiers = push(messages)
        for identifier in identifiers:
            grid._replies[identifier].metadata.__dict__["_created_at"] = -1e12
        return identifiers

    grid.push_messages = pushed
    done = play(grid, setting, Overdue(60), 1)
    assert done.failed == {}
    assert list(done.trained) == [0, 1, 2, 3]


@pytest.mark.parametrize("wrong", ["", "soon", 0, -1, "nan", "inf", 1e10])
def test_deadlines_are_seconds_above_0(wrong):
    with pytest.raises(ValueError, match="seconds above 0, at most 1e"):
        overdue.seconds(wrong)
    assert overdue.seconds("90") == overdue.seconds(90) == 90.0
