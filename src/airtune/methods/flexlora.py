"""`flexlora`: adapters of a rank that fits the client, cut anew from the mean of the products B·A.

Bai et al., "Federated fine-tuning of large language models under heterogeneous tasks and client resources"
(FlexLoRA), NeurIPS 2024: the server averages B_k A_k weighted by the clients' data, and a client gets the
r_k largest singular values of it. Here the server keeps as many of them as the scenario's rank, the most that
any client gets, while they keep the whole product. B carries the singular values, rows of A have length 1.
How a client gets its rank is ours: see `by_speed`.
"""

import numpy as np

from airtune.costs.shapes import ModelShape
from airtune.methods import own_ranks
from airtune.methods.method import Method, Updates, planned_by
from airtune.methods.own_ranks import Pair, Weighted, named, pairs
from airtune.pruning.adapters import Adapter


def aggregate(adapter: Adapter, full: ModelShape, updates: Updates) -> Adapter:
    """The next adapter: the best one of its rank for Σ w_k B_k A_k / Σ w_k, its largest directions first.

    Raises:
        AirtuneError: an update is not what its sub-model trains.
    """
    merged: Adapter = {}
    for module, (a, b), trained in pairs(adapter, full, updates):
        best_a, best_b = _best(trained, len(a))
        # A mean of lower rank leaves directions free: they start again as they were, with B zero.
        a[: len(best_a)] = best_a
        b[:] = 0.0
        b[:, : len(best_a)] = best_b
        merged |= named(module, (a, b))
    return merged


def _best(trained: list[Weighted], rank: int) -> Pair:
    """The singular vectors of the mean product with its `rank` largest singular values, or all it has.

    The mean is a product too, of all B_k side by side and all A_k one below the other: with an orthonormal
    basis of each, the decomposition is that of a matrix as small as their ranks together.
    """
    total = sum(weight for weight, _ in trained)
    tall = np.concatenate([b * (weight / total) for weight, (_, b) in trained], axis=1)
    wide = np.concatenate([a for _, (a, _) in trained])
    left, left_part = np.linalg.qr(tall)
    right, right_part = np.linalg.qr(wide.T)
    u, values, v = np.linalg.svd(left_part @ right_part.T, full_matrices=False)
    return (v @ right.T)[:rank], (left @ u * values)[:, :rank]


METHOD = Method(
    "flexlora",
    planned_by("fedit"),
    aggregate=aggregate,
    submodels=own_ranks.submodels,
    check=own_ranks.check_whole_uploads,
    baseline=True,
)
