"""A sweep in the terminal and as sweep.csv, a row a value and run."""

import csv
import io
import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from airtune.methods import METHODS
from airtune.results.comparison import mean
from airtune.results.formats import amount, duration, number
from airtune.sweeping.axes import BANDWIDTH, CLIENTS, COMPUTE, HETEROGENEITY
from airtune.sweeping.sweep import Label, Point, Sweep, Times

if TYPE_CHECKING:
    from rich.table import Table

NONE, KEPT = "–", "~"
TITLES = {
    COMPUTE: "speed of every device, times",
    BANDWIDTH: "uplink bandwidth of every cell",
    HETEROGENEITY: "spread of the devices' speeds, exponent",
    CLIENTS: "number of clients",
}


def csv_text(sweep: Sweep) -> str:
    """Every time to target, clocked and predicted; empty where there is no number."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(
        [
            *("axis", "value", "method", "reduction", "bandwidth", "seed", "baseline", "target_loss"),
            *("schedule", "time_to_target_s", "ratio_to_best_baseline", "predicted_s", "predicted_ratio"),
        ]
    )
    for point in sweep.points:
        for label in point.predicted.by or point.clocked.by:
            for seed in (point.predicted.by or point.clocked.by)[label]:
                schedule = "kept" if (*label, seed) in point.kept else "own"
                writer.writerow(
                    [
                        *(point.axis, point.value, *label, seed, int(METHODS[label[0]].baseline)),
                        sweep.comparison.target_loss,
                        schedule if point.clocked.by else None,
                        *_figures(point.clocked, label, seed),
                        *_figures(point.predicted, label, seed),
                    ]
                )
    return written.getvalue()


def _figures(times: Times, label: Label, seed: int) -> tuple[float | None, float | None]:
    """Seconds, and their ratio to the best baseline's with the same seed."""
    seconds = times.by.get(label, {}).get(seed)
    base = times.by[times.best_baseline].get(seed) if times.best_baseline else None
    return seconds, seconds / base if seconds is not None and base else None


def sweep_tables(sweep: Sweep) -> list[tuple[str, "Table"]]:
    """Of each axis what was clocked, then what planners promise: ratios to each value's best baseline, with
    a line that stands above.
    """
    tables = []
    for axis, points in sweep.axes.items():
        if any(point.clocked.by for point in points):
            title = f"{TITLES[axis]}: time to a test loss of {number(sweep.comparison.target_loss)}"
            tables.append((f"{title} over the best baseline's", _table(sweep, points, clocked)))
        if any(point.predicted.by for point in points):
            title = f"{TITLES[axis]}: time that planners promise over the best baseline's"
            tables.append((title, _table(sweep, points, predicted)))
    return tables


def clocked(point: Point) -> Times:
    """Of what was learnt."""
    return point.clocked


def predicted(point: Point) -> Times:
    """By the planners' model of rounds."""
    return point.predicted


def _table(sweep: Sweep, points: list[Point], times: Callable[[Point], Times]) -> "Table":
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("method", no_wrap=True)
    for point in points:
        table.add_column(value_text(point), justify="right", no_wrap=True)
    for label, name in labels(sweep).items():
        cells = []
        for point in points:
            found = times(point)
            ratio = found.ratio(label) if label in found.by else None
            mark = KEPT if times is clocked and is_kept(point, label) else ""
            cells.append(NONE if ratio is None else f"{mark}{ratio:.2f}")
        if any(cell != NONE for cell in cells):
            table.add_row(escape(name), *cells)
    table.add_section()
    seconds = [_best(times(point)) for point in points]
    table.add_row("best baseline", *(NONE if one is None else duration(one) for one in seconds))
    return table


def _best(times: Times) -> float | None:
    return mean(times.by[times.best_baseline].values()) if times.best_baseline else None


def sweep_lines(sweep: Sweep) -> list[str]:
    """Who is fastest where, and how to read the tables."""
    names = labels(sweep)
    lines = []
    for axis, points in sweep.axes.items():
        for how, times in (("", clocked), (", by prediction", predicted)):
            winners = [times(point).winner for point in points]
            if any(winners):
                lines.append(f"fastest by {axis}{how}: {_spans(names, points, winners)}")
    if any(point.kept for point in sweep.points):
        lines.append(
            f"{KEPT}: with at least one seed the method would send other clients, or train them differently; "
            "who trains how much is kept as it was learnt, and only bandwidth is planned anew"
        )
    if sweep.left_out:
        lines.append(f"not swept, as its rounds depend on the clock: {', '.join(sweep.left_out)}")
    return lines


def _spans(names: Mapping[Label, str], points: list[Point], winners: list[Label | None]) -> str:
    """Who wins from where to where."""
    told = []
    for winner, same in itertools.groupby(zip(winners, points, strict=True), lambda pair: pair[0]):
        first, *rest = [value_text(point) for _, point in same]
        end = f" to {rest[-1]}" if rest else ""
        told.append(f"{names[winner] if winner else 'nobody'} at {first}{end}")
    return ", ".join(told)


def labels(sweep: Sweep) -> dict[Label, str]:
    """What every method and reduction is called."""
    return {
        (entry.method, entry.reduction, entry.bandwidth): entry.label
        for entry in sweep.comparison.entries
        if entry.method not in sweep.left_out
    }


def is_kept(point: Point, label: Label) -> bool:
    """Whether the schedule of any seed is that learnt elsewhere."""
    return any(kept[:3] == label for kept in point.kept)


def value_text(point: Point) -> str:
    """A point's value, with its unit."""
    return amount(point.value, "Hz") if point.axis == BANDWIDTH else f"{point.value:.6g}"
