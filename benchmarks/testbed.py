"""How far predictions are off on a testbed, and whether planning gains on the wall what it promises.

    sudo python benchmarks/testbed.py [--scenario examples/testbed.yaml] [--out runs/testbed] [--rounds 3]

Plays `fedit` and `joint` one after the other, about five minutes each, with nothing else running: the load
average is printed. Begun again it goes on where it stopped. Aims: median errors of at most 5 % (upload) and
15 % (round); a gain of `joint` over `fedit` within 10 points of the predicted one.
"""

import argparse
import os
from pathlib import Path

from airtune import load_scenario
from airtune.results.terminal import RunProgress
from airtune.results.testbed_facts import Facts
from airtune.results.testbed_rows import print_rows, read_rows, rounds_s
from airtune.testbed.run import run_on_testbed

ROOT = Path(__file__).parents[1]
METHODS = ("fedit", "joint")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", type=Path, default=ROOT / "examples" / "testbed.yaml")
    parser.add_argument("--out", type=Path, default=Path("runs") / "testbed")
    parser.add_argument("--rounds", type=int)
    arguments = parser.parse_args()
    seconds = {}
    for method in METHODS:
        scenario = load_scenario(arguments.scenario, method=method, rounds=arguments.rounds)
        directory = arguments.out / method
        print(f"{method}; load average before: {os.getloadavg()[0]:.1f}", flush=True)
        with RunProgress(scenario) as progress:
            run_on_testbed(scenario, directory, progress, resume=True)
        print_rows(directory)
        # Each run has a pace of its own: only what it was in simulated seconds can be compared.
        factor = Facts.read(directory).factor
        pairs = rounds_s(read_rows(directory)).values()
        seconds[method] = [sum(one) / factor for one in zip(*pairs, strict=True)]
    (base_predicted, base_measured), (predicted, measured) = (seconds[method] for method in METHODS)
    promised, kept = 1 - predicted / base_predicted, 1 - measured / base_measured
    print(f"joint's rounds are shorter than fedit's by {promised:.1%} as predicted, {kept:.1%} as measured")


if __name__ == "__main__":
    main()
