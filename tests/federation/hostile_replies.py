"""Replies that no client would send, read by `train_clients` as a run does, and reports of nodes."""

from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from hostile_bytes import dented, other_array, scrambled

from airtune import load_scenario
from airtune.costs.count import Workload
from airtune.costs.error import Gradients
from airtune.errors import AirtuneError
from airtune.federation.exchange import nodes_now
from airtune.federation.grid import InProcessGrid
from airtune.federation.learn import merge
from airtune.federation.messages import Update
from airtune.federation.overdue import Overdue
from airtune.federation.report import Report
from airtune.federation.round import PlannedRound, plan_round
from airtune.federation.setting import Setting, make_setting
from airtune.federation.trainings import train_clients
from airtune.payload.update import encode_update
from airtune.planning import Pace
from airtune.pruning.adapters import Adapter, initial_adapter, slice_adapter
from airtune.pruning.measured import measured_path
from airtune.scenario import Scenario

TINY = Path(__file__).parents[2] / "examples" / "tiny.yaml"
PAYLOADS = (
    {"format": "float32"},
    {"format": "bfloat16"},
    {},
    {"format": "int4", "keep": 0.25},
    {"keep": 0.01},
)


@lru_cache
def fleet(number: int, private: bool) -> tuple[Setting, Adapter, PlannedRound]:
    changes: dict[str, Any] = {"payload": PAYLOADS[number], "method": "uniform"}
    if private:
        changes["privacy"] = {"clip": 1.0, "noise": 0.1}
    scenario = Scenario.model_validate(load_scenario(TINY).model_dump() | changes)
    setting = make_setting(scenario, measured_path(scenario))
    adapter = initial_adapter(setting.measured.path.full, 0)
    planned = plan_round(setting, Gradients(np.ones(4), np.ones(4)), Pace(), 1)
    return setting, adapter, planned


def hostile_reply(random: Random) -> str:
    """One client's reply is spoilt, another's is right: the round goes on with at least that one."""
    number, private = random.randrange(len(PAYLOADS)), random.random() < 0.2
    setting, adapter, planned = fleet(number, private)
    asked = {client: planned.assignments[client] for client in (0, 3)}
    right = {client: _right_reply(number, private, client) for client in asked}
    app = ClientApp()

    @app.query()
    def describe(message: Message, context: Context) -> Message:
        who = ConfigRecord({"partition-id": context.node_config["partition-id"]})
        return Message(RecordDict({"profile": who}), reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        content = RecordDict({name: type(one)(dict(one)) for name, one in right[client].items()})
        for _ in range(random.randint(1, 2) if client == 3 else 0):
            _spoil_reply(content, random)
        return Message(content, reply_to=message)

    grid = InProcessGrid(app, 4, {})
    nodes = nodes_now(grid, {})
    done = train_clients(grid, nodes, setting, adapter, asked, lambda client, loss: None, Overdue())
    if 0 in done.failed or done.trained.keys() | done.failed.keys() != {0, 3}:
        raise AssertionError(f"a right reply was refused: {done.failed}")
    merged = merge(setting, adapter, asked, done.trained)
    if not all(np.isfinite(matrix).all() for matrix in merged.values()):
        raise AssertionError("what was merged is not finite")
    if 3 in done.failed:
        raise AirtuneError(done.failed[3])
    return "read"


def hostile_report(random: Random) -> str:
    """What a node says of itself is spoilt: it is no client, or one with or without a report."""
    content = RecordDict(
        {
            "profile": ConfigRecord({"partition-id": 1}),
            "device": ConfigRecord(
                {"name": "mine", "throughput": 1e9, "memory": 1e9, "power": 5.0, "overhead": 2.0}
            ),
        }
    )
    if random.random() < 0.3:
        content["refused"] = ConfigRecord({"reason": random.choice(["x", "\n\x1b[2J", "é" * 10_000])})
    record = content.config_records[random.choice(list(content))]
    record[random.choice([*record, "more"])] = random.choice(
        [0, -1, 2**62, 3.0, 1e308, -0.0, float("nan"), float("inf"), True, "", "3", "\x00", b"3", [3], ["x"]]
    )
    if random.random() < 0.3:
        del record[random.choice(list(record))]
    if random.random() < 0.1:
        name = random.choice([*content, "more"])
        content.pop(name, None)
        content[name] = MetricRecord({"partition-id": 1})
    report = Report.from_content(content)
    if report.refused is not None:
        raise AirtuneError(report.refused or "refused without a reason")
    return "read"


@lru_cache
def _right_reply(number: int, private: bool, client: int) -> RecordDict:
    setting, adapter, planned = fleet(number, private)
    scenario, asked = setting.scenario, planned.assignments[client]
    held = slice_adapter(adapter, setting.measured.path.full, asked.reduction, trained_only=True)
    draw = np.random.default_rng(client)
    moved = {name: one + draw.standard_normal(one.shape).astype(np.float32) for name, one in held.items()}
    owed = {name: np.zeros_like(one) for name, one in held.items()}
    sent, _ = encode_update(moved, held, owed, scenario.payload, lambda name: np.random.default_rng(1))
    if scenario.privacy is not None:
        return Update(client, 1, sent, None, ()).to_content()
    return Update(client, 1, sent, 2.0, (Workload(4, 60.0, 8.0),) * asked.steps).to_content()


def _spoil_reply(content: RecordDict, random: Random) -> None:
    """Change one thing about a reply."""
    change = random.randrange(10)
    records = list(content)
    if change == 0 and records:
        del content[random.choice(records)]
    elif change == 1:
        name = random.choice(["adapter", "metrics", "origin", "more"])
        content.pop(name, None)
        content[name] = random.choice(
            [ArrayRecord({}), MetricRecord({}), ConfigRecord({}), MetricRecord({"loss": 1.0})]
        )
    elif change == 2 and "metrics" in content.metric_records:
        metrics = content.metric_records["metrics"]
        name = random.choice([*metrics, "more"])
        metrics[name] = random.choice(
            [
                0,
                -1,
                2**62,
                -0.0,
                1e308,
                float("nan"),
                float("inf"),
                [],
                [1],
                [2**62] * 2,
                [1e308, float("nan")],
            ]
        )
        if random.random() < 0.3:
            del metrics[name]
    elif change == 3 and "origin" in content.config_records:
        origin = content.config_records["origin"]
        name = random.choice([*origin, "more"])
        origin[name] = random.choice(
            [0, -1, 2**62, 3.0, float("nan"), True, "3", "", b"3", [3], ["x"], [b""]]
        )
        if random.random() < 0.3:
            del origin[name]
    elif content.array_records:
        arrays = content.array_records[next(iter(content.array_records))]
        name = random.choice([*arrays, *arrays, *arrays, "more"])
        data = arrays[name].data if name in arrays else b""
        arrays[name] = Array(
            random.choice(["float32", "uint8", "object", "", "float128"]),
            random.choice([(), (1,), (2, 2), (10**9, 10**9), (0,)]),
            random.choice(["numpy.ndarray", "numpy.ndarray", "torch.Tensor", "pickle", ""]),
            random.choice([scrambled, dented, dented, other_array])(data, random),
        )
        if random.random() < 0.1:
            del arrays[name]
