"""Clients over rounds as heat maps, of one run (without a name) or of several to choose among."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from airtune.results.charts import (
    Chart,
    Choice,
    Frame,
    Table,
    cells,
    client_axis,
    new_figure,
    plain,
    round_axis,
    round_ticks,
    rounded,
)
from airtune.results.formats import number, si_scale
from airtune.results.history import Array, History

GAP = "A gap means the round has no update of the client."


def nobody_took_part(runs: Mapping[str, History]) -> bool:
    """Whether no round of any run has an update."""
    return not any(event["clients"] for history in runs.values() for event in history.rounds)


def pruning_heatmap(runs: Mapping[str, History], label: str, note: str = "") -> Chart:
    """ρ of every client in every round.

    Args:
        runs: name and history of runs of the same clients, in which somebody took part.
        label: the chart in words.
        note: more to know when reading it.
    """
    prune = {name: history.per_client("prune") for name, history in runs.items()}
    figure, choices = _heatmap(runs, prune)
    return Chart(
        id="pruning",
        title="Pruning rate",
        caption="The share of the prunable step cost that a client gives up: 0 trains the whole model. "
        f"{GAP}{note}",
        label=label,
        figure=figure,
        table=_matrix("Pruning rate by round", runs, prune),
        choices=_of_several(choices),
    )


def bandwidth_heatmap(runs: Mapping[str, History], label: str, note: str = "") -> Chart:
    """Uplink bandwidth of every client in every round; arguments as of `pruning_heatmap`."""
    bandwidth = {name: history.per_client("bandwidth_hz") for name, history in runs.items()}
    scale, unit = si_scale(most(bandwidth), "Hz")
    scaled = {name: values / scale for name, values in bandwidth.items()}
    figure, choices = _heatmap(runs, scaled, unit)
    return Chart(
        id="bandwidth",
        title="Uplink bandwidth",
        caption=f"What each client's upload gets of its cell's bandwidth, in {unit}. {GAP}{note}",
        label=label,
        figure=figure,
        table=_matrix(f"Uplink bandwidth ({unit}) by round", runs, scaled),
        choices=_of_several(choices),
    )


def most(values: Mapping[str, Array]) -> float:
    """The largest value of all runs, 0 where there is none."""
    return max(float(np.nan_to_num(one).max()) for one in values.values())


def _of_several(choices: list[Choice]) -> list[Choice]:
    """What there is to choose among: a run without a name is alone."""
    return [choice for choice in choices if choice.name]


def _heatmap(
    runs: Mapping[str, History], values: Mapping[str, Array], unit: str = ""
) -> tuple[go.Figure, list[Choice]]:
    """Clients down, rounds across, on one scale for every run; numbers stand in cells where they fit.

    Args:
        runs: name and history of runs of the same clients, each of at least one round.
        values: (K, R) of each run; NaN where a client was left out.
        unit: of the values.
    """
    choices = [Choice(name, [_cells(history, values[name], unit)]) for name, history in runs.items()]
    first = next(iter(runs.values()))
    figure = new_figure(130, "round")
    figure.add_heatmap(
        **choices[0].frames[0].data[0],
        y=list(range(len(first.clients))),
        zmin=0,
        zmax=most(values) or 1.0,
        texttemplate="%{z:.2f}",
        textfont={"size": 12, "color": "var(--text)"},
        hovertemplate="%{customdata}, round %{x}: %{z:.4~r}<extra></extra>",
        colorscale=[[0, "var(--scale-low)"], [1, "var(--scale-high)"]],
        colorbar={
            "orientation": "h",
            "yref": "container",
            "y": 1.0,
            "yanchor": "top",
            "thickness": 10,
            "len": 1.0,
            "outlinewidth": 0,
        },
        xgap=1,
        ygap=1,
    )
    client_axis(figure, first.clients)
    round_axis(figure, first.numbers)
    figure.update_xaxes(showgrid=False)
    return figure, choices


def _cells(history: History, values: Array, unit: str) -> Frame:
    return Frame(
        _span(values, unit),
        [
            {
                "x": history.numbers,
                "z": [rounded(row) for row in values],
                "customdata": [[plain(client)] * len(history.numbers) for client in history.clients],
            }
        ],
        {"xaxis": round_ticks(history.numbers)},
    )


def _span(values: Array, unit: str) -> str:
    """From where to where values go, in words."""
    if np.isnan(values).all():
        return "nobody took part"
    low, high = number(float(np.nanmin(values))), number(float(np.nanmax(values)))
    parts = [low, unit, "throughout"] if low == high else [low, "to", high, unit]
    return " ".join(part for part in parts if part)


def _matrix(caption: str, runs: Mapping[str, History], values: Mapping[str, Array]) -> Table:
    """One row per run and client, one column per round; a run with fewer rounds has dashes."""
    rounds = max((history.numbers for history in runs.values()), key=len)
    rows = [
        [f"{name}, {client}" if name else client, *cells(row), *["–"] * (len(rounds) - len(row))]
        for name, history in runs.items()
        for client, row in zip(history.clients, values[name], strict=True)
    ]
    first = "Method and client" if any(runs) else "Client"
    return Table(caption, [first, *(f"Round {one}" for one in rounds)], rows)
