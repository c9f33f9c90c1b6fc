"""What a testbed reports: predicted and measured seconds of every client and round, as testbed.csv and a table."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from airtune.errors import InputError, words
from airtune.files import write_whole

if TYPE_CHECKING:
    from rich.table import Table

FILE = "testbed.csv"
PHASES = ("download", "compute", "upload", "overhead", "round")


@dataclass(frozen=True)
class Row:
    """One client's part in one round, in seconds on the wall, and the bytes that its link carried.

    A round lasts from when the server begins to send until it has read this client's update; `overhead` is
    what of it is neither downloading, computing nor uploading.
    """

    round: int
    client: str
    download_predicted_s: float
    download_measured_s: float
    compute_predicted_s: float
    compute_measured_s: float
    upload_predicted_s: float
    upload_measured_s: float
    overhead_predicted_s: float
    overhead_measured_s: float
    round_predicted_s: float
    round_measured_s: float
    bytes_down: int
    bytes_down_wire: int
    bytes_up: int
    bytes_up_wire: int
    cpu_s: float

    def predicted(self, phase: str) -> float:
        """Seconds of one of PHASES."""
        return float(getattr(self, f"{phase}_predicted_s"))

    def measured(self, phase: str) -> float:
        """Seconds of one of PHASES."""
        return float(getattr(self, f"{phase}_measured_s"))


def write_rows(directory: Path, rows: Sequence[Row]) -> None:
    """Write testbed.csv in one step."""
    names = [field.name for field in fields(Row)]
    lines = [",".join(names)]
    for row in rows:
        values = [f"{value:.3f}" if isinstance(value, float) else str(value) for value in asdict(row).values()]
        lines.append(",".join(values))
    write_whole(directory / FILE, "\n".join(lines) + "\n")


def read_rows(directory: Path) -> list[Row]:
    """Read testbed.csv.

    Raises:
        InputError: it cannot be read.
    """
    file = directory / FILE
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            return [
                Row(**{field.name: field.type(told[field.name]) for field in fields(Row)})  # type: ignore[operator]
                for told in csv.DictReader(lines)
            ]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(file, "", words(str(error)), "the rows that airtune testbed writes") from error


def rounds_s(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """(predicted, measured) seconds of every round: of whoever was last."""
    numbers = sorted({row.round for row in rows})
    return [
        (
            max(row.round_predicted_s for row in rows if row.round == number),
            max(row.round_measured_s for row in rows if row.round == number),
        )
        for number in numbers
    ]


def median_error(rows: Sequence[Row], phase: str) -> float:
    """Median over clients and rounds of |measured − predicted| / predicted."""
    return float(np.median([abs(row.measured(phase) / row.predicted(phase) - 1) for row in rows]))


def testbed_table(rows: Sequence[Row]) -> "Table":
    """Predicted → measured seconds of every client and round."""
    from rich.table import Table

    table = Table(title="predicted → measured, seconds on the wall", title_justify="left")
    for name in ("round", "client", "download", "compute", "upload", "overhead", "whole round", "off"):
        table.add_column(name, justify="left" if name == "client" else "right")
    for row in rows:
        pairs = [f"{row.predicted(phase):.1f} → {row.measured(phase):.1f}" for phase in PHASES]
        off = f"{row.round_measured_s / row.round_predicted_s - 1:+.1%}"
        table.add_row(str(row.round), row.client, *pairs, off)
    return table


def testbed_lines(rows: Sequence[Row]) -> list[str]:
    """How far off predictions were, in sentences."""
    medians = ", ".join(f"{phase} {median_error(rows, phase):.1%}" for phase in PHASES)
    predicted, measured = map(sum, zip(*rounds_s(rows), strict=True))
    return [
        f"median error: {medians}",
        f"all rounds: predicted {predicted:.1f} s, measured {measured:.1f} s ({measured / predicted - 1:+.1%})",
    ]


def print_rows(directory: Path) -> None:
    """The table of a finished run, and how far off its predictions were."""
    from rich.console import Console

    console, rows = Console(highlight=False), read_rows(directory)
    console.print(testbed_table(rows))
    for line in testbed_lines(rows):
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"measured: {directory / FILE}", soft_wrap=True, markup=False)
