"""What a testbed reports: predicted and measured seconds, as testbed.csv and as a table."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from airtune.errors import InputError, words
from airtune.files import write_whole

if TYPE_CHECKING:
    from rich.table import Table

FILE, FACTS = "testbed.csv", "testbed.json"
WIDTH = 110
PHASES = ("download", "compute", "upload", "overhead", "round")


@dataclass(frozen=True)
class Row:
    """One client's part in one round, in seconds on the wall, and the bytes that its link carried.

    A client's round lasts from when the server begins to send until its update has passed its link;
    `overhead` is what of it is neither downloading, computing nor uploading. The round of `all` ends when the
    server has read the last update. `bytes_down` and `bytes_up` are the adapter's, those on the wire have all
    that carries it. `cpu_s` are processor seconds of training.
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
    all_predicted_s: float = field(default=0.0, kw_only=True)
    all_measured_s: float = field(default=0.0, kw_only=True)
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
    names = [one.name for one in fields(Row)]
    lines = [",".join(names)]
    for row in rows:
        values = [
            f"{value:.3f}" if isinstance(value, float) else str(value) for value in asdict(row).values()
        ]
        lines.append(",".join(values))
    write_whole(directory / FILE, "\n".join(lines) + "\n")


def read_rows(directory: Path) -> list[Row]:
    """Read testbed.csv.

    Raises:
        InputError: it cannot be read.
    """
    file, expected = directory / FILE, "the rows that airtune testbed writes"
    names = [one.name for one in fields(Row)]
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines)
            if reader.fieldnames != names:
                raise InputError(file, "", words("other columns"), expected)
            return [
                Row(**{one.name: one.type(told[one.name]) for one in fields(Row)})  # type: ignore[operator]
                for told in reader
            ]
    except (OSError, TypeError, ValueError, csv.Error) as error:
        raise InputError(file, "", words(str(error)), expected) from error


def rounds_s(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """(predicted, measured) seconds of every round."""
    found = {row.round: (row.all_predicted_s, row.all_measured_s) for row in rows}
    return [found[number] for number in sorted(found)]


def median_error(rows: Sequence[Row], phase: str) -> float:
    """Median over clients and rounds of |measured − predicted| / predicted."""
    return float(np.median([abs(row.measured(phase) / row.predicted(phase) - 1) for row in rows]))


def rows_table(rows: Sequence[Row]) -> "Table":
    """Predicted → measured seconds of every client and round."""
    from rich.table import Table

    table = Table(title="predicted → measured, seconds on the wall", title_justify="left", box=None)
    for name in ("", "client", *PHASES, "off"):
        table.add_column(name, justify="left" if name == "client" else "right", no_wrap=True)
    for row in rows:
        pairs = [f"{row.predicted(phase):.1f} → {row.measured(phase):.1f}" for phase in PHASES]
        off = f"{row.round_measured_s / row.round_predicted_s - 1:+.1%}"
        table.add_row(str(row.round), row.client, *pairs, off)
    return table


def rows_lines(rows: Sequence[Row]) -> list[str]:
    """How far off predictions were, in sentences."""
    medians = ", ".join(f"{phase} {median_error(rows, phase):.1%}" for phase in PHASES)
    rounds = rounds_s(rows)
    whole = [(f"round {number}", *pair) for number, pair in enumerate(rounds, start=1)]
    whole.append(("all rounds", sum(one for one, _ in rounds), sum(one for _, one in rounds)))
    return [
        f"median error of clients: {medians}",
        *(
            f"{name}: predicted {expected:.1f} s, measured {found:.1f} s ({found / expected - 1:+.1%})"
            for name, expected, found in whole
        ),
    ]


def fact_lines(directory: Path) -> list[str]:
    """What testbed.json says, in sentences."""
    facts = json.loads((directory / FACTS).read_text(encoding="utf-8"))
    slowest = max(facts["clients"], key=lambda one: one["overhead_s"])
    quotas = ", ".join(f"{one['id']} {one['cores']:.0%}" for one in facts["clients"])
    return [
        f"{facts['factor']:.2f} seconds on the wall for one simulated second",
        f"of a core that trains at {facts['core_flops_per_s'] / 1e9:.4g} GFLOP/s: {quotas}",
        f"Flower takes up to {slowest['overhead_s']:.1f} s a client ({slowest['id']}), "
        f"{facts['reading_s']:.1f} s to read the last update, "
        f"{facts['framing_down'] - 1:.1%} more bytes down and {facts['framing_up'] - 1:.1%} up",
    ]


def print_rows(directory: Path) -> None:
    """The table of a finished run, and how far off its predictions were."""
    from rich.console import Console

    console, rows = Console(highlight=False, width=max(Console().width, WIDTH)), read_rows(directory)
    console.print(rows_table(rows))
    for line in [*rows_lines(rows), *fact_lines(directory)]:
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"measured: {directory / FILE}", soft_wrap=True, markup=False)
