"""The comparison of docs/results.md: methods and reductions on one task, one run after another, resumable.

    python benchmarks/study.py examples/gsm8k.yaml --data PATH --out runs/study-gsm8k
    python benchmarks/study.py examples/yahoo.yaml --data PATH --out runs/study-yahoo

Runs that are already finished are not repeated. Prints a line a run and writes `table.csv`, one row a round.
`slow_loss` is the test loss on text like that of the scenario's first group of clients.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

from airtune import load_scenario, run
from airtune.results.events import EVENTS_FILE, read_events, round_events
from airtune.scenario_file import dump_scenario, parse_scenario

# method, reduction, largest pruning rate, exponent of an assumed error (None: measured)
RUNS: list[tuple[str, str, float, float | None]] = [
    ("fedit", "examples", 0.7, None),
    ("bandwidth-only", "examples", 0.7, None),
    ("drop-slowest", "examples", 0.7, None),
    ("joint", "examples", 0.7, None),
    ("joint", "examples", 0.9, None),
    ("jcpba", "examples", 0.7, None),
    ("pruning-only", "examples", 0.7, None),
    ("joint", "depth", 0.7, None),
    ("jcpba", "depth", 0.7, None),
    ("joint", "mixed", 0.7, None),
    ("joint", "width", 0.7, None),
    ("jcpba", "width", 0.7, None),
]
COLUMNS = ("method", "reduction", "prune_max", "exponent", "seed", "round", "clock_s", "round_s")
COLUMNS += ("planned_s", "loss", "slow_loss", "bytes_up", "bytes_down", "flops", "elapsed_s")


def main() -> None:
    """Run what is missing, then write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("scenario", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--methods", nargs="+", help="only these methods")
    chosen = parser.parse_args()
    rows = []
    for seed in chosen.seeds:
        for setting in RUNS:
            if chosen.methods is None or setting[0] in chosen.methods:
                rows += one_run(chosen.scenario, chosen.data, chosen.out, setting, seed)
                write_table(chosen.out / "table.csv", rows)
    print_table(rows)


def one_run(
    scenario: Path, data: str, out: Path, setting: tuple[str, str, float, float | None], seed: int
) -> list[dict[str, Any]]:
    """The rounds of one run, played now unless they have been."""
    method, reduction, prune_max, exponent = setting
    base = load_scenario(scenario, method=method, data=data)
    changed = base.model_copy(
        update={
            "seed": seed,
            "reduction": reduction,
            "prune_max": prune_max,
            "convergence": base.convergence.model_copy(update={"exponent": exponent}),
        }
    )
    name = "-".join(str(part) for part in (*setting, seed))
    directory = out / name
    run(parse_scenario(dump_scenario(changed)), directory, resume=directory.exists())
    rounds = round_events(read_events(directory / EVENTS_FILE))
    shared = {
        "method": method,
        "reduction": reduction,
        "prune_max": prune_max,
        "exponent": exponent,
        "seed": seed,
    }
    return [
        shared
        | {key: event[key] for key in COLUMNS if key in event}
        | {"slow_loss": event.get("group_loss", {}).get(base.clients[0].id)}
        for event in map(dict, rounds)
    ]


def write_table(file: Path, rows: list[dict[str, Any]]) -> None:
    """One row a round."""
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Loss and simulated seconds after the last round, one run a line, as JSON."""
    last = {tuple(row[key] for key in COLUMNS[:5]): row for row in rows}
    for row in last.values():
        print(json.dumps(row))


if __name__ == "__main__":
    main()
