"""The criteria table of docs/results.md: what every criterion's width-pruned models are worth, untrained.

    python benchmarks/criteria.py examples/gsm8k.yaml --data PATH --out criteria.jsonl

Appends one JSON object a line to the file, for criteria that are not in it yet: criterion, whether sub-models
compensate, pruning rate, loss of the sub-model on test text (rate 0: the full model's), error of its gradient
on calibration text, processor seconds that the scores took.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from airtune import Scenario, load_scenario
from airtune.costs.count import Workload
from airtune.learning.evaluation import evaluate
from airtune.learning.models import load_base
from airtune.learning.tasks import load_task
from airtune.learning.tokens import encode
from airtune.pruning.adapters import initial_adapter, slice_adapter
from airtune.pruning.measure import SHORT, calibration_batches, gradient_errors, score_units
from airtune.pruning.path import Reduction, build_path
from airtune.pruning.submodel import build_submodel, load_adapter, model_shape
from airtune.scenario import CRITERIA


def main() -> None:
    """Measure what the file does not hold yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("scenario", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--criteria", nargs="+", default=list(CRITERIA))
    parser.add_argument("--rates", nargs="+", type=float, default=[0.0, 0.1, 0.2, 0.3, 0.5])
    parser.add_argument("--texts", type=int, default=32, help="test texts")
    parser.add_argument("--scored", type=int, default=16, help="calibration texts that scores are taken on")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    scenario = load_scenario(chosen.scenario, data=chosen.data)
    task = scenario.task.model_copy(update={"test_examples": chosen.texts})
    scenario = scenario.model_copy(update={"task": task, "reduction": "width"})
    lines = chosen.out.read_text().splitlines() if chosen.out.exists() else []
    known = {json.loads(line)["criterion"] for line in lines}
    with chosen.out.open("a") as out:
        for criterion in chosen.criteria:
            if criterion not in known:
                rows = _measure(scenario, criterion, chosen.rates, chosen.scored)
                out.write("".join(json.dumps(row) + "\n" for row in rows))
                out.flush()


def _measure(scenario: Scenario, criterion: str, rates: list[float], scored: int) -> list[dict[str, Any]]:
    scenario = scenario.model_copy(update={"criterion": criterion})
    base = load_base(scenario.model.name, scenario.model.dtype)
    full = model_shape(base.model, scenario.lora)
    calibration = calibration_batches(scenario, base.tokenizer, SHORT)
    rows, length = calibration[0].input_ids.shape
    work = Workload(rows, length, length / 2)

    started = time.process_time()
    few = calibration[: scored // scenario.training.batch_size]
    importance = score_units(scenario, base.model, full, few)
    score_s = round(time.process_time() - started, 2)

    found = []
    for mean in [None, importance.mean] if importance.mean else [None]:
        path = build_path(full, replace(importance, mean=mean), "width", work)
        reductions = [path.reduction(rate) for rate in rates]
        errors = gradient_errors(scenario, base.model, full, reductions, calibration[:1])
        for rate, reduction, (missed, wrong) in zip(rates, reductions, errors, strict=True):
            found.append(
                {
                    "criterion": criterion,
                    "compensates": mean is not None,
                    "prune": rate,
                    "loss": round(_test_loss(scenario, reduction), 4),
                    "error": round(missed + wrong, 4),
                    "score_s": score_s,
                }
            )
    return found


def _test_loss(scenario: Scenario, reduction: Reduction) -> float:
    """Loss of a sub-model that was never trained, on test text."""
    base = load_base(scenario.model.name, scenario.model.dtype)
    full = model_shape(base.model, scenario.lora)
    submodel = build_submodel(base.model, full, reduction, scenario.lora)
    load_adapter(submodel, slice_adapter(initial_adapter(full, scenario.seed), full, reduction))
    examples = load_task(scenario.task, scenario.seed).test
    encoded = [encode(example, base.tokenizer, scenario.task.max_tokens) for example in examples]
    return evaluate(submodel, encoded, base.tokenizer.pad_token_id).mean()


if __name__ == "__main__":
    main()
