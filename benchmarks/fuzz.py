"""Hostile problem files against the planner: each has to end in a valid plan or in a one-line error.

A file is made from its seed and number alone (tests/planning/hostile_files.py), read, planned and judged by
tests/planning/feasibility.py. Whatever else happens is an offence; `--offenders` keeps such files. Prints one
JSON object: how files ended, the slowest, and the errors by their wording.

    nice python benchmarks/fuzz.py --count 100000 --seed 0 --processes 2
"""

import argparse
import json
import multiprocessing
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/planning"))

from hostile_files import MAKERS, METHODS, Outcome, outcome


def one(task: tuple[int, int]) -> tuple[str, str, bytes, Outcome]:
    """Maker, method, file and outcome of a seed's file of this number."""
    seed, number = task
    random = Random(f"{seed}/{number}")
    maker = random.choices(tuple(MAKERS), (3, 3, 4))[0]
    method = "joint" if random.random() < 0.7 else random.choice(METHODS)
    blocks = random.choice((3, 20, 111)) if method == "joint" and random.random() < 0.15 else None
    data = MAKERS[maker](random)
    if blocks is not None:
        maker = f"{maker}, in blocks"
    return maker, method if blocks is None else f"{method} {blocks}", data, outcome(data, method, blocks)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--count", type=int, default=100_000)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--processes", type=int, default=2)
    arguments.add_argument("--minutes", type=float, default=60.0, help="stop then, whatever was done")
    arguments.add_argument("--offenders", type=Path, help="folder for the files that offend")
    chosen = arguments.parse_args()
    begin, counts, errors, offences = time.monotonic(), Counter[str](), Counter[str](), Counter[str]()
    slowest, loose = (0.0, -1), 0
    with multiprocessing.Pool(chosen.processes) as pool:
        tasks = ((chosen.seed, number) for number in range(chosen.count))
        for number, (maker, method, data, found) in enumerate(pool.imap(one, tasks, chunksize=32)):
            ending = "offence" if found.offence else "plan" if found.kind.startswith("plan") else "error"
            loose += ending == "plan" and found.kind != "plan"
            counts[f"{maker}: {ending}"] += 1
            counts[ending] += 1
            slowest = max(slowest, (found.seconds, number))
            if ending == "error":
                errors[found.kind] += 1
            if found.offence:
                offences[found.offence[:60]] += 1
                if chosen.offenders:
                    keep(chosen.offenders / f"{chosen.seed}-{number}", method, data, found)
            if time.monotonic() - begin > 60 * chosen.minutes:
                pool.terminate()
                break
    summary = {
        "files": sum(counts[ending] for ending in ("plan", "error", "offence")),
        "minutes": round((time.monotonic() - begin) / 60, 2),
        "endings": dict(sorted(counts.items())),
        "plans with a gap above 1e-6": loose,
        "slowest": {"seconds": round(slowest[0], 2), "number": slowest[1]},
        "offences": dict(offences.most_common(30)),
        "kinds of error": len(errors),
        "errors": dict(errors.most_common(60)),
    }
    print(json.dumps(summary, indent=1, ensure_ascii=False))


def keep(stem: Path, method: str, data: bytes, found: Outcome) -> None:
    """The file as it is, and beside it what it did."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".json").write_bytes(data)
    stem.with_suffix(".txt").write_text(
        f"{method}\n{found.seconds:.2f} s\n{found.offence}\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
