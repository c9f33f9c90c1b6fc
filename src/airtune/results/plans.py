"""The plans that a run keeps, one file a round."""

from pathlib import Path

from airtune.errors import InputError, words
from airtune.planning import Plan


def plan_file(directory: Path, round_number: int) -> Path:
    """Where the run in `directory` keeps the plan of a round."""
    return directory / "plans" / f"round-{round_number:03d}.json"


def read_plan(file: Path) -> Plan:
    """The plan in a file; an InputError if it cannot be read or is none."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        found = words(getattr(error, "strerror", None) or "bytes that are not UTF-8")
        raise InputError(file, "", found, "a readable plan") from error
    return Plan.from_json(text, str(file))
