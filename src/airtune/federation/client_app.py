"""The client: says who it is, and trains the sub-model it is sent on its own data."""

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

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
    """A client's part in a round."""
    # Deployed, every message has a process of its own, and one that only asks needs no model in it.
    from airtune.federation.client_round import answer

    return answer(message, context)
