"""The client: says who it is, and trains the sub-model it is sent on its own data."""

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from airtune.federation.report import Report

app = ClientApp()


@app.query()
def describe(message: Message, context: Context) -> Message:
    """Which client this node is, as node ids are drawn at random, and what its device can do."""
    return Message(Report.of_node(context).to_content(), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """A client's part in a round."""
    # Deployed, every message has a process of its own, and one that only asks needs no model in it.
    from airtune.federation.client_round import answer

    return answer(message, context)
