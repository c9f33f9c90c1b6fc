"""airtune's server (planning, sub-models, merging, clock) with a ClientApp of one's own.

This one trains with plain gradient descent and clipped gradients instead of AdamW. What it is sent is a
round's assignment; what it replies has to be the update that was asked for. `answer` does all but the
training; a client that shares no code with airtune takes `federation.messages` as the protocol.
"""

from collections.abc import Iterable

import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from torch import nn

from airtune.costs.count import Workload
from airtune.federation.client_app import describe
from airtune.federation.client_round import answer
from airtune.learning.loss import answer_losses
from airtune.learning.tokens import Batch
from airtune.learning.training import Trained

FASTER, LONGEST = 100.0, 1.0  # than AdamW's steps; the gradient's length

app = ClientApp()
app.query()(describe)


@app.train()
def train(message: Message, context: Context) -> Message:
    """A client's part in a round, trained by our own rule."""
    return answer(message, context, descend)


def descend(
    submodel: nn.Module, batches: Iterable[Batch], learning_rate: float, proximal: float = 0.0
) -> Trained:
    """Clipped gradient descent on the sub-model's adapters, one step a batch."""
    parameters = [parameter for parameter in submodel.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(parameters, lr=FASTER * learning_rate)
    losses, work = [], []
    for batch in batches:
        each, _ = answer_losses(submodel, batch)
        optimiser.zero_grad()
        each.mean().backward()
        nn.utils.clip_grad_norm_(parameters, LONGEST)
        optimiser.step()
        losses.append(each.detach())
        rows, length = batch.input_ids.shape
        work.append(Workload(rows, length, len(each) / rows))
    return Trained(float(torch.cat(losses).mean()), tuple(work))
