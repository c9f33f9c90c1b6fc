"""`flora`: all clients' adapters stacked, sent to everybody, merged into the model, and begun anew.

Wang et al., "FLoRA: federated fine-tuning large language models with heterogeneous low-rank adaptations",
NeurIPS 2024: A_k one below the other and B_k side by side multiply to Σ p_k B_k A_k, without the cross terms
of averaged A and B, whatever ranks clients have. Clients get the stack, whose rank is the sum of theirs, add
its product to their base model, and begin the next round with A drawn anew and B zero.

Here p_k scales B_k, not A_k, which is the same product. An adapter of lower rank is scaled by α over the
*scenario's* rank, as for `hetlora`, whose ranks these are. Before the first round there is no stack: as for
other methods the first adapter is sent, whose B is zero. Clients here keep no model between rounds: what
earlier stacks have added comes along in the message, in float32, and is not counted, as theirs have it
already: rounded as it was sent, so that their rounding errors would add up and these do not. The model that
is trained has the base's type of number: in bfloat16, changes below 2^-9 of a weight are lost.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from airtune.costs.shapes import ModelShape
from airtune.methods import own_ranks
from airtune.methods.method import Method, Priced, Updates, planned_by
from airtune.methods.own_ranks import named, pairs
from airtune.pruning.adapters import Adapter
from airtune.pruning.path import Reduction
from airtune.pruning.stacking import MERGED


def submodels(full: ModelShape, priced: Priced, number: int) -> Sequence[Reduction]:
    """Those of `hetlora`; each is sent the stack of everybody's, as far as is known before the round."""
    own = own_ranks.submodels(full, priced, number)
    stacked = full.rank if number == 1 else sum(one.rank or full.rank for one in own)
    by_rank = {one.rank: replace(one, stacked=stacked) for one in own}  # clients alike share theirs
    return [by_rank[one.rank] for one in own]


def aggregate(adapter: Adapter, full: ModelShape, updates: Updates) -> Adapter:
    """What clients merge next: B·A is Σ w_k B_k A_k / Σ w_k. The stack that they have merged joins the rest.

    Raises:
        AirtuneError: an update is not what its sub-model trains.
    """
    merged: Adapter = {}
    for module, (a, b), trained in pairs(adapter, full, updates):
        total = sum(weight for weight, _ in trained)
        before = adapter.get(module + MERGED, np.float32(0))
        merged[module + MERGED] = (before + b @ a).astype(np.float32)
        stacked_a = np.concatenate([own_a for _, (own_a, _) in trained])
        stacked_b = np.concatenate([own_b * (weight / total) for weight, (_, own_b) in trained], axis=1)
        merged |= named(module, (stacked_a, stacked_b))
    return merged


METHOD = Method(
    "flora",
    planned_by("fedit"),
    aggregate=aggregate,
    submodels=submodels,
    check=own_ranks.check_whole_uploads,
    stacks=True,
    baseline=True,
)
