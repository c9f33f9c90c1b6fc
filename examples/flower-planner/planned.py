"""A Flower project of one's own that takes airtune's planner and nothing else.

Its model is a linear regression, its clients train and send as many of the weights as the planner lets them,
others every round, and the server averages every weight over those who sent it. Where a real project would
measure, this one has figures at hand: the seconds of a step, the bits of an upload, the signal-to-noise ratio
of the link.
"""

import json

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

import airtune

FEATURES, EXAMPLES = 40, 200
BANDWIDTH_HZ = 1e6

server = ServerApp()
client = ClientApp()


@client.query()
def describe(message: Message, context: Context) -> Message:
    """What the planner has to know of this client: slow or fast, near or far."""
    number = int(context.node_config["partition-id"])
    slow = number % 2 == 0
    profile = {
        "id": f"client-{number}",
        "snr_hz": 2e6 if slow else 5e7,
        "fixed_s": 0.5,
        "compute_s": 8.0 if slow else 2.0,
        "fixed_bits": 1e5,
        "payload_bits": 4e6,
    }
    return Message(RecordDict({"profile": ConfigRecord(profile)}), reply_to=message)


@client.train()
def train(message: Message, context: Context) -> Message:
    """A step of gradient descent on the weights that this client is to train."""
    number = int(context.node_config["partition-id"])
    draw = np.random.default_rng(number)
    inputs = draw.normal(size=(EXAMPLES, FEATURES))
    targets = inputs @ np.linspace(-1, 1, FEATURES)
    model = message.content.array_records["model"]
    weights, kept = model["weights"].numpy(), model["kept"].numpy()
    error = inputs @ weights - targets
    trained = (weights - 0.3 * inputs.T @ error / EXAMPLES)[kept]
    metrics = MetricRecord({"loss": float(np.mean(error**2))})
    reply = {"model": ArrayRecord({"weights": Array(trained)}), "metrics": metrics}
    return Message(RecordDict(reply), reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Ask the clients what they can do, plan, and play the rounds as planned."""
    asked = [_message(grid, node, "query", RecordDict({})) for node in grid.get_node_ids()]
    profiles = {
        reply.metadata.src_node_id: dict(reply.content.config_records["profile"])
        for reply in grid.send_and_receive(asked)
    }
    plan = airtune.plan(_problem(list(profiles.values())), method="joint")
    print(f"a round takes {plan.round_s:.2f} s, at least {plan.lower_bound_s / plan.rounds:.2f} s")
    weights = np.zeros(FEATURES)
    for number in range(1, int(context.run_config["rounds"]) + 1):
        messages = []
        kept = {}
        for node, prune in zip(profiles, plan.prune, strict=True):
            kept[node] = np.random.default_rng([number, node]).permutation(FEATURES)[int(prune * FEATURES) :]
            model = ArrayRecord({"weights": Array(weights), "kept": Array(kept[node])})
            messages.append(_message(grid, node, "train", RecordDict({"model": model})))
        replies = sorted(grid.send_and_receive(messages), key=lambda reply: reply.metadata.src_node_id)
        weights = _mean_over_holders(weights, kept, replies)
        loss = np.mean([reply.content.metric_records["metrics"]["loss"] for reply in replies])
        print(f"round {number}: loss before {loss:.3f}")


def _problem(profiles: list[dict[str, object]]) -> airtune.Problem:
    """The planner's problem file (docs/problem-file.md) of one cell with these clients."""
    clients = [
        {"cell": "cell-0", "weight": 1 / len(profiles), "prune_min": 0.0, "prune_max": 0.8, **profile}
        for profile in profiles
    ]
    problem = {
        "schema": "airtune-problem/1",
        "cells": [{"id": "cell-0", "bandwidth_hz": BANDWIDTH_HZ}],
        "clients": clients,
        "rounds": {"base": 20.0, "penalty": 0.8, "error": {"kind": "power", "exponent": 2.0}},
    }
    return airtune.Problem.from_json(json.dumps(problem))


def _mean_over_holders(
    weights: np.ndarray, kept: dict[int, np.ndarray], replies: list[Message]
) -> np.ndarray:
    total, count = np.zeros(FEATURES), np.zeros(FEATURES)
    for reply in replies:
        trained = reply.content.array_records["model"]["weights"].numpy()
        total[kept[reply.metadata.src_node_id]] += trained
        count[kept[reply.metadata.src_node_id]] += 1
    return np.where(count > 0, total / np.maximum(count, 1), weights)


def _message(grid: Grid, node: int, kind: str, content: RecordDict) -> Message:
    return grid.create_message(content, kind, node, "0")
