"""`hetlora`: adapters of a rank that fits the client, filled up with zeros and weighted by their length.

Cho et al., "Heterogeneous LoRA for federated fine-tuning of on-device foundation models", EMNLP 2024:
a client gets the first r_k rows of A and columns of B; the server fills A_k and B_k up with zeros and
averages them by ‖B_k A_k‖_F, module by module, here times the client's share of the data. Their self-pruning,
which lowers a client's rank during its training, is left out. Rows that nobody had in a round keep their
values, as zeros in A and B would never learn again. How a client gets its rank is ours: see `by_speed`.
"""

import numpy as np

from airtune.costs.shapes import ModelShape
from airtune.methods.method import Method, Updates, planned_by
from airtune.methods.own_ranks import Matrix, Pair, check, named, pairs, submodels
from airtune.pruning.adapters import Adapter


def aggregate(adapter: Adapter, full: ModelShape, updates: Updates) -> Adapter:
    """The next adapter: Σ p_k A_k and Σ p_k B_k, each filled up with zeros.

    Raises:
        AirtuneError: an update is not what its sub-model trains.
    """
    merged: Adapter = {}
    for module, (a, b), trained in pairs(adapter, full, updates):
        share = np.array([weight * _length(pair) for weight, pair in trained])
        if not share.any():  # nobody has learnt anything
            share = np.array([weight for weight, _ in trained])
        rank = max(len(own) for _, (own, _) in trained)
        a[:rank], b[:, :rank] = 0.0, 0.0
        for part, (_, (own_a, own_b)) in zip(share / share.sum(), trained, strict=True):
            a[: len(own_a)] += part * own_a
            b[:, : len(own_a)] += part * own_b
        merged |= named(module, (a, b))
    return merged


def _length(pair: Pair) -> float:
    """‖B·A‖_F from matrices of the rank's size alone: its square is the trace of BᵀB·AAᵀ."""
    a, b = pair
    square: Matrix = (b.T @ b) * (a @ a.T)
    return float(np.sqrt(max(square.sum(), 0.0)))


METHOD = Method(
    "hetlora", planned_by("fedit"), aggregate=aggregate, submodels=submodels, check=check, baseline=True
)
