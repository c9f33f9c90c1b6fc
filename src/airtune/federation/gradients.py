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
    """What is known after a round. A client that was not measured keeps what it had.

    Nothing changes if nothing can be told: no client of several steps, no layer that all trained, or
    gradients that are all noise.

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
    square = float(np.sum(mean[:, 0] * mean[:, 1]))
    if not square > 0:
        return before
    apart = each - mean
    unlike = np.sum(apart[:, :, 0] * apart[:, :, 1], axis=(1, 2)) / square
    # The halves differ by noise alone; their mean has a quarter of that difference's square.
    noise = np.sum((each[:, :, 0] - each[:, :, 1]) ** 2, axis=(1, 2)) / 4 / square
    noise *= np.array([examples[client] for client in clients])
    return Gradients(
        _blend(before.unlike, clients, np.clip(unlike, LEAST, MOST)),
        _blend(before.noise, clients, np.clip(noise, LEAST, MOST_NOISE)),
    )


def _blend(
    before: npt.NDArray[np.float64], clients: list[int], found: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    after = before.copy()
    after[clients] = MEMORY * before[clients] + (1 - MEMORY) * found
    return after
