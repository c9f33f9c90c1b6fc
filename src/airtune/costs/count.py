"""What one training step costs, counted from the real shapes of a (sub-)model: FLOPs, bytes, memory.

A multiply-add is 2 FLOPs. Element-wise work (norms, activations, softmax) is left out: it is below
2 % of a step at the sizes of interest.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from airtune.costs.shapes import ModelShape
from airtune.payload.download import TYPES
from airtune.payload.joined import JOINED
from airtune.payload.matrix import Form, sent_form
from airtune.scenario import Payload

ADAPTER_BYTES = 4  # adapters are trained in float32
OPTIMISER_BYTES = 12  # gradient and the two moments of AdamW, float32 each
ATTENTION_BLOCK = 64  # queries computed together, against all keys that one of them may look at
LOGITS_AT_A_TIME = 2**24  # as many as the loss computes in one go
JOINED_BYTES = 128 + len(JOINED)  # the header of an array in NumPy's format, as Flower sends it, and its name
MEAN_BYTES = 2 * 128 + len("queries" + "neurons")
LAYOUT_BYTES, SIZE_BYTES = len("names" + "rows" + "columns"), 2 * 8  # keys; rows and columns of a matrix


@dataclass(frozen=True)
class Workload:
    """One training step: `rows` sequences padded to `length` tokens, `labels` of them with a loss."""

    rows: float
    length: float
    labels: float

    def fewer(self, share: float) -> "Workload":
        """The step with this share of its rows."""
        return Workload(self.rows * share, self.length, self.labels)


def step_flops(shape: ModelShape, work: Workload) -> float:
    """FLOPs of one step: forward everywhere, backward only from the head down to `first_trained`.

    With LoRA the base is frozen, so the backward pass needs input gradients (as many FLOPs as the forward
    pass) but no weight gradients, except those of the adapters: 4 FLOPs a weight and token, not 6.
    """
    tokens = work.rows * work.length
    layer = np.arange(shape.layers)
    trained = layer >= shape.first_trained
    total = 0.0
    lowest_stage = min(projection.stage for projection in shape.adapted)
    for projection in shape.layout.projections:
        inputs, outputs = shape.widths(projection)
        # Below the lowest adapter of the lowest trained layer nothing wants a gradient.
        passes_on = trained & ((layer > shape.first_trained) | (projection.stage > lowest_stage))
        total += float(np.sum(inputs * outputs * (2 + 2 * passes_on)))
        if projection in shape.adapted and shape.rank == 0:
            total += float(np.sum(inputs * outputs * 2 * trained))
        elif projection in shape.adapted:
            # A frozen A wants no gradient of its own, nor one of its output but to pass it on.
            trains_a = trained & shape.train_a
            thin = inputs * (2 + 2 * trains_a + 2 * passes_on)
            thin = thin + outputs * (2 + 2 * trained + 2 * (trains_a | passes_on))
            total += float(np.sum(shape.rank * thin))
    # Scores and their product with the values: 2 + 2 FLOPs forward, twice that backward.
    backward = trained & ((layer > shape.first_trained) | (lowest_stage == 0))
    total += float(np.sum(shape.width("queries") * (4 + 8 * backward))) * _keys(work)
    head = work.rows * work.labels * shape.hidden * shape.vocabulary * (2 + 2)
    return total * tokens + head


def _keys(work: Workload) -> float:
    """Keys that a query meets in the mean: those before it, and the others of its block."""
    return min(work.length, (work.length + ATTENTION_BLOCK) / 2)


def upload_forms(shape: ModelShape, payload: Payload) -> dict[str, Form]:
    """Type and shape of every array that a client sends back: what it trains, in the payload's form."""
    return {name: sent_form(size, payload) for name, _, _, size in shape.adapter_shapes(trained_only=True)}


def upload_bytes(shape: ModelShape, payload: Payload) -> int:
    """Bytes of the one array that a client sends back, header and name included."""
    return JOINED_BYTES + _joined_bytes(upload_forms(shape, payload).values())


def download_bytes(shape: ModelShape, payload: Payload) -> int:
    """Bytes of the adapters a client receives, with names and sizes.

    They are those of all of its sub-model, for the forward pass needs them. A frozen A is drawn by the client
    itself.
    """
    sizes = {name: size for name, _, _, size in shape.adapter_shapes() if shape.changes(name)}
    layout = LAYOUT_BYTES + sum(len(name) + SIZE_BYTES for name in sizes)
    return JOINED_BYTES + layout + _joined_bytes((TYPES[payload.download], size) for size in sizes.values())


def compensation_bytes(full: ModelShape, shape: ModelShape) -> int:
    """Bytes of the two arrays of mean inputs that come with a sub-model: a float32 for every query and neuron
    that it lost; none where it lost nothing."""
    lost = full.width("queries") - shape.width("queries") + full.neurons - shape.neurons
    return MEAN_BYTES + 4 * int(np.sum(lost)) if lost.any() else 0


def _joined_bytes(forms: Iterable[Form]) -> int:
    return sum(dtype.itemsize * math.prod(size) for dtype, size in forms)


def memory_bytes(shape: ModelShape, work: Workload, weight_bytes: int) -> float:
    """Bytes of memory that training takes: weights, adapters, optimiser state and kept activations.

    `weight_bytes` is the size of one base weight (2 in bfloat16). Activations are those that our kernels keep
    for the backward pass in the layers that are trained.
    """
    base = (shape.embeddings * shape.vocabulary + shape.positions) * shape.hidden
    for projection in shape.layout.projections:
        inputs, outputs = shape.widths(projection)
        base += int(np.sum(inputs * outputs))
    entries = sum(rows * columns for _, _, _, (rows, columns) in shape.adapter_shapes())
    trained_entries = sum(rows * columns for _, _, _, (rows, columns) in shape.adapter_shapes(True))
    adapters = ADAPTER_BYTES * entries + OPTIMISER_BYTES * trained_entries
    if weight_bytes != ADAPTER_BYTES or shape.rank == 0:  # the backward pass reads what the forward pass made
        adapters += weight_bytes * trained_entries
    return weight_bytes * base + adapters + _activation_bytes(shape, work, weight_bytes)


def _activation_bytes(shape: ModelShape, work: Workload, weight_bytes: int) -> float:
    trained = np.arange(shape.layers) >= shape.first_trained
    tokens = work.rows * work.length
    heads = shape.kv_groups * shape.heads_per_group
    queries, values = shape.width("queries"), shape.width("values")
    # Queries, keys and values and their softmax; what the MLP's activation needs; the inputs of norms.
    kept = queries + 2 * values + heads * _keys(work) + shape.layout.kept_neurons * shape.neurons
    kept = kept + shape.norms * shape.hidden + shape.head_norms * (queries + values)
    sources = set()
    for projection in shape.adapted:
        # Projections that change keep their input; those of one source share it.
        if (shape.train_a or shape.rank == 0) and projection.stage not in sources:
            kept = kept + shape.widths(projection)[0]
            sources.add(projection.stage)
        kept = kept + shape.rank
    # The head keeps the gradient of its input, and while it works the logits of some tokens.
    answers = work.rows * work.labels
    head = weight_bytes * answers * shape.hidden
    head += min(answers * shape.vocabulary, LOGITS_AT_A_TIME) * (4 if weight_bytes == 4 else 4 + weight_bytes)
    return weight_bytes * float(np.sum(kept * trained)) * tokens + head
