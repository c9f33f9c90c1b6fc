"""The planner against bytes that atheris makes up, guided by the branches that they reach.

Files are read, planned and judged as by fuzz.py. Needs `pip install atheris==3.0.0`. Arguments are those of
libFuzzer; what offends is a crash, and its file is kept:

    python benchmarks/fuzz_bytes.py CORPUS -max_total_time=600 -max_len=4096 -artifact_prefix=offenders/

An empty CORPUS folder is filled with valid files first.
"""

import sys
from pathlib import Path
from random import Random

import atheris

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/planning"))

with atheris.instrument_imports(include=["airtune"]):
    from hostile_files import outcome, structured

    # The planner imports its reader late, and then without instruments.
    import airtune.planning.reading  # noqa: F401

FEWEST = 30


def judge(data: bytes) -> None:
    """Whatever offends is a crash."""
    found = outcome(data)
    if found.offence:
        raise AssertionError(found.offence)


def main() -> None:
    corpus = Path(next((word for word in sys.argv[1:] if not word.startswith("-")), "corpus"))
    corpus.mkdir(parents=True, exist_ok=True)
    if not any(corpus.iterdir()):
        files = (structured(Random(number)) for number in range(1000))
        short = [data for data in files if len(data) < 4096][:FEWEST]
        for number, data in enumerate(short):
            (corpus / f"valid-{number}.json").write_bytes(data)
    atheris.Setup(sys.argv, judge)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
