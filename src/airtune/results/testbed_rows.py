"""What a testbed reports: predicted and measured seconds, as testbed.csv and as a table."""

import csv
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from airtune.errors import InputError, words
from airtune.files import write_whole
from airtune.misfits import first_error
from airtune.results.testbed_facts import Facts
from airtune.scenario.fields import MOST, Name

if TYPE_CHECKING:
    from rich.table import Table

ROWS_FILE = "testbed.csv"
WIDTH = 110
PARTS = ("download", "overhead", "compute", "upload")  # of a client's round
PHASES = (*PARTS, "round")

Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=0, le=10**18)]


@dataclass(frozen=True)
class Row:
    """One client's part in one round, in seconds on the wall, and the bytes that its link carried.

    A client's round lasts from when the server begins to send until its update has passed its link;
    `overhead` is what of it is neither downloading, computing nor uploading. The round of `all` ends when the
    server has read the last update. `bytes_down` and `bytes_up` are the adapter's, those on the wire have all
    that carries it. `cpu_s` are processor seconds of training.
    """

    round: Annotated[int, Field(ge=1, le=MOST)]
    client: Name
    download_predicted_s: Seconds
    download_measured_s: Seconds
    compute_predicted_s: Seconds
    compute_measured_s: Seconds
    upload_predicted_s: Seconds
    upload_measured_s: Seconds
    overhead_predicted_s: Seconds
    overhead_measured_s: Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
    round_predicted_s: Seconds
    round_measured_s: Seconds
    all_predicted_s: Seconds = field(default=0.0, kw_only=True)
    all_measured_s: Seconds = field(default=0.0, kw_only=True)
    bytes_down: Bytes
    bytes_down_wire: Bytes
    bytes_up: Bytes
    bytes_up_wire: Bytes
    cpu_s: Seconds

    def predicted(self, phase: str) -> float:
        """Seconds of one of PHASES."""
        return float(getattr(self, f"{phase}_predicted_s"))

    def measured(self, phase: str) -> float:
        """Seconds of one of PHASES."""
        return float(getattr(self, f"{phase}_measured_s"))


_ROW = TypeAdapter(Row)


def write_rows(directory: Path, rows: Sequence[Row]) -> None:
    """Write testbed.csv in one step."""
    names = [one.name for one in fields(Row)]
    lines = [",".join(names)]
    for row in rows:
        values = [
            f"{value:.3f}" if isinstance(value, float) else str(value) for value in asdict(row).values()
        ]
        lines.append(",".join(values))
    write_whole(directory / ROWS_FILE, "\n".join(lines) + "\n")


def read_rows(directory: Path) -> list[Row]:
    """Read testbed.csv.

    Raises:
        InputError: it cannot be read, or a value is wrong: names the line and the column.
    """
    file, expected = directory / ROWS_FILE, "the rows that airtune testbed writes"
    rows: dict[tuple[int, str], Row] = {}
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines)
            if reader.fieldnames != [one.name for one in fields(Row)]:
                raise InputError(file, "", words("other columns"), expected)
            for told in reader:
                row, line = _row(file, reader.line_num, told), f"line {reader.line_num}"
                if (row.round, row.client) in rows:
                    again = words(f"round {row.round} again")
                    raise InputError(file, f"{line}: round", again, f"each round of {row.client} once")
                rows[row.round, row.client] = row
    except (OSError, ValueError, csv.Error) as error:
        found = words(getattr(error, "strerror", None) or "no CSV in UTF-8")
        raise InputError(file, "", found, expected) from error
    if not rows:
        raise InputError(file, "", words("no rows"), expected)
    return list(rows.values())


def _row(file: Path, line: int, told: dict[str | None, Any]) -> Row:
    if None in told or None in told.values():
        raise InputError(file, f"line {line}", words("another number of values"), "one for each column")
    try:
        return _ROW.validate_python(told)
    except ValidationError as error:
        misfit = first_error(file, error)
        raise InputError(file, f"line {line}: {misfit.field}", misfit.found, misfit.expected) from error


def rounds_s(rows: Sequence[Row]) -> dict[int, tuple[float, float]]:
    """(predicted, measured) seconds of every round, by its number."""
    return {row.round: (row.all_predicted_s, row.all_measured_s) for row in rows}


def excess(predicted: float, measured: float) -> float:
    """By what share of the prediction more was measured; NaN where nothing was predicted."""
    return measured / predicted - 1 if predicted > 0 else math.nan


def median_error(rows: Sequence[Row], phase: str) -> float:
    """Median over clients and rounds of |measured − predicted| / predicted; NaN if there is none."""
    errors = [abs(excess(row.predicted(phase), row.measured(phase))) for row in rows]
    known = [error for error in errors if not math.isnan(error)]
    return statistics.median(known) if known else math.nan


def rows_table(rows: Sequence[Row]) -> "Table":
    """Predicted → measured seconds of every client and round."""
    from rich.table import Table

    table = Table(title="predicted → measured, seconds on the wall", title_justify="left", box=None)
    for name in ("", "client", *PHASES, "off"):
        table.add_column(name, justify="left" if name == "client" else "right", no_wrap=True)
    for row in rows:
        pairs = [f"{row.predicted(phase):.1f} → {row.measured(phase):.1f}" for phase in PHASES]
        off = f"{excess(row.round_predicted_s, row.round_measured_s):+.1%}"
        table.add_row(str(row.round), row.client, *pairs, off)
    return table


def rows_lines(rows: Sequence[Row]) -> list[str]:
    """How far off predictions were, in sentences."""
    medians = ", ".join(f"{phase} {median_error(rows, phase):.1%}" for phase in PHASES)
    rounds = rounds_s(rows)
    whole = [(f"round {number}", *pair) for number, pair in rounds.items()]
    predicted, measured = zip(*rounds.values(), strict=True)
    whole.append(("all rounds", sum(predicted), sum(measured)))
    missing = sorted(set(range(1, max(rounds) + 1)) - rounds.keys())  # killed before it was written
    return [
        f"median error of clients: {medians}",
        *(f"round {number}: not measured" for number in missing),
        *(
            f"{name}: predicted {expected:.1f} s, measured {found:.1f} s ({excess(expected, found):+.1%})"
            for name, expected, found in whole
        ),
    ]


def print_rows(directory: Path) -> None:
    """The table of a finished run, and how far off its predictions were."""
    from rich.console import Console

    if not (directory / ROWS_FILE).exists():
        print("no round was measured to its end")
        return
    console, rows = Console(highlight=False, width=max(Console().width, WIDTH)), read_rows(directory)
    console.print(rows_table(rows))
    for line in [*rows_lines(rows), *Facts.read(directory).lines()]:
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"measured: {directory / ROWS_FILE}", soft_wrap=True, markup=False)
