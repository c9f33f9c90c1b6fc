"""What the engines cost beside the training: seconds until the first round begins, and seconds a round.

    python benchmarks/engines.py [--scenario examples/tiny.yaml] [--engines in-process,flower-simulation]

With the tiny model hardly anything is computed, so that a round's seconds are the engine's. The machine's
other load counts too: the load average is printed.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from airtune import load_scenario, run
from airtune.observer import Observer

ROOT = Path(__file__).parents[1]
ENGINES = "in-process,flower-simulation,flower-deployment"


class Stopwatch(Observer):
    """Notes when the run begins and when each of its rounds ends."""

    def __init__(self) -> None:
        self.seconds = [time.perf_counter()]

    def on_start(self, event, rounds_done) -> None:
        self.seconds.append(time.perf_counter())

    def on_round(self, event) -> None:
        self.seconds.append(time.perf_counter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", type=Path, default=ROOT / "examples" / "tiny.yaml")
    parser.add_argument("--engines", default=ENGINES)
    arguments = parser.parse_args()
    scenario = load_scenario(arguments.scenario)
    with tempfile.TemporaryDirectory() as folder:
        run(scenario, Path(folder) / "warm")  # what is cached once and loaded once
        print(f"{len(scenario.members())} clients, {scenario.rounds} rounds, {os.cpu_count()} cores")
        for engine in arguments.engines.split(","):
            stopwatch, before = Stopwatch(), os.getloadavg()[0]
            run(scenario, Path(folder) / engine, observer=stopwatch, engine=engine)
            ended = time.perf_counter()
            begin, start, *rounds = stopwatch.seconds
            each = [after - earlier for earlier, after in zip([start, *rounds], rounds, strict=False)]
            print(f"{engine}: {start - begin:.1f} s to start, {ended - rounds[-1]:.1f} s to end, rounds")
            print(f"    {', '.join(f'{one:.1f}' for one in each)} s (median {statistics.median(each):.1f})")
            print(f"    load average before: {before:.1f}")


if __name__ == "__main__":
    main()
