"""What every chart of the report has in common.

Colours are names of CSS variables (`var(--compute)`): the page puts in the values of its light or dark
scheme, so one palette, in page.css, colours charts, legends and page alike. Text that comes from files is
escaped here, because plotly reads tags in labels.
"""

import html
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from airtune.results.formats import number

Array = npt.NDArray[np.float64]

LINE_HEIGHT = 340
# Lines by colour, symbol and dash, which differ together so that none has to be told by colour.
MARKS = (
    ("group-0", "circle", "solid"),
    ("group-1", "diamond-open", "dash"),
    ("group-2", "square", "dot"),
    ("group-3", "triangle-up-open", "dashdot"),
    ("group-4", "star", "longdash"),
    ("group-5", "cross", "longdashdot"),
    ("group-6", "triangle-down", "8px 3px"),
    ("group-7", "circle-open", "2px 3px"),
)


@dataclass(frozen=True)
class Table:
    """The figures of a chart in words: the first column heads its row.

    Attributes:
        keys: what to sort each cell's column by, None for a missing value; without keys nobody sorts.
        sorted_by: the column by which the rows are sorted, ascending.
    """

    caption: str
    columns: list[str]
    rows: list[list[str]]
    keys: list[list[float | str | None]] = field(default_factory=list)
    sorted_by: int = 0


@dataclass(frozen=True)
class Frame:
    """One state of a figure: what changes in each trace and in the layout, key by key."""

    label: str
    data: list[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """One run that the reader may choose to see, a frame for each of its rounds or one for all."""

    name: str
    frames: list[Frame]


@dataclass(frozen=True)
class Line:
    """A line that the reader may take out, the traces of one `legendgroup`; there at first if `shown`."""

    name: str
    symbol: str
    colour: str
    shown: bool


@dataclass(frozen=True)
class Chart:
    """One section of a page.

    Attributes:
        id: the section's anchor.
        title: heading.
        caption: what is shown and how to read it.
        label: what a reader who cannot see the chart should know.
        figure: a plotly figure, in the state of the first choice's first frame.
        table: the same figures as text.
        choices: what the reader may choose to see; none where all is seen at once.
        lines: what can be taken out.
    """

    id: str
    title: str
    caption: str
    label: str
    figure: go.Figure
    table: Table
    choices: list[Choice] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)


def new_figure(height: float, x_title: str, y_title: str = "") -> go.Figure:
    """An empty figure in the report's style. Fixed ranges leave a swipe on a phone to the page."""
    figure = go.Figure(layout={"template": "none", "height": height})
    figure.update_layout(
        margin={"l": 8, "r": 12, "t": 12, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13, "color": "var(--muted)"},
        hoverlabel={
            "bgcolor": "var(--surface)",
            "bordercolor": "var(--line)",
            "font": {"color": "var(--text)"},
            "align": "left",
        },
        legend={
            "orientation": "h",
            "y": 1.0,
            "yanchor": "bottom",
            "x": 0,
            "itemclick": False,
            "traceorder": "normal",
        },
        hovermode="closest",
        dragmode=False,
        barmode="stack",
        bargap=0.25,
    )
    axis = {
        "fixedrange": True,
        "automargin": True,
        "zeroline": False,
        "ticks": "",
        "gridcolor": "var(--grid)",
        "linecolor": "var(--line)",
        "title": {"standoff": 10, "font": {"size": 13}},
    }
    figure.update_xaxes(**axis, title_text=x_title)
    figure.update_yaxes(**axis, title_text=y_title, ticklabelstandoff=5)
    return figure


def add_line(
    figure: go.Figure, name: str, x: Array, y: Array, marks: tuple[str, str, str], hover: str
) -> None:
    """A line through (x, y), its points shown where they are few."""
    colour, symbol, dash = marks
    figure.add_scatter(
        x=rounded(x),
        y=rounded(y),
        name=plain(name),
        mode="lines+markers" if len(x) <= 30 else "lines",
        line={"color": f"var(--{colour})", "dash": dash, "width": 2},
        marker={"symbol": symbol, "size": 8, "line": {"color": f"var(--{colour})", "width": 2}},
        cliponaxis=False,
        hovertemplate=hover + "<extra></extra>",
    )


def round_axis(figure: go.Figure, numbers: list[int]) -> None:
    """Whole rounds on the x axis, whatever their number."""
    figure.update_xaxes(**round_ticks(numbers))


def round_ticks(numbers: list[int]) -> dict[str, Any]:
    """The settings of an axis of whole rounds, at most ten of them numbered."""
    step = max(1, math.ceil(len(numbers) / 10))
    return {"tickmode": "array", "tickvals": numbers[::step], "range": [numbers[0] - 0.5, numbers[-1] + 0.5]}


def client_axis(figure: go.Figure, clients: list[str], bars: int = 1) -> None:
    """Clients from top to bottom at y = 0, 1, …; where rows are thin, only every so many has its name."""
    row = 14 * bars if len(clients) > 40 else 18 * bars if len(clients) > 15 else max(26, 16 * bars)
    step = max(1, math.ceil(16 / row))
    figure.update_layout(height=figure.layout.height + row * len(clients))
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(clients)))[::step],
        ticktext=[short_name(client) for client in clients[::step]],
        range=[len(clients) - 0.5, -0.5],
        showgrid=False,
    )


def short_name(name: str) -> str:
    """A name that leaves room for the chart on a phone: start and end, where numbers are."""
    return plain(name if len(name) <= 14 else f"{name[:7]}…{name[-6:]}")


def plain(text: str) -> str:
    """Text in which plotly finds no tags; it knows no entities for quotes."""
    return html.escape(text, quote=False)


def rounded(values: Iterable[float]) -> list[float | None]:
    """Five digits are more than a chart can show; a missing value is None."""
    return [None if math.isnan(value) else float(f"{value:.5g}") for value in values]


def cells(values: Iterable[float]) -> list[str]:
    """One row of a table; a missing value is a dash."""
    return ["–" if math.isnan(value) else number(value) for value in values]
