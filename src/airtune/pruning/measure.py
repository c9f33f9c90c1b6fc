"""Measuring a reduction path: units' scores and the error of sub-models' gradients, on calibration text."""

import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from airtune.costs.count import Workload
from airtune.costs.curves import GradientError
from airtune.costs.shapes import ModelShape
from airtune.learning.loss import answer_losses
from airtune.learning.models import load_base
from airtune.learning.tasks import load_task
from airtune.learning.tokens import NO_LABEL, Batch, batches, encode
from airtune.pruning.adapters import Adapter, initial_adapter, slice_adapter
from airtune.pruning.criteria import CRITERIA
from airtune.pruning.measured import MeasuredPath
from airtune.pruning.path import Importance, Reduction, build_path
from airtune.pruning.submodel import build_submodel, load_adapter, model_shape, read_gradient
from airtune.randomness import generator
from airtune.scenario import Lora, Scenario

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ERROR_POINTS = (0.15, 0.3, 0.45, 0.6, 0.8, 1.0)
ERROR_EXAMPLES = 8  # 8 give the depth curves of 128 within 0.07 (docs/results.md)


def measure_path(
    scenario: Scenario, points: Sequence[float] = ERROR_POINTS, examples: int = ERROR_EXAMPLES
) -> MeasuredPath:
    """Score the units on calibration text, order them, and measure the error along the path.

    The error is that of a run's first gradient: LoRA's B starts at zero, so that of A is zero.

    Args:
        points: pruning rates to measure the error at; each is snapped to the path.
        examples: calibration examples whose gradient is compared.
    """
    base = load_base(scenario.model.name, scenario.model.dtype)
    full = model_shape(base.model, scenario.lora)
    calibration = _calibration_batches(scenario, base.tokenizer)
    adapter = initial_adapter(full, scenario.seed)
    steps = [_step(batch) for batch in calibration]
    work = _typical_step(steps)

    largest = _largest_step(steps, scenario.task.max_tokens)
    weight_bytes = base.model.lm_head.weight.element_size()

    importance = Importance.equal(full)
    if scenario.reduction != "depth":  # which removes no unit, so nothing needs a score
        whole = build_submodel(base.model, full, Reduction.none(full), scenario.lora)
        load_adapter(whole, adapter)
        importance = CRITERIA[scenario.criterion](whole, full, calibration, scenario.seed)
    path = build_path(full, importance, scenario.reduction, work)

    few = calibration[: max(1, examples // scenario.training.batch_size)]
    exact = _gradient(base.model, full, Reduction.none(full), scenario.lora, adapter, few)
    rates = np.unique([path.snapped(prune) for prune in points])
    if not rates.any():  # nothing can be given up, and the planner will not ask for it
        return MeasuredPath(path, work, largest, weight_bytes, GradientError(*np.ones((4, 1))))
    errors = []
    for rate in rates:
        reduction = path.reduction(rate)
        # Where no unit is gone the function is the full model's, and so is the gradient of what is trained.
        found = (
            slice_adapter(exact, full, reduction, trained_only=True)
            if reduction.is_whole
            else _gradient(base.model, full, reduction, scenario.lora, adapter, few)
        )
        errors.append(_relative_errors(exact, found, full, reduction))
    missed, wrong = np.array(errors).T
    # The variance of a mean falls with the number of examples.
    noisier = np.array([1 / path.reduction(rate).examples - 1 for rate in rates])
    return MeasuredPath(path, work, largest, weight_bytes, GradientError(rates, missed, wrong, noisier))


def _calibration_batches(scenario: Scenario, tokenizer: "PreTrainedTokenizerBase") -> list[Batch]:
    """The calibration examples, each once, batched as clients batch theirs."""
    examples = load_task(scenario.task, scenario.seed).calibration
    encoded = [encode(example, tokenizer, scenario.task.max_tokens) for example in examples]
    size = scenario.training.batch_size
    order = generator(scenario.seed, "calibration")
    return list(batches(encoded, size, -(-len(encoded) // size), order, tokenizer.pad_token_id))


def _step(batch: Batch) -> Workload:
    rows, length = batch.input_ids.shape
    return Workload(rows, length, float((batch.labels[:, 1:] != NO_LABEL).sum()) / rows)


def _typical_step(steps: Sequence[Workload]) -> Workload:
    """Rows, mean padded length and mean answer tokens a row."""
    length, labels = (
        float(np.mean(values)) for values in zip(*((step.length, step.labels) for step in steps), strict=True)
    )
    return Workload(steps[0].rows, length, labels)


def _largest_step(steps: Sequence[Workload], max_tokens: int) -> Workload:
    """What memory must hold: rows of `max_tokens`, with the answers' largest share of the text."""
    share = max(step.labels / step.length for step in steps)
    return Workload(steps[0].rows, max_tokens, share * max_tokens)


def _gradient(
    base: nn.Module,
    full: ModelShape,
    reduction: Reduction,
    lora: Lora,
    adapter: Adapter,
    batches: Sequence[Batch],
) -> Adapter:
    """The gradient of the mean loss with respect to the adapters that the sub-model trains."""
    submodel = build_submodel(base, full, reduction, lora)
    load_adapter(submodel, slice_adapter(adapter, full, reduction))
    for batch in batches:
        losses, _ = answer_losses(submodel, batch)
        (losses.mean() / len(batches)).backward()
    gradient = read_gradient(submodel)
    del submodel
    gc.collect()  # modules refer to one another in circles; without this, memory holds several models
    return gradient


def _relative_errors(
    exact: Adapter, found: Adapter, full: ModelShape, reduction: Reduction
) -> tuple[float, float]:
    """The shares of ||exact||² over all adapters that a sub-model does not train, and that it gets wrong."""
    held = slice_adapter(exact, full, reduction, trained_only=True)
    square, kept = (
        sum(float(np.sum(matrix.astype(np.float64) ** 2)) for matrix in part.values())
        for part in (exact, held)
    )
    wrong = sum(float(np.sum((held[name].astype(np.float64) - found[name]) ** 2)) for name in held)
    return (square - kept) / square, wrong / square
