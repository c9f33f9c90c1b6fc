"""DIR/figures/*.pdf: the charts of a report as figures for papers, one column wide.

The page's figures are drawn anew with matplotlib, because plotly needs a browser to write a file.
"""

import html
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from airtune.errors import AirtuneError, InputError, words
from airtune.results.charts import Array, Chart
from airtune.results.page import HERE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = "figures"
WIDTH_IN, PIXELS_PER_IN = 3.5, 150.0  # one column of a paper; how many of a chart's pixels make an inch
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.4,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "legend.handlelength": 2.6,
    "pdf.fonttype": 42,  # text stays text
}
DASHES: dict[str, Any] = {
    "solid": "-",
    "dash": (0, (4, 2)),
    "dot": (0, (1, 1.2)),
    "dashdot": (0, (4, 1.5, 1, 1.5)),
    "longdash": (0, (7, 2)),
    "longdashdot": (0, (7, 1.5, 1, 1.5)),
}
MARKERS = {"circle": "o", "diamond": "D", "square": "s", "star": "*", "cross": "P"}
MARKERS |= {"triangle-up": "^", "triangle-down": "v"}
MOST_LABELLED = 10  # columns of a heat map in whose cells numbers fit
HATCHES = {"": "", "/": "////", "|": "||||", "\\": "\\\\\\\\", ".": "....", "x": "xxxx", "+": "++++"}


def write_figures(charts: Sequence[Chart], directory: Path) -> list[Path]:
    """Write every chart, and where a run can be chosen the first round of each; return the paths.

    Raises:
        AirtuneError: matplotlib is not installed.
        InputError: the folder cannot be written.
    """
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise AirtuneError("PDF figures need matplotlib: pip install 'airtune[pdf]'") from error
    paths = []
    try:
        directory.mkdir(exist_ok=True)
        with rc_context(STYLE):
            for name, figure in _figures(charts):
                paths.append(directory / f"{name}.pdf")
                # No date: the same input gives the same bytes.
                draw(figure).savefig(paths[-1], bbox_inches="tight", metadata={"CreationDate": None})
    except OSError as error:
        found = words(error.strerror or "no access")
        raise InputError(directory, "", found, "a folder to write to") from error
    return paths


def _figures(charts: Sequence[Chart]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and plotly figure of each file."""
    for chart in charts:
        figure = chart.figure.to_plotly_json()
        hidden = {line.name for line in chart.lines if not line.shown}
        figure["data"] = [trace for trace in figure["data"] if trace.get("legendgroup") not in hidden]
        if len(chart.choices) < 2:
            yield chart.id, figure
            continue
        for choice in chart.choices:
            frame = choice.frames[0]
            for trace, changes in zip(figure["data"], frame.data, strict=True):
                _patch(trace, changes)
            _patch(figure["layout"], frame.layout)
            yield f"{chart.id}-{re.sub(r'[^a-z0-9]+', '-', choice.name.lower()).strip('-')}", figure


def _patch(target: dict[str, Any], changes: dict[str, Any]) -> None:
    """What a frame changes, objects key by key, everything else whole."""
    for key, value in changes.items():
        if isinstance(value, dict):
            _patch(target.setdefault(key, {}), value)
        else:
            target[key] = value


def draw(figure: dict[str, Any]) -> "Figure":
    """A figure of the page, as plotly's JSON has it, in matplotlib: lines, bands, bars and heat maps."""
    from matplotlib.figure import Figure

    layout = figure["layout"]
    drawn = Figure(figsize=(WIDTH_IN, layout["height"] / PIXELS_PER_IN), layout="constrained")
    axes = drawn.add_subplot()
    grouped = [trace for trace in figure["data"] if trace["type"] == "bar"]
    grouped = grouped if layout["barmode"] == "group" else []
    ends: dict[float, float] = {}  # where a stacked bar goes on
    for trace in figure["data"]:
        if trace["type"] == "heatmap":
            _heatmap(drawn, axes, trace)
        elif trace["type"] == "bar":
            _bar(axes, trace, ends, (grouped.index(trace), len(grouped)) if grouped else (0, 1))
        elif trace.get("fill"):
            colour, alpha = _colour(trace["fillcolor"]), trace["opacity"]
            axes.fill(_numbers(trace["x"]), _numbers(trace["y"]), color=colour, alpha=alpha, linewidth=0)
        else:
            _line(axes, trace)
    _axes(axes, layout)
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        columns = 2 if max(map(len, labels)) > 12 else 3
        drawn.legend(handles, labels, loc="outside upper center", ncols=columns, columnspacing=1.2)
    return drawn


def _line(axes: "Axes", trace: dict[str, Any]) -> None:
    line, marker = trace.get("line", {}), trace["marker"]
    symbol, is_open, _ = marker["symbol"].partition("-open")
    colour = _colour(line.get("color") or marker["color"])
    axes.plot(
        _numbers(trace["x"]),
        _numbers(trace["y"]),
        label=_text(trace["name"]),
        color=colour,
        linestyle=_dash(line["dash"]) if "lines" in trace["mode"] else "none",
        linewidth=1.1,
        marker=MARKERS[symbol] if "markers" in trace["mode"] else "",
        markersize=3.5 if line else 6,
        markerfacecolor="white" if is_open else colour,
        markeredgecolor=colour if line else "white",
        markeredgewidth=0.8,
        clip_on=False,
        zorder=3 + trace.get("zorder", 0),
    )


def _bar(axes: "Axes", trace: dict[str, Any], ends: dict[float, float], place: tuple[int, int]) -> None:
    """Horizontal bars that go on where the trace before ended, or stand beside those of the other traces."""
    index, count = place
    rows = sorted(set(trace["y"]))
    apart = min((after - before for before, after in pairwise(rows)), default=1.0)
    height = 0.75 * apart / count
    for row, length in zip(_numbers(trace["y"]), _numbers(trace["x"]), strict=True):
        start = ends.get(row, 0.0) if count == 1 else 0.0
        axes.barh(
            row - 0.375 * apart + (index + 0.5) * height,
            length,
            height,
            start,
            label=_text(trace["name"]) if row == trace["y"][0] else None,
            color=_colour(trace["marker"]["color"]),
            hatch=HATCHES[trace["marker"]["pattern"]["shape"]],
            edgecolor=(0, 0, 0, 0.45),
            linewidth=0,
        )
        ends[row] = start + length


def _heatmap(drawn: "Figure", axes: "Axes", trace: dict[str, Any]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    values = np.array([_numbers(row) for row in trace["z"]])
    columns = _numbers(trace["x"])
    scale = LinearSegmentedColormap.from_list("", [_colour(colour) for _, colour in trace["colorscale"]])
    mesh = axes.pcolormesh(
        [*(columns - 0.5), columns[-1] + 0.5],
        np.arange(len(values) + 1) - 0.5,
        np.ma.masked_invalid(values),
        cmap=scale,
        vmin=trace["zmin"],
        vmax=trace["zmax"],
        edgecolor="white",
        linewidth=0.5,
    )
    drawn.colorbar(mesh, ax=axes, location="top", aspect=50, pad=0.03).outline.set_visible(False)
    if len(columns) <= MOST_LABELLED:
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                axes.text(float(columns[column]), row, f"{value:.2f}", size=5.5, ha="center", va="center")


def _axes(axes: "Axes", layout: dict[str, Any]) -> None:
    axes.set_xlabel(_text(layout["xaxis"]["title"]["text"]))
    axes.set_ylabel(_text(layout["yaxis"]["title"]["text"]))
    for axis, name in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        settings = layout[f"{name}axis"]
        if "tickvals" in settings:
            labels = [_text(str(label)) for label in settings.get("ticktext", settings["tickvals"])]
            axis.set_ticks(settings["tickvals"], labels)
        if "range" in settings:
            axes.set(**{f"{name}lim": settings["range"]})
        elif settings.get("rangemode") == "tozero":
            axes.set(**{f"{name}lim": (0, None)})
    notes = {note["y"]: _text(note["text"]) for note in layout.get("annotations", ())}
    for shape in layout.get("shapes", ()):
        style = {"color": _colour(shape["line"]["color"]), "linestyle": _dash("dash"), "linewidth": 0.8}
        if shape["xref"] == "x":
            axes.axvline(shape["x0"], **style)
        else:
            axes.axhline(shape["y0"], label=notes[shape["y0"]], **style)


def _colour(name: str) -> str:
    """The light palette's value of `var(--name)`."""
    variable = re.fullmatch(r"var\((--[a-z0-9-]+)\)", name)
    if variable is None:
        return name
    found = re.search(rf"{variable[1]}: (#[0-9a-f]+);", (HERE / "page.css").read_text(encoding="utf-8"))
    assert found is not None, name
    return found[1]


def _dash(name: str) -> Any:
    """A dash pattern by its name or as plotly's "8px 3px"; lines here are half as wide."""
    return DASHES.get(name) or (0, tuple(float(part.removesuffix("px")) / 2 for part in name.split()))


def _text(text: str) -> str:
    """A label without plotly's tags and entities; a dollar sign begins no formula."""
    return html.unescape(text.replace("<br>", "\n")).replace("$", r"\$")


def _numbers(values: Sequence[float | None]) -> Array:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
