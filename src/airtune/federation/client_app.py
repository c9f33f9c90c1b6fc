"""The client: says who it is, and trains the sub-model it is sent on its own data."""

from functools import lru_cache

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from airtune.costs.shapes import ModelShape
from airtune.federation.messages import Assignment, Update, to_record
from airtune.learning.local_data import round_batches
from airtune.learning.models import load_base
from airtune.learning.training import train as train_locally
from airtune.payload.update import encode_update
from airtune.pruning.adapters import Adapter, complete_sent, put_back, slice_adapter
from airtune.pruning.submodel import (
    build_submodel,
    load_adapter,
    model_shape,
    read_adapter,
)
from airtune.randomness import generator
from airtune.scenario import Scenario
from airtune.scenario_file import parse_scenario

RESIDUAL = "residual"

app = ClientApp()


@app.query()
def describe(message: Message, context: Context) -> Message:
    """Which client this node is: node ids are drawn at random, only the node knows its partition."""
    content = RecordDict(
        {"profile": ConfigRecord({"partition-id": int(context.node_config["partition-id"])})}
    )
    return Message(content, reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Build the assigned sub-model, train its adapters on the round's batches, send them back."""
    scenario = _scenario(str(context.run_config["scenario"]))
    assignment = Assignment.from_content(message.content)
    base = load_base(scenario.model.name, scenario.model.dtype)
    full = model_shape(base.model, scenario.lora)
    submodel = build_submodel(base.model, full, assignment.reduction, scenario.lora)
    received = complete_sent(assignment.adapter, full, assignment.reduction, scenario.seed)
    load_adapter(submodel, received)
    client = int(context.node_config["partition-id"])
    batches = round_batches(
        scenario, client, assignment.round_number, assignment.steps, assignment.reduction.examples
    )
    trained = train_locally(submodel, batches, scenario.training.learning_rate, assignment.proximal)
    residual = _residual(context.state, full)
    matrices, lost = encode_update(
        read_adapter(submodel),
        received,
        slice_adapter(residual, full, assignment.reduction, trained_only=True),
        scenario.payload,
        lambda name: generator(scenario.seed, "payload", assignment.round_number, client, name),
    )
    if lost:
        context.state[RESIDUAL] = to_record(put_back(residual, full, assignment.reduction, lost))
    return Message(Update(matrices, trained.loss, trained.work).to_content(), reply_to=message)


def _residual(state: RecordDict, full: ModelShape) -> Adapter:
    """What this client's uploads have lost so far, of the full model's adapters."""
    if RESIDUAL in state:
        return {name: array.numpy() for name, array in state.array_records[RESIDUAL].items()}
    return {name: np.zeros(size, np.float32) for name, _, _, size in full.adapter_shapes(trained_only=True)}


@lru_cache(maxsize=2)
def _scenario(text: str) -> Scenario:
    return parse_scenario(text)
