"""Simulated time to the target when channels change every round: one JSON object a line.

Ten clients in a cell of 10 MHz. What changes from round to round:

    fading   every client's received power is multiplied by an Exp(1) of its own
    drift    every client's shadowing of 8 dB moves on, with correlation 0.9 from one round to the next
    load     other traffic leaves the cell a share of its bandwidth, uniform from 0.1 to 1
    outage   other traffic leaves the cell 5 % of its bandwidth in one round of five, else all

Every policy sees the same channels. `static` is the joint plan for the mean channels and the whole bandwidth,
its pruning rates and shares of bandwidth held; the others plan each round on that round's channels. The last
round counts as far as it is needed.

    python benchmarks/online.py --seeds 200
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from airtune.planning import ErrorPower, Pace, Plan, Problem, Rounds, evaluate, plan
from airtune.radio import urban_macro_db
from airtune.randomness import generator

CLIENTS = 10
GAP = 1e-5
Policy = Callable[[Problem, Pace], Plan]


def mean_problem(bits: float, base: float, seed: int) -> Problem:
    """A cell without shadowing or fading; half of the upload shrinks with the work."""
    rng = generator(seed, "cell")
    loss_db = urban_macro_db(rng.uniform(50, 500, CLIENTS))
    ones = np.ones(CLIENTS)
    return Problem(
        ids=tuple(f"c{k}" for k in range(CLIENTS)),
        cell_ids=("cell-0",),
        cell=np.zeros(CLIENTS, int),
        bandwidth_hz=np.array([1e7]),
        weight=rng.dirichlet(2 * ones),
        snr_hz=10 ** ((23 - loss_db + 174) / 10),
        fixed_s=rng.uniform(0.5, 2, CLIENTS),
        compute_s=rng.uniform(1, 20, CLIENTS),
        fixed_bits=0.5 * bits * ones,
        payload_bits=0.5 * bits * ones,
        prune_min=0 * ones,
        prune_max=0.9 * ones,
        rounds=Rounds(base, 0.8, ErrorPower(2.0)),
    )


def fading(mean: Problem, rng: np.random.Generator) -> Iterator[Problem]:
    while True:
        yield replace(mean, snr_hz=mean.snr_hz * rng.exponential(size=CLIENTS))


def drift(mean: Problem, rng: np.random.Generator) -> Iterator[Problem]:
    shadowing_db = 8 * rng.standard_normal(CLIENTS)
    while True:
        yield replace(mean, snr_hz=mean.snr_hz * 10 ** (shadowing_db / 10))
        shadowing_db = 0.9 * shadowing_db + 8 * np.sqrt(1 - 0.9**2) * rng.standard_normal(CLIENTS)


def load(mean: Problem, rng: np.random.Generator) -> Iterator[Problem]:
    while True:
        yield replace(mean, bandwidth_hz=mean.bandwidth_hz * rng.uniform(0.1, 1))


def outage(mean: Problem, rng: np.random.Generator) -> Iterator[Problem]:
    while True:
        yield replace(mean, bandwidth_hz=mean.bandwidth_hz * (0.05 if rng.random() < 0.2 else 1.0))


CHANNELS = {"fading": fading, "drift": drift, "load": load, "outage": outage}


def policies(mean: Problem) -> dict[str, Policy]:
    held = plan(mean, gap=GAP)
    share = held.bandwidth_hz / mean.bandwidth_hz
    return {
        "static": lambda now, pace: evaluate(now, "static", held.prune, share * now.bandwidth_hz),
        "jcpba": lambda now, pace: plan(now, "jcpba"),
        "joint": lambda now, pace: plan(now, "joint", GAP),
        "joint-online": lambda now, pace: plan(now, "joint-online", GAP, pace=pace),
    }


def seconds_to_target(policy: Policy, rounds: Iterator[Problem]) -> float:
    pace = Pace()
    for problem in rounds:
        chosen = policy(problem, pace)
        after = pace.after(chosen)
        if after.progress >= 1:
            return pace.time_s + (1 - pace.progress) * chosen.total_s
        pace = after
    raise AssertionError("rounds never end")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--channels", nargs="+", choices=CHANNELS, default=list(CHANNELS))
    parser.add_argument("--base", type=float, default=20.0, help="rounds to the target without error")
    options = parser.parse_args()
    for channel in options.channels:
        for bits in (1.6e7, 1.6e8):
            times: dict[str, list[float]] = {}
            for seed in range(options.seeds):
                mean = mean_problem(bits, options.base, seed)
                for name, policy in policies(mean).items():
                    times.setdefault(name, []).append(
                        seconds_to_target(policy, CHANNELS[channel](mean, generator(seed, channel)))
                    )
            rng = generator(0, "bootstrap")
            drawn = rng.integers(options.seeds, size=(10_000, options.seeds))
            for name, found in times.items():
                ratio = np.array(found) / np.array(times["joint"])
                low, high = np.quantile(ratio[drawn].mean(1), [0.025, 0.975])
                line = {
                    "channel": channel,
                    "bits": bits,
                    "base": options.base,
                    "policy": name,
                    "seeds": options.seeds,
                    "mean_s": round(float(np.mean(found)), 2),
                    "median_s": round(float(np.median(found)), 2),
                    "over_joint": round(float(ratio.mean()), 4),
                    "interval": [round(float(low), 4), round(float(high), 4)],
                }
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
