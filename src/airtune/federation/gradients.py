"""What updates tell about the clients' gradients: how unlike each other they are, and how noisy.

In a round client k moves the adapter by u_k, the sum of its steps: a signal, which its data decide, and
noise, which its draw of examples does. Noise of different clients is independent, so products ⟨u_j, u_k⟩ of
two clients are those of their signals. Of a client with itself, the noise counts too: there the part of
‖u_k‖² that is signal is taken to be the cosine between clients that are alike, in the median over clients of
the largest cosine that each has with another. Updates stand for gradients here: Adam's steps all have one
length, so that of a signal is relative to its noise, and what is compared is what is merged.

The server has all it needs: nothing more is sent.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from airtune.costs.error import Gradients
from airtune.pruning.adapters import Adapter
from airtune.scenario import Scenario

UNKNOWN = 1.0  # of a client that has not been measured: what it holds may be all its own
LEAST = 0.05  # even data drawn alike is worth having: the mean over more clients has less noise
MOST = 1.0  # beyond it a client pulls against the fleet, and more of it would not help
MOST_NOISE = 10.0
MEMORY = 0.5  # weight of what was known before: one round's few steps are noisy
COMPARED = 3  # clients at least: of two one cannot tell what is alike

Floats = npt.NDArray[np.float64]


def unknown(scenario: Scenario) -> Gradients:
    """Before anything is measured."""
    count = len(scenario.members())
    return Gradients(np.full(count, UNKNOWN), np.full(count, UNKNOWN))


def products(before: Adapter, trained: Sequence[Adapter]) -> Floats:
    """(n, n) inner products of what n clients changed in the matrices that all of them have in full.

    Args:
        before: the adapter that they began with.
        trained: by client, the matrices that it trained.
    """
    found = np.zeros((len(trained), len(trained)))
    for name, matrix in before.items():
        if all(name in part and part[name].shape == matrix.shape for part in trained):
            changes = np.stack([(part[name] - matrix).ravel() for part in trained])
            found += (changes @ changes.T).astype(np.float64)
    return found


def update(
    before: Gradients,
    clients: Sequence[int],
    found: Floats,
    examples: Mapping[int, float],
    weight: Floats,
) -> Gradients:
    """What is known after a round. Nothing changes if nothing can be told: of fewer than three clients, or if
    no matrix was trained by all.

    Args:
        clients: the round's, in order.
        found: their `products`.
        examples: the share of its batches that each of them trained on.
        weight: (clients,) aggregation weights.
    """
    length = np.diag(found)
    if len(clients) < COMPARED or not (length > 0).all():
        return before
    cosine = found / np.sqrt(length[:, None] * length)
    np.fill_diagonal(cosine, -1.0)
    alike = float(np.clip(np.median(cosine.max(axis=1)), 1 / (1 + MOST_NOISE), 1.0))
    signal = found.copy()
    np.fill_diagonal(signal, alike * length)
    own = np.diag(signal)
    share = weight[list(clients)] / weight[list(clients)].sum()
    # A mean that clients cancel out of is no shorter than what noise would leave of it.
    square = max(float(share @ signal @ share), float(own.mean()) / MOST_NOISE)
    distance = np.maximum(own[:, None] + own - 2 * signal, LEAST * square) / square
    noise = (1 - alike) * length / square * np.array([examples[client] for client in clients])
    pairs = np.ix_(clients, clients)
    apart, known = before.apart.copy(), before.noise.copy()
    seen = apart[pairs] > 0
    apart[pairs] = np.where(seen, MEMORY * apart[pairs] + (1 - MEMORY) * distance, distance)
    np.fill_diagonal(apart, 0.0)
    known[list(clients)] = MEMORY * known[list(clients)] + (1 - MEMORY) * np.clip(noise, LEAST, MOST_NOISE)
    unlike = before.unlike.copy()
    measured = apart.any(axis=1)
    to_fleet = apart @ weight
    unlike[measured] = np.clip(to_fleet - 0.5 * weight @ to_fleet, LEAST, MOST)[measured]
    return Gradients(unlike, known, apart)
