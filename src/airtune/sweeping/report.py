"""sweep.html: how long methods take along each axis, clocked and predicted."""

import html
import math
from pathlib import Path

import numpy as np

from airtune.files import write_whole
from airtune.results.charts import LINE_HEIGHT, Chart, Table, cells, new_figure
from airtune.results.comparison_curves import add_curves
from airtune.results.contender import Curve
from airtune.results.formats import number, time_scale
from airtune.results.page import page, scenario_section
from airtune.scenario_file import dump_scenario
from airtune.sweeping.axes import HETEROGENEITY
from airtune.sweeping.sweep import Label, Point, Sweep, Times
from airtune.sweeping.table import (
    TITLES,
    clocked,
    csv_text,
    is_kept,
    labels,
    predicted,
    sweep_lines,
    value_text,
)

CSV, PAGE = "sweep.csv", "sweep.html"

CLOCKED = (
    "Rounds that were learnt once, on the clock of other devices and links. A cross marks where a method "
    "would send other clients or train them differently with at least one seed: there who trains how much is "
    "as it was learnt, and only bandwidth is planned anew. Without a cross it is what the method takes."
)
PREDICTED = (
    "N rounds of T seconds by the planners' model, on the channels of five rounds, with the gradients as "
    "measured by the end of the run that knows most. Leaving a client out costs what the fleet's gradient "
    "loses by it, for all methods alike. Nothing is learnt, and the target is the planner's own."
)


def write_sweep(sweep: Sweep, directory: Path) -> None:
    """Write sweep.csv and sweep.html into the comparison's folder.

    Raises:
        InputError: they cannot be written.
    """
    write_whole(directory / CSV, csv_text(sweep))
    write_whole(directory / PAGE, sweep_page(sweep, dump_scenario(sweep.comparison.scenario)))


def sweep_page(sweep: Sweep, scenario: str) -> str:
    """The page as text; `scenario` is shown as it is."""
    start = sweep.comparison.runs[0].history.start
    notes = "".join(f"<p>{html.escape(line)}.</p>" for line in sweep_lines(sweep))
    return page(
        "sweep",
        start["scenario"],
        notes,
        sweep_charts(sweep),
        after=[scenario_section(scenario)],
        footer=f"airtune {start['version']}. Nothing was trained for this page; all its times are simulated.",
    )


def sweep_charts(sweep: Sweep) -> list[Chart]:
    """Two charts an axis: clocked, where the number of clients is as learnt, and predicted."""
    charts = []
    for axis, points in sweep.axes.items():
        title = axis.capitalize()
        if _has_times([point.clocked for point in points]):
            told = f"time to a test loss of {number(sweep.comparison.target_loss)}"
            charts.append(_chart(sweep, points, False, f"{title}: clocked", CLOCKED, told))
        if _has_times([point.predicted for point in points]):
            charts.append(_chart(sweep, points, True, f"{title}: predicted", PREDICTED, "predicted time N·T"))
    return charts


def _chart(sweep: Sweep, points: list[Point], promised: bool, title: str, caption: str, y: str) -> Chart:
    axis, times = points[0].axis, predicted if promised else clocked
    names = labels(sweep)
    curves = {label: _curve(points, [times(point) for point in points], label) for label in names}
    curves = {label: curve for label, curve in curves.items() if len(curve.x)}
    scale, unit = time_scale(max(float(curve.high.max()) for curve in curves.values()))
    shown = {
        names[label]: Curve(curve.x, curve.mean / scale, curve.low / scale, curve.high / scale)
        for label, curve in curves.items()
    }
    figure = new_figure(LINE_HEIGHT, TITLES[axis], f"{y} ({unit})")
    lines = add_curves(figure, shown, "%{y:,.4~r} " + unit + " at %{x:,.4~r}")
    ticks = [point.value for point in points]
    kind = "linear" if axis == HETEROGENEITY else "log"
    figure.update_xaxes(
        type=kind, tickmode="array", tickvals=ticks, ticktext=[value_text(one) for one in points]
    )
    figure.update_yaxes(type="log", dtick="D2")
    for label in curves if not promised else ():
        curve, kept = shown[names[label]], [is_kept(point, label) for point in points]
        marked = [index for index, x in enumerate(curve.x) if kept[ticks.index(float(x))]]
        figure.add_scatter(
            x=curve.x[marked].tolist(),
            y=curve.mean[marked].tolist(),
            mode="markers",
            legendgroup=names[label],
            showlegend=False,
            hoverinfo="skip",
            marker={
                "symbol": "x-thin",
                "size": 11,
                "line": {"color": "var(--text)", "width": 1.5},
                "color": "var(--text)",
            },
            zorder=2,
        )
    ends = ", ".join(
        f"{name} {number(float(curve.mean[0]))} to {number(float(curve.mean[-1]))}"
        for name, curve in shown.items()
    )
    return Chart(
        id=f"{axis}-{'predicted' if promised else 'clocked'}",
        title=title,
        caption=caption,
        label=f"Line chart over the {TITLES[axis]}: {y} in {unit}, from the first value to the last: {ends}.",
        figure=figure,
        table=Table(
            f"{title}, by method",
            ["Method", "Value", f"{y[0].upper()}{y[1:]} ({unit})", "Lowest seed", "Highest seed", "Schedule"],
            [
                [
                    names[label],
                    value_text(point),
                    *cells(row),
                    "" if promised else "kept" if is_kept(point, label) else "its own",
                ]
                for label, curve in curves.items()
                for point, row in _rows(points, shown[names[label]])
            ],
        ),
        lines=lines,
    )


def _has_times(times: list[Times]) -> bool:
    return any(seconds is not None for one in times for own in one.by.values() for seconds in own.values())


def _curve(points: list[Point], times: list[Times], label: Label) -> Curve:
    """Mean and extremes over seeds, where every seed reaches the target."""
    found = []
    for point, one in zip(points, times, strict=True):
        seconds = [math.nan if value is None else value for value in one.by.get(label, {}).values()]
        if seconds and not any(map(math.isnan, seconds)):
            found.append((point.value, np.mean(seconds), min(seconds), max(seconds)))
    return Curve(*np.array(found, dtype=float).reshape(-1, 4).T)


def _rows(points: list[Point], curve: Curve) -> list[tuple[Point, list[float]]]:
    at = {float(x): row for x, *row in zip(curve.x, curve.mean, curve.low, curve.high, strict=True)}
    return [(point, at[point.value]) for point in points if point.value in at]
