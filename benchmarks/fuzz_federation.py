"""Hostile replies and files against server and readers: each has to end in what was read or a one-line error.

A case is made from its seed and number alone (tests/federation/hostile.py). Whatever else happens is an
offence. Prints one JSON object: how cases ended, the slowest, offences, and the errors by their beginning.

    nice python benchmarks/fuzz_federation.py --count 100000 --seed 0 --processes 2
    python benchmarks/fuzz_federation.py --seed 0 --number 4711       # one case, with its traceback
"""

import argparse
import json
import multiprocessing
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/federation"))

from hostile import CASES, Outcome, outcome

SHARES = {"reply": 0.55, "report": 0.05, "file": 0.395, "folder": 0.005}


def begin() -> None:
    """Of a process: models are tiny, and one thread is fastest."""
    torch.set_num_threads(1)


def chosen(seed: int, number: int) -> tuple[str, Random]:
    """The kind of a seed's case of this number, and what the rest of it is drawn from."""
    random = Random(f"{seed}/{number}")
    return random.choices(list(SHARES), list(SHARES.values()))[0], random


def one(task: tuple[int, int]) -> tuple[str, Outcome, float]:
    """Kind, outcome and seconds."""
    kind, random = chosen(*task)
    started = time.perf_counter()
    return kind, outcome(CASES[kind], random), time.perf_counter() - started


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--count", type=int, default=100_000)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--processes", type=int, default=2)
    arguments.add_argument("--minutes", type=float, default=60.0, help="stop then, whatever was done")
    arguments.add_argument("--number", type=int, help="play this case alone")
    given = arguments.parse_args()
    if given.number is not None:
        kind, random = chosen(given.seed, given.number)
        print(kind, CASES[kind](random))
        return
    started, counts, errors = time.monotonic(), Counter[str](), Counter[str]()
    offences: dict[str, list[int]] = {}
    slowest = dict.fromkeys(SHARES, (0.0, -1))
    with multiprocessing.get_context("spawn").Pool(given.processes, begin) as pool:
        tasks = ((given.seed, number) for number in range(given.count))
        for number, (kind, found, seconds) in enumerate(pool.imap(one, tasks, chunksize=32)):
            known = found.kind in ("read", "nothing", "shown", "gone on", "offence")
            counts[f"{kind}: {found.kind if known else 'error'}"] += 1
            slowest[kind] = max(slowest[kind], (round(seconds, 2), number))
            if not known:
                errors[found.kind] += 1
            if found.offence:
                offences.setdefault(f"{kind}: {found.offence[:80]}", []).append(number)
            if time.monotonic() - started > 60 * given.minutes:
                pool.terminate()
                break
    summary = {
        "cases": sum(counts.values()),
        "minutes": round((time.monotonic() - started) / 60, 2),
        "endings": dict(sorted(counts.items())),
        "slowest (seconds, number)": slowest,
        "offences": {what: [len(numbers), *numbers[:5]] for what, numbers in offences.items()},
        "kinds of error": len(errors),
        "errors": dict(errors.most_common(40)),
    }
    print(json.dumps(summary, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
