"""Simulated time to the target when channels change every round: one JSON object a line.

Ten clients in a cell of 10 MHz. "fading" multiplies every client's received power by an independent Exp(1) in
each round; "drift" moves it by shadowing of 8 dB whose correlation from one round to the next is 0.9. Every
policy sees the same channels. `static` is the joint plan for the mean channels, its pruning rates and
bandwidths held; the others plan each round on that round's channels. The last round counts as far as it is
needed.

    python benchmarks/online.py --seeds 200
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from airtune.planning import ErrorPower, Pace, Plan, Problem, Rounds, evaluate, plan
from airtune.radio import urban_macro_db
from airtune.randomness import generator

CLIENTS = 10
GAP = 1e-5
Gains = npt.NDArray[np.float64]  # (CLIENTS,) received power over its mean
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


def fading(seed: int) -> Iterator[Gains]:
    rng = generator(seed, "fading")
    while True:
        yield rng.exponential(size=CLIENTS)


def drift(seed: int) -> Iterator[Gains]:
    rng = generator(seed, "drift")
    shadowing_db = 8 * rng.standard_normal(CLIENTS)
    while True:
        yield 10 ** (shadowing_db / 10)
        shadowing_db = 0.9 * shadowing_db + 8 * np.sqrt(1 - 0.9**2) * rng.standard_normal(CLIENTS)


CHANNELS = {"fading": fading, "drift": drift}


def policies(mean: Problem) -> dict[str, Policy]:
    held = plan(mean, gap=GAP)
    return {
        "static": lambda now, pace: evaluate(now, "static", held.prune, held.bandwidth_hz),
        "jcpba": lambda now, pace: plan(now, "jcpba"),
        "joint": lambda now, pace: plan(now, "joint", GAP),
        "joint-online": lambda now, pace: plan(now, "joint-online", GAP, pace=pace),
    }


def seconds_to_target(policy: Policy, mean: Problem, gains: Iterator[Gains]) -> float:
    pace = Pace()
    while True:
        chosen = policy(replace(mean, snr_hz=mean.snr_hz * next(gains)), pace)
        after = pace.after(chosen)
        if after.progress >= 1:
            return pace.time_s + (1 - pace.progress) * chosen.total_s
        pace = after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--base", type=float, default=20.0, help="rounds to the target without error")
    options = parser.parse_args()
    for channel, gains in CHANNELS.items():
        for bits in (1.6e7, 1.6e8):
            times: dict[str, list[float]] = {}
            for seed in range(options.seeds):
                mean = mean_problem(bits, options.base, seed)
                for name, policy in policies(mean).items():
                    times.setdefault(name, []).append(seconds_to_target(policy, mean, gains(seed)))
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
