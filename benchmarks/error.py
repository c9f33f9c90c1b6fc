"""The error table of docs/results.md: how far a reduced client's gradient is off, by pruning rate.

    python benchmarks/error.py examples/gsm8k.yaml --data PATH --examples 128 >> error.csv

Prints CSV rows: scenario, reduction, examples, pruning rate, error, step cost over the full step's.
"""

import argparse
from pathlib import Path

import numpy as np

from airtune import load_scenario
from airtune.costs.count import step_flops
from airtune.pruning.measure import measure_path

POINTS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def main() -> None:
    """Measure each reduction of one scenario."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("scenario", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--examples", type=int, default=128)
    parser.add_argument("--reductions", nargs="+", default=["depth", "width", "mixed"])
    chosen = parser.parse_args()
    scenario = load_scenario(chosen.scenario, data=chosen.data)
    task = scenario.task.model_copy(update={"calibration_examples": chosen.examples})
    for reduction in chosen.reductions:
        changed = scenario.model_copy(update={"task": task, "reduction": reduction})
        measured = measure_path(changed, POINTS, chosen.examples)
        path, work = measured.path, measured.work
        full = step_flops(path.full, work)
        total = measured.error.missed + measured.error.wrong
        for prune, error in zip(measured.error.prune, total, strict=True):
            cost = path.reduction(float(prune)).step_flops(path.full, work) / full
            row = (scenario.name, reduction, chosen.examples, *np.round((prune, error, cost), 4))
            print(",".join(map(str, row)), flush=True)


if __name__ == "__main__":
    main()
