"""`heterofl`: each client trains the first units of every layer, as many as its speed allows.

Diao, Ding and Tarokh, "HeteroFL: computation and communication efficient federated learning for
heterogeneous clients", ICLR 2021: the levels are theirs, a client keeps its own, and every entry is averaged
over those who train it, here weighted by their data. They narrow all layers of a model trained from scratch;
in a pretrained decoder MLP neurons and key-value groups get fewer, and the hidden state stays as wide as it
is. Their scaler, which multiplies what a narrow layer puts out, and their masked loss are left out. How a
client gets its level is ours: see `by_speed`.
"""

import math
from collections.abc import Sequence

import numpy as np

from airtune.costs.shapes import ModelShape
from airtune.methods.by_speed import by_speed
from airtune.methods.method import Mask, Method, Priced, planned_by
from airtune.pruning.path import Reduction

LEVELS = (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16)


def window(full: ModelShape, level: float, start: int = 0) -> Reduction:
    """This share of every layer's neurons and groups, one at least, from number `start` on and round."""
    whole = Reduction.none(full)
    return Reduction(_from(start, whole.neurons, level), _from(start, whole.groups, level), 0)


def submodels(full: ModelShape, priced: Priced, number: int) -> Sequence[Reduction]:
    """Nested prefixes, the same in every round."""
    return by_speed([window(full, level) for level in LEVELS], priced)


def _from(start: int, units: Mask, level: float) -> Mask:
    """(layers, units) like `units`, with `level` of them kept in every layer."""
    count = units.shape[1]
    kept = np.isin(np.arange(count), (start + np.arange(math.ceil(level * count))) % count)
    return np.tile(kept, (len(units), 1))


METHOD = Method("heterofl", planned_by("fedit"), submodels=submodels, baseline=True)
