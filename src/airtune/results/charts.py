"""What every chart of the report has in common.

Colours are names of CSS variables (`var(--compute)`): the page puts in the values of its light or dark
scheme, so one palette, in report.css, colours charts, legends and page alike. Text that comes from files is
escaped here, because plotly reads tags in labels.
"""

import html
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from airtune.results.formats import number


@dataclass(frozen=True)
class Table:
    """The figures of a chart in words: the first column heads its row."""

    caption: str
    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Chart:
    """One section of the report.

    Attributes:
        id: the section's anchor.
        title: heading.
        caption: what is shown and how to read it.
        label: what a reader who cannot see the chart should know.
        figure: a plotly figure.
        table: the same figures as text.
        frames: one per round, where the reader chooses the round: `label`, `x` of every trace, `planned`.
    """

    id: str
    title: str
    caption: str
    label: str
    figure: go.Figure
    table: Table
    frames: list[dict[str, Any]] = field(default_factory=list)


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


def round_axis(figure: go.Figure, numbers: list[int]) -> None:
    """Whole rounds on the x axis, whatever their number."""
    step = max(1, math.ceil(len(numbers) / 10))
    figure.update_xaxes(
        tickmode="array", tickvals=numbers[::step], range=[numbers[0] - 0.5, numbers[-1] + 0.5]
    )


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
