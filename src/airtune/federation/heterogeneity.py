"""How unlike the fleet's gradient each client's is: what the fleet loses where that client is missing.

Client k's heterogeneity is h_k = ‖E g_k − G‖² / ‖G‖², with G the weighted mean of all gradients. With data
drawn alike it is 0 and others can stand in for k; with data of its own it is about 1. It is measured in
every round from the gradients of local training: clients send sketches of the sums over their even and over
their odd steps, whose noise is independent, so that products between the halves are free of its bias.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from airtune.scenario import Scenario

if TYPE_CHECKING:
    from airtune.learning.sketch import Sketches

UNKNOWN = 1.0  # of a client that has not been measured: what it holds may be all its own
LEAST = 0.05  # even data drawn alike is worth having: the mean over more clients has less noise
MOST = 1.0  # beyond it a client pulls against the fleet, and more of it would not help
MEMORY = 0.5  # weight of what was known before: one round's few steps are noisy


def unknown(scenario: Scenario) -> npt.NDArray[np.float64]:
    """(clients,) before anything is measured."""
    return np.full(len(scenario.members()), UNKNOWN)


def measure(sketches: "Mapping[int, Sketches]", weight: npt.NDArray[np.float64]) -> dict[int, float]:
    """The heterogeneity of every client in `sketches`, over the layers that all of them trained.

    Empty if it cannot be told: no common layer, or gradients that are nothing but noise.

    Args:
        sketches: by client, as `sketch_gradients` makes them.
        weight: (clients,) aggregation weights.
    """
    clients = sorted(sketches)
    layers = sorted(set.intersection(*(set(sketches[client]) for client in clients))) if clients else []
    if not layers:
        return {}
    # (clients, layers, halves, buckets)
    each = np.array([[sketches[client][layer] for layer in layers] for client in clients], dtype=np.float64)
    share = weight[clients] / weight[clients].sum()
    mean = np.einsum("k,klhb->lhb", share, each)
    square = float(np.sum(mean[:, 0] * mean[:, 1]))
    if not square > 0:
        return {}
    apart = each - mean
    unlike = np.sum(apart[:, :, 0] * apart[:, :, 1], axis=(1, 2)) / square
    return {client: float(np.clip(found, LEAST, MOST)) for client, found in zip(clients, unlike, strict=True)}


def remember(before: npt.NDArray[np.float64], measured: Mapping[int, float]) -> npt.NDArray[np.float64]:
    """(clients,) what is known after a round; those that were not measured keep what they had."""
    after = before.copy()
    for client, found in measured.items():
        after[client] = MEMORY * before[client] + (1 - MEMORY) * found
    return after
