"""A client's part in a round: the sub-model it is sent, trained on its own data."""

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
from flwr.app import Context, Error, Message, RecordDict
from safetensors import SafetensorError
from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.errors import AirtuneError
from airtune.federation.messages import Assignment, Update
from airtune.federation.residual import keep_residual, residual_before
from airtune.learning.dense_change import changed_model
from airtune.learning.local_data import round_batches
from airtune.learning.models import load_base
from airtune.learning.tokens import Batch
from airtune.learning.training import Trained, train
from airtune.payload.update import encode_update
from airtune.privacy.noise import client_key, privatised
from airtune.pruning.adapters import Adapter, complete_sent, put_back, slice_adapter
from airtune.pruning.stacking import fresh_adapter, weight_changes
from airtune.pruning.submodel import (
    build_submodel,
    load_adapter,
    model_shape,
    read_adapter,
)
from airtune.randomness import generator
from airtune.scenario import Scenario
from airtune.scenario_file import configured_scenario

FAILED = 1  # the code of errors; Flower has none for what apps say

LocalRule = Callable[[nn.Module, Iterable[Batch], float, float], Trained]


def answer(message: Message, context: Context, rule: LocalRule = train) -> Message:
    """Build the assigned sub-model, train its adapters on the round's batches, send them back.

    What the client's user or disk has to mend is an answer too: an error with its reason.

    Args:
        rule: trains a sub-model in place on batches: its arguments and result are those of
            `learning.training.train`.
    """
    try:
        return Message(_update(message, context, rule).to_content(), reply_to=message)
    except (AirtuneError, OSError, SafetensorError) as error:
        return Message(Error(FAILED, str(error)), reply_to=message)


def _update(message: Message, context: Context, rule: LocalRule) -> Update:
    scenario = _scenario(str(context.run_config["scenario"]))
    assignment = Assignment.from_content(message.content)
    base = load_base(scenario.model.name, scenario.model.dtype)
    client = int(context.node_config["partition-id"])
    full = model_shape(base.model, scenario.lora)
    model, received = _begin(base.model, full, assignment, scenario, client)
    submodel = build_submodel(model, full, assignment.reduction, scenario.lora)
    load_adapter(submodel, received)
    batches = round_batches(
        scenario,
        client,
        assignment.round_number,
        assignment.steps,
        assignment.reduction.examples,
        str(context.node_config.get("data", "")),
    )
    trained = rule(submodel, batches, scenario.training.learning_rate, assignment.proximal)
    shown = read_adapter(submodel)
    if scenario.privacy is not None:
        key = client_key(context.node_config, context.run_config, scenario.seed, client)
        shown = privatised(shown, received, scenario.privacy, key, _digest(message.content))
        trained = Trained(None, ())  # neither is noised
    residual = _residual(context, assignment, full) if scenario.payload.owes else {}
    matrices, left = encode_update(
        shown,
        received,
        slice_adapter(residual, full, assignment.reduction, trained_only=True) if residual else {},
        scenario.payload,
        lambda name: generator(scenario.seed, "payload", assignment.round_number, client, name),
    )
    if left:
        left = put_back(residual, full, assignment.reduction, left)
        keep_residual(context, assignment.round_number, left)
    return Update(client, assignment.round_number, matrices, trained.loss, trained.work)


def _begin(
    base: nn.Module, full: ModelShape, assignment: Assignment, scenario: Scenario, client: int
) -> tuple[nn.Module, Adapter]:
    """The model that a client trains adapters of, and the adapters as it begins."""
    reduction, seed = assignment.reduction, scenario.seed
    if assignment.merged is None:
        return base, complete_sent(assignment.adapter, full, reduction, seed)
    changes = weight_changes({**assignment.adapter, **assignment.merged}, scenario.lora.scale)
    return changed_model(base, changes), fresh_adapter(full, reduction, seed, assignment.round_number, client)


def _residual(context: Context, assignment: Assignment, full: ModelShape) -> Adapter:
    """What the client owes of the whole adapter; at first nothing."""
    kept = residual_before(context, assignment.round_number)
    shapes = full.adapter_shapes(trained_only=True)
    return {name: np.zeros(size, np.float32) for name, _, _, size in shapes} if kept is None else kept


def _digest(content: RecordDict) -> bytes:
    """Of all that a message says."""
    told = {name: dict(record) for name, record in content.config_records.items()}
    digest = hashlib.sha512(json.dumps(told, sort_keys=True).encode())
    for record, arrays in sorted(content.array_records.items()):
        for name, array in sorted(arrays.items()):
            digest.update(f"{record} {name} {len(array.data)} ".encode() + array.data)
    return digest.digest()


_scenario = lru_cache(maxsize=2)(configured_scenario)
