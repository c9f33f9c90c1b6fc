"""One round over a grid, with clients that add noise instead of training."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from airtune.costs.count import Workload
from airtune.costs.error import Gradients
from airtune.federation.exchange import nodes_by_client
from airtune.federation.gradients import products
from airtune.federation.grid import InProcessGrid
from airtune.federation.learn import merge
from airtune.federation.messages import Assignment, Update
from airtune.federation.overdue import Overdue
from airtune.federation.round import clocked, plan_round
from airtune.federation.setting import Setting
from airtune.federation.trainings import train_clients
from airtune.planning import Pace, Plan
from airtune.pruning.adapters import Adapter
from airtune.randomness import generator

IDS = ["slow-0", "slow-1", "fast-0", "fast-1"]
Reply = Callable[[int, RecordDict], RecordDict]


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
