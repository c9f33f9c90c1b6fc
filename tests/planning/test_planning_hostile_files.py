"""Hostile problem files end in a plan that the judge passes or in a one-line error, and in time.

The same files every time; `benchmarks/fuzz.py` goes on to others.
"""

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hostile_files import MAKERS, METHODS, outcome

OFFENDERS = sorted((Path(__file__).parent / "offenders").glob("*.json"))


@pytest.mark.parametrize("maker", MAKERS)
def test_hostile_files(maker: str) -> None:
    methods = ["joint", *METHODS]
    for number in range(150):
        file = MAKERS[maker](Random(f"{maker} {number}"))
        assert outcome(file, methods[number % len(methods)]).offence == "", number


@pytest.mark.parametrize("file", OFFENDERS, ids=lambda file: file.stem)
def test_files_that_once_offended(file: Path) -> None:
    kind = file.stem.rpartition("-")[0]
    found = outcome(file.read_bytes(), kind if kind in METHODS else "joint")
    assert found.offence == ""
    assert found.kind.startswith("plan")


def test_a_file_that_once_offended_in_resource_blocks() -> None:
    """Enough blocks for everybody, and still no deadline in which floating point sees them suffice."""
    file = Path(__file__).parent / "offenders" / "blocks-1.json"
    assert outcome(file.read_bytes(), blocks=3).offence == ""


@pytest.mark.parametrize("blocks", [2, 20, 111])
def test_hostile_files_in_resource_blocks(blocks: int) -> None:
    for number in range(20):
        file = MAKERS["structured"](Random(f"{blocks} {number}"))
        assert outcome(file, blocks=blocks).offence == "", number


def test_the_makers_reach_both_ends() -> None:
    """Files that all fail to read would test the reader alone."""
    ends = [outcome(MAKERS["structured"](Random(number))).kind for number in range(60)]
    planned = sum(end.startswith("plan") for end in ends)
    assert 15 < planned < 60
    assert any(end.startswith("infeasible") for end in ends)


@pytest.mark.parametrize(("maker", "number"), [("structured", 0), ("misshapen", 0), ("scrambled", 0)])
def test_through_the_command_line(maker: str, number: int, tmp_path: Path) -> None:
    file = tmp_path / "problem.json"
    file.write_bytes(MAKERS[maker](Random(number)))
    command = [sys.executable, "-m", "airtune.cli", "plan", str(file), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    planned = outcome(file.read_bytes()).kind.startswith("plan")
    assert ended.returncode == (0 if planned else 2)
    assert bool(ended.stdout) == planned
    assert ended.stderr.count("\n") == (0 if planned else 1)
    assert planned or ended.stderr.startswith("airtune: ")
