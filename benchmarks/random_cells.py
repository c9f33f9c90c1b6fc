"""What simpler methods lose against the joint optimum on typical cells of 10 to 30 clients: one JSON object.

For every method by how many per cent its N·T is above `joint`'s: median, 95th percentile and the most.

    python benchmarks/random_cells.py --cells 200
"""

import argparse
import json

import numpy as np
from planner import typical_problem

from airtune.planning import plan

METHODS = ("jcpba", "pruning-only", "bandwidth-only")
FEWEST, MOST = 10, 30


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--cells", type=int, default=200)
    cells = arguments.parse_args().cells
    losses = np.empty((cells, len(METHODS)))
    for seed in range(cells):
        problem = typical_problem(FEWEST + seed % (MOST - FEWEST + 1), seed)
        least = plan(problem).total_s
        losses[seed] = [100 * (plan(problem, method).total_s / least - 1) for method in METHODS]
    rows = zip(METHODS, np.percentile(losses, (50, 95, 100), axis=0).T.round(1).tolist(), strict=True)
    found = {method: dict(zip(("median", "p95", "most"), row, strict=True)) for method, row in rows}
    print(json.dumps({"cells": cells, "percent above joint": found}))


if __name__ == "__main__":
    main()
