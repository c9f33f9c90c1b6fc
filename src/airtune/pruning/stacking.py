"""What is learnt where adapters are merged into the model in every round: a stack, and what others have left.

It is an adapter whose A (rank, in) and B (out, rank) are the last round's, of all its clients' rank together.
Beside them each module has, after the first round, the sum (out, in) of the products B·A that were merged
before. All of it times LoRA's α / rank is what the model's weights have changed by.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from airtune.costs.shapes import ModelShape
from airtune.pruning.adapters import Adapter, initial_adapter
from airtune.pruning.path import Reduction

MERGED = ".merged.weight"
CHANGE = ".change.weight"  # ends the names of an adapter of full rank
A, B = ".lora_A.weight", ".lora_B.weight"


def stack(learnt: Adapter) -> Adapter:
    """The last round's A and B: what clients have not merged yet."""
    return {name: matrix for name, matrix in learnt.items() if not name.endswith(MERGED)}


def merged_before(learnt: Adapter) -> Adapter:
    """What they have."""
    return {name: matrix for name, matrix in learnt.items() if name.endswith(MERGED)}


def weight_changes(learnt: Mapping[str, npt.NDArray[np.float32]], scale: float) -> Adapter:
    """The change of every module's weight (out, in), named as an adapter of full rank.

    Args:
        scale: α / rank.
    """
    changes: Adapter = {}
    for name in learnt:
        if name.endswith(A):
            module = name.removesuffix(A)
            product = learnt[module + B].astype(np.float64) @ learnt[name].astype(np.float64)
            whole = learnt.get(module + MERGED, np.float32(0)) + product
            changes[module + CHANGE] = (scale * whole).astype(np.float32)
    return changes


def fresh_adapter(
    full: ModelShape, reduction: Reduction, seed: int, round_number: int, client: int
) -> Adapter:
    """What a client begins a round with: A drawn for it and this round, B zero."""
    return initial_adapter(reduction.shape(full), seed, "fresh", round_number, client)
