"""Measuring a reduction path: units' scores and the error of sub-models' gradients, on calibration text."""

import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from airtune.costs.count import Workload
from airtune.costs.curves import GradientError
from airtune.costs.shapes import ModelShape
from airtune.errors import InputError
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

# Passes through the model are what measuring costs, so texts are few, and cut: the beginnings of 8 gave the
# depth curve of 128 whole texts (docs/results.md) within 0.03.
SCORED_EXAMPLES = 16
ERROR_EXAMPLES = 8
SHORT = 128  # tokens
ERROR_POINTS = (0.15, 0.35, 0.65, 1.0)


def measure_path(
    scenario: Scenario, points: Sequence[float] = ERROR_POINTS, examples: int = ERROR_EXAMPLES
) -> MeasuredPath:
    """Score the units on calibration text, order them, and measure the error along the path.

    Args:
        points: pruning rates to measure the error at; each is snapped to the path.
        examples: calibration examples whose gradient is compared.

    Raises:
        InputError: the model cannot read texts of `task.max_tokens`, or is not understood.
    """
    base = load_base(scenario.model.name, scenario.model.dtype)
    full = model_shape(base.model, scenario.lora)
    if 0 < full.positions < scenario.task.max_tokens:
        expected = f"at most the {full.positions} positions that the model knows"
        raise InputError("scenario", "task.max_tokens", scenario.task.max_tokens, expected)
    steps = [_step(batch) for batch in calibration_batches(scenario, base.tokenizer)]
    work, largest = _typical_step(steps), _largest_step(steps, scenario.task.max_tokens)
    weight_bytes = base.model.lm_head.weight.element_size()

    exact = scenario.reduction == "examples"  # all is trained, and right: only noise grows, as is known
    short = [] if exact else calibration_batches(scenario, base.tokenizer, SHORT)
    size = scenario.training.batch_size
    importance = Importance.equal(full)
    if scenario.reduction == "width":  # nothing else removes units, which need a score
        importance = score_units(scenario, base.model, full, short[: max(1, SCORED_EXAMPLES // size)])
    path = build_path(full, importance, scenario.reduction, work)

    rates = path.prune[1:] if exact else np.unique([path.snapped(prune) for prune in points])
    if not rates.any():  # nothing can be given up, and the planner will not ask for it
        return MeasuredPath(path, work, largest, weight_bytes, GradientError(*np.ones((4, 1))))
    reductions = [path.reduction(rate) for rate in rates]
    errors = [(0.0, 0.0)] * len(rates)
    if not exact:
        few = short[: max(1, examples // size)]
        errors = gradient_errors(scenario, base.model, full, reductions, few)
    missed, wrong = np.array(errors).T
    # The variance of a mean falls with the number of examples.
    noisier = np.array([1 / reduction.examples - 1 for reduction in reductions])
    return MeasuredPath(path, work, largest, weight_bytes, GradientError(rates, missed, wrong, noisier))


def score_units(
    scenario: Scenario, base: nn.Module, full: ModelShape, batches: Sequence[Batch]
) -> Importance:
    """What the scenario's criterion says of the model as a run starts with it."""
    whole = build_submodel(base, full, Reduction.none(full), scenario.lora)
    load_adapter(whole, initial_adapter(full, scenario.seed))
    return CRITERIA[scenario.criterion](whole, full, batches, scenario.seed)


def gradient_errors(
    scenario: Scenario,
    base: nn.Module,
    full: ModelShape,
    reductions: Sequence[Reduction],
    batches: Sequence[Batch],
) -> list[tuple[float, float]]:
    """What every sub-model's adapters miss of the full model's gradient, and get wrong: shares of its square.

    The gradient is a run's first: LoRA's B starts at zero, so that of A is zero.
    """
    adapter = initial_adapter(full, scenario.seed)
    exact = _gradient(base, full, Reduction.none(full), scenario.lora, adapter, batches)
    errors = []
    for reduction in reductions:
        # Where no unit is gone the function is the full model's, and so is the gradient of what is trained.
        found = (
            slice_adapter(exact, full, reduction, trained_only=True)
            if reduction.is_whole
            else _gradient(base, full, reduction, scenario.lora, adapter, batches)
        )
        errors.append(_relative_errors(exact, found, full, reduction))
    return errors


def calibration_batches(
    scenario: Scenario, tokenizer: "PreTrainedTokenizerBase", max_tokens: int | None = None
) -> list[Batch]:
    """The calibration examples, each at least once, in clients' batches; cut to `max_tokens` if given."""
    task = scenario.task
    most = task.max_tokens if max_tokens is None else min(task.max_tokens, max_tokens)
    encoded = [encode(example, tokenizer, most) for example in load_task(task, scenario.seed).calibration]
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
