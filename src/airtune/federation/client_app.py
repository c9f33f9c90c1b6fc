"""The client: says who it is, and trains the sub-model it is sent on its own data."""

from functools import lru_cache

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from airtune.federation.messages import Assignment, Update
from airtune.learning.local_data import round_batches
from airtune.learning.models import load_base
from airtune.learning.training import train as train_locally
from airtune.pruning.submodel import build_submodel, load_adapter, model_shape, read_adapter
from airtune.scenario import Scenario
from airtune.scenario_file import parse_scenario

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
    load_adapter(submodel, assignment.adapter)
    client = int(context.node_config["partition-id"])
    batches = round_batches(scenario, client, assignment.round_number, assignment.steps)
    trained = train_locally(submodel, batches, scenario.training.learning_rate)
    update = Update(read_adapter(submodel), trained.loss, trained.work)
    return Message(update.to_content(), reply_to=message)


@lru_cache(maxsize=2)
def _scenario(text: str) -> Scenario:
    return parse_scenario(text)
