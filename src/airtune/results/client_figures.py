"""Figures with one row per client, of one run or of several among which the reader chooses."""

from collections.abc import Iterable, Mapping

import numpy as np
import plotly.graph_objects as go

from airtune.results.charts import (
    Choice,
    Frame,
    client_axis,
    new_figure,
    plain,
    round_axis,
    round_ticks,
    rounded,
)
from airtune.results.formats import duration, number, time_scale
from airtune.results.history import Array, History
from airtune.results.trainings import PHASES, trainings

# Patterns tell the phases apart without colour.
PATTERNS = {"download": "/", "compute": "", "upload": "\\", "waiting": ".", "left out": "x"}


def phases(history: History) -> dict[str, Array]:
    """Seconds (K, R) of each phase within each round; being left out is one."""
    row = {client: index for index, client in enumerate(history.clients)}
    ends, lengths = history.per_round("clock_s"), history.per_round("round_s")
    seconds = {phase: np.zeros((len(row), len(ends))) for phase in PHASES}
    left_out = np.tile(lengths, (len(row), 1))
    for (client, place), training in trainings(history).items():
        left_out[row[client], place] = 0.0
        for phase, begin, end in training.phases():
            inside = min(end, ends[place]) - max(begin, ends[place] - lengths[place])
            seconds[phase][row[client], place] = max(inside, 0.0)
    return seconds | {"left out": left_out}


def shown_phases(histories: Iterable[History]) -> list[str]:
    """The phases of a legend: nobody reads of clients left out where none was."""
    absent = any(phases(history)["left out"].any() for history in histories)
    return [*PHASES, "left out"] if absent else [*PHASES]


def timeline(runs: Mapping[str, History]) -> tuple[go.Figure, list[Choice]]:
    """Each client's round as a bar from download to waiting, on one axis for every run and round.

    Args:
        runs: name and history of runs of the same clients, each of at least one round.
    """
    longest = max(
        history.per_round(end).max() for history in runs.values() for end in ("planned_s", "round_s")
    )
    scale, unit = time_scale(longest)
    names = shown_phases(runs.values())
    choices = [Choice(name, _rounds(history, names, scale)) for name, history in runs.items()]
    first = choices[0].frames[0]
    clients = next(iter(runs.values())).clients
    figure = new_figure(150, f"time in the round ({unit})")
    for phase, trace in zip(names, first.data, strict=True):
        add_bar(figure, clients, phase, trace["x"], unit)
    client_axis(figure, clients)
    figure.update_xaxes(range=[0, 1.02 * longest / scale or 1.0])
    figure.update_layout(first.layout)
    return figure, choices


def _rounds(history: History, names: list[str], scale: float) -> list[Frame]:
    seconds = phases(history)
    return [
        Frame(
            f"Round {event['round']}: {duration(event['round_s'])}, planned {duration(event['planned_s'])}",
            [{"x": rounded(seconds[phase][:, column] / scale)} for phase in names],
            {"shapes": [_planned_end(event["planned_s"] / scale)]},
        )
        for column, event in enumerate(history.rounds)
    ]


def _planned_end(x: float) -> dict[str, object]:
    """A dashed vertical line across the figure."""
    line = {"color": "var(--text)", "dash": "dash", "width": 1.5}
    return {"type": "line", "x0": x, "x1": x, "xref": "x", "y0": 0, "y1": 1, "yref": "y domain", "line": line}


def heatmap(
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
        zmax=max(float(np.nan_to_num(one).max()) for one in values.values()) or 1.0,
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


def add_bar(figure: go.Figure, rows: list[str], phase: str, values: list[float | None], unit: str) -> None:
    """A bar in each row at y = 0, 1, …, in the phase's colour and pattern."""
    colour = f"var(--{phase.replace(' ', '-')})"
    figure.add_bar(
        x=values,
        y=list(range(len(rows))),
        orientation="h",
        name=phase,
        customdata=[plain(row) for row in rows],
        hovertemplate="%{customdata}: " + phase + " %{x:,.4~r} " + unit + "<extra></extra>",
        marker={
            "color": colour,
            "line": {"width": 0},
            "pattern": {
                "shape": PATTERNS[phase],
                "bgcolor": colour,
                "fgcolor": "var(--hatch)",
                "size": 6,
                "solidity": 0.2,
            },
        },
    )
