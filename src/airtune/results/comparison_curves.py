"""Curves of several methods in one figure: lines, bands over seeds, legend, and what stands beside them."""

from collections.abc import Sequence

import plotly.graph_objects as go

from airtune.results.charts import MARKS, Line, add_line, cells, rounded
from airtune.results.contender import Contender, Curve

SYMBOLS = {
    "circle": "●",
    "diamond-open": "◇",
    "square": "■",
    "triangle-up-open": "△",
    "star": "★",
    "cross": "✚",
    "triangle-down": "▼",
    "circle-open": "○",
}
SEEDS = "Lines are means of up to {} seeds, as far as every seed goes; bands from the lowest to the highest."


def add_curves(figure: go.Figure, curves: dict[str, Curve], hover: str) -> list[Line]:
    """A line for each curve, over a band where seeds differ; returns the legend."""
    lines = []
    for index, (name, curve) in enumerate(curves.items()):
        # Beyond eight, colours come again with other symbols and dashes.
        colour = MARKS[index % len(MARKS)][0]
        _, symbol, dash = MARKS[(index + index // len(MARKS)) % len(MARKS)]
        if (curve.high > curve.low).any():
            figure.add_scatter(
                x=rounded([*curve.x, *curve.x[::-1]]),
                y=rounded([*curve.high, *curve.low[::-1]]),
                mode="none",
                fill="toself",
                fillcolor=f"var(--{colour})",
                opacity=0.1,
                hoverinfo="skip",
                legendgroup=name,
                zorder=-2,
            )
        add_line(figure, name, curve.x, curve.mean, (colour, symbol, dash), "%{fullData.name}: " + hover)
        figure.data[-1].update(legendgroup=name, zorder=1 - bool(index))  # the fastest above the others
        lines.append(Line(name, SYMBOLS[symbol], f"var(--{colour})", shown=index < len(MARKS)))
    figure.update_layout(showlegend=False)
    return lines


def curve_rows(curves: dict[str, Curve]) -> list[list[str]]:
    """The rows of a table: name, x, mean, lowest and highest of every point."""
    return [
        [name, *cells(values)]
        for name, curve in curves.items()
        for values in zip(curve.x, curve.mean, curve.low, curve.high, strict=True)
    ]


def seeds_note(contenders: Sequence[Contender]) -> str:
    """What lines and bands are, where there are several seeds."""
    most = max(len(one.histories) for one in contenders)
    return "" if most == 1 else SEEDS.format(most)
