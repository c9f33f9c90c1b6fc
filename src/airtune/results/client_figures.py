"""Clients' rounds in phases as bars, of one run or of several among which the reader chooses."""

from collections.abc import Iterable, Mapping

import numpy as np
import plotly.graph_objects as go

from airtune.results.charts import Chart, Choice, Frame, Table, client_axis, new_figure, plain, rounded
from airtune.results.formats import duration, time_scale
from airtune.results.history import Array, History
from airtune.results.trainings import PHASES, lost_updates, trainings

# Patterns tell the phases apart without colour.
PATTERNS = {"download": "/", "overhead": "|", "compute": "", "upload": "\\", "waiting": "."}
PATTERNS |= {"left out": "x", "lost": "+"}
SOMETIMES = ("overhead", "left out", "lost")


def phases(history: History) -> dict[str, Array]:
    """Seconds (K, R) of each phase within each round; being left out is one, and a round in vain."""
    row = {client: index for index, client in enumerate(history.clients)}
    ends, lengths = history.per_round("clock_s"), history.per_round("round_s")
    seconds = {phase: np.zeros((len(row), len(ends))) for phase in PHASES}
    left_out, lost = np.tile(lengths, (len(row), 1)), np.zeros((len(row), len(ends)))
    for (client, place), training in trainings(history).items():
        left_out[row[client], place] = 0.0
        for phase, begin, end in training.phases():
            inside = min(end, ends[place]) - max(begin, ends[place] - lengths[place])
            seconds[phase][row[client], place] = max(inside, 0.0)
    for client, place in lost_updates(history):
        lost[row[client], place] = lengths[place]
        left_out[row[client], place] = 0.0
    return seconds | {"left out": left_out, "lost": lost}


def shown_phases(histories: Iterable[History]) -> list[str]:
    """The phases of a legend: nobody reads of an overhead, or of clients left out or lost, where none was."""
    seconds = [phases(history) for history in histories]
    return [name for name in PATTERNS if name not in SOMETIMES or any(one[name].any() for one in seconds)]


def timeline_chart(runs: Mapping[str, History], table: Table, where: str, note: str = "") -> Chart:
    """Each client's round as a bar from download to waiting, on one axis for every run and round.

    Args:
        runs: name and history of runs of the same clients, each of at least one round.
        where: the figures of the other rounds are, a sentence.
        note: more to know when reading it.
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
    return Chart(
        id="timeline",
        title="Each client's round",
        caption="A round ends with the last upload that it waits for; whoever is done earlier waits. The "
        f"dashed vertical line is the planned end.{note}",
        label=f"Bar chart: seconds of each client in the chosen round by phase: {', '.join(names)}. {where}",
        figure=figure,
        table=table,
        choices=choices,
    )


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


def add_bar(
    figure: go.Figure,
    rows: list[str],
    phase: str,
    values: list[float | None],
    unit: str,
    places: list[float] | None = None,
) -> None:
    """A bar in each row at y = 0, 1, … or at its place, in the phase's colour and pattern."""
    colour = f"var(--{phase.replace(' ', '-')})"
    figure.add_bar(
        x=values,
        y=places or list(range(len(rows))),
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
