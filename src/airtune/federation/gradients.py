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
MOST_NOISE = 30.0
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
    """What is known after a round. Nothing changes if nothing can be told: of a single client, of two that
    have never been compared, or if no matrix was trained by all.

    Args:
        clients: the round's, in order.
        found: their `products`.
        examples: the share of its batches that each of them trained on.
        weight: (clients,) aggregation weights.
    """
    length = np.diag(found)
    if len(clients) < 2 or not (length > 0).all():
        return before
    own = list(clients)
    if len(own) < COMPARED:
        return _of_two(before, own, found, weight, examples)
    share = before.shares(weight, np.isin(np.arange(len(weight)), own))[own]
    cosine = found / np.sqrt(length[:, None] * length)
    np.fill_diagonal(cosine, -1.0)
    alike = _plausible(float(np.median(cosine.max(axis=1))))
    signal = found.copy()
    np.fill_diagonal(signal, alike * length)
    each = np.diag(signal)
    # A mean that clients cancel out of is no shorter than what noise would leave of it.
    square = max(float(share @ signal @ share), float(each.mean()) / MOST_NOISE)
    distance = np.maximum(each[:, None] + each - 2 * signal, LEAST * square) / square
    pairs = np.ix_(own, own)
    old = before.apart[pairs]
    # As the mean gradient shrinks, all are farther apart beside it: the absent too, by as much.
    growth = distance[old > 0].sum() / old[old > 0].sum() if old.any() else 1.0
    apart = before.apart * (MEMORY + (1 - MEMORY) * growth)
    apart[pairs] = np.where(old > 0, MEMORY * old + (1 - MEMORY) * distance, distance)
    np.fill_diagonal(apart, 0.0)
    unlike = before.unlike.copy()
    measured = apart.any(axis=1)
    to_fleet = apart @ weight
    unlike[measured] = np.clip(to_fleet - 0.5 * weight @ to_fleet, LEAST, MOST)[measured]
    noise = (1 - alike) * length / square
    return Gradients(unlike, _noise(before, own, noise, examples), apart)


def _of_two(
    before: Gradients,
    clients: Sequence[int],
    found: Floats,
    weight: Floats,
    examples: Mapping[int, float],
) -> Gradients:
    """What two clients tell: with their distance known from before, how much of their updates is noise.

    With signals of one length s², ⟨u_1, u_2⟩ = s² − ½·apart·‖G‖², and ‖G‖² = s²/(1 + ½ Σ w w apart).
    """
    distances = before.distances
    apart = distances[clients[0], clients[1]]
    if apart == 0:
        return before
    spread = 1 + 0.5 * float(weight @ distances @ weight)
    part = max(1 - 0.5 * apart / spread, 1 / (1 + MOST_NOISE))
    alike = _plausible(float(found[0, 1] / np.diag(found).mean() / part))
    noise = np.full(2, (1 / alike - 1) * spread)
    return Gradients(before.unlike, _noise(before, clients, noise, examples), before.apart)


def _plausible(alike: float) -> float:
    """A cosine, as far as noise may go."""
    return float(np.clip(alike, 1 / (1 + MOST_NOISE), 1.0))


def _noise(before: Gradients, clients: Sequence[int], found: Floats, examples: Mapping[int, float]) -> Floats:
    """(clients of the fleet,) half of it what was known before.

    The signal shrinks for all: the absent count like the mean of those who trained.
    """
    share = np.array([examples[client] for client in clients])
    found = np.clip(found * share, LEAST, MOST_NOISE)
    known = np.full(len(before.noise), float(found.mean()))
    known[list(clients)] = found
    return MEMORY * before.noise + (1 - MEMORY) * known
