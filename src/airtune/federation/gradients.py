"""What rounds tell about the clients' gradients: how unlike the fleet's each one is, and how noisy.

Client k's heterogeneity is h_k = ‖E g_k − G‖² / ‖G‖², with G the weighted mean of all gradients. With data
drawn alike it is 0 and others can stand in for k; with data of its own it is about 1. Its noise ν_k is the
variance of the mean gradient over a round's full batches, over ‖G‖² too. Both are measured in every round
from local training itself: clients send sketches of their mean gradients over the even and over the odd
steps, whose noise is independent, so that products between the halves are free of its bias.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from airtune.costs.error import Gradients
from airtune.scenario import Scenario

if TYPE_CHECKING:
    from airtune.learning.sketch import Sketches

UNKNOWN = 1.0  # of a client that has not been measured: what it holds may be all its own
LEAST = 0.05  # even data drawn alike is worth having: the mean over more clients has less noise
MOST = 1.0  # beyond it a client pulls against the fleet, and more of it would not help
MOST_NOISE = 10.0
MEMORY = 0.5  # weight of what was known before: one round's few steps are noisy
FORGOTTEN = 0.05  # of what is known of a client, in a round without it


def unknown(scenario: Scenario) -> Gradients:
    """Before anything is measured."""
    count = len(scenario.members())
    return Gradients(np.full(count, UNKNOWN), np.full(count, UNKNOWN))


def update(
    before: Gradients,
    sketches: "Mapping[int, Sketches]",
    examples: Mapping[int, float],
    weight: npt.NDArray[np.float64],
) -> Gradients:
    """What is known after a round.

    The fleet moves on without those who were not there, so what is known of them fades. Nothing changes if
    nothing can be told: no client of several steps, or no layer that all trained. Of two clients that have
    not been in a round together nothing is known, and their distance is 0.

    Args:
        sketches: of the round's clients, as `GradientSketch` makes them.
        examples: the share of its batches that each of them trained on.
        weight: (clients,) aggregation weights.
    """
    clients = sorted(client for client in sketches if sketches[client])  # a single step has no halves
    layers = sorted(set.intersection(*(set(sketches[client]) for client in clients))) if clients else []
    if not layers:
        return before
    # (clients, layers, halves, buckets)
    each = np.array([[sketches[client][layer] for layer in layers] for client in clients], dtype=np.float64)
    mean = np.einsum("k,klhb->lhb", weight[clients] / weight[clients].sum(), each)
    # The halves differ by noise alone; their mean has a quarter of that difference's square.
    noise = np.sum((each[:, :, 0] - each[:, :, 1]) ** 2, axis=(1, 2)) / 4
    noise *= np.array([examples[client] for client in clients])
    # A gradient that is all noise has no length of its own.
    square = max(float(np.sum(mean[:, 0] * mean[:, 1])), float(noise.mean()) / MOST_NOISE)
    inner = np.einsum("jlb,klb->jk", each[:, :, 0], each[:, :, 1])
    inner = 0.5 * (inner + inner.T)
    apart = np.maximum(np.diag(inner)[:, None] + np.diag(inner) - 2 * inner, LEAST * square)
    scale = before.square or square
    old = before.apart * scale
    seen = old > 0
    kept = np.where(seen, old + FORGOTTEN * np.maximum(2 * UNKNOWN * square - old, 0.0), 0.0)
    pairs = np.ix_(clients, clients)
    kept[pairs] = np.where(seen[pairs], MEMORY * old[pairs] + (1 - MEMORY) * apart, apart)
    np.fill_diagonal(kept, 0.0)
    scale = MEMORY * scale + (1 - MEMORY) * square
    known = before.noise.copy()
    known[clients] = MEMORY * known[clients] + (1 - MEMORY) * np.clip(noise / square, LEAST, MOST_NOISE)
    unlike = before.unlike.copy()
    measured = kept.any(axis=1)
    unlike[measured] = _unlike(kept / scale, weight)[measured]
    return Gradients(unlike, known, kept / scale, scale)


def _unlike(apart: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(clients,) ‖g_k − G‖²/‖G‖² from the distances between all pairs."""
    to_fleet = apart @ weight
    return np.clip(to_fleet - 0.5 * weight @ to_fleet, LEAST, MOST)
