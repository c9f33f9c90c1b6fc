"""Charts of a comparison with one row per client; the reader chooses the method, and the round."""

from collections.abc import Mapping, Sequence

import numpy as np

from airtune.results.charts import Chart, Table, cells
from airtune.results.client_figures import heatmap, phases, shown_phases, timeline
from airtune.results.contender import Contender
from airtune.results.formats import amount, si_scale, time_scale
from airtune.results.history import Array, History

FIRST_SEED = "Shown are the runs of the first seed."
GAP = "A gap means the round has no update of the client."


def timeline_chart(contenders: Sequence[Contender]) -> Chart:
    """Each client's round from download to waiting."""
    runs = _shown(contenders)
    figure, choices = timeline(runs)
    names = shown_phases(runs.values())
    scale, unit = time_scale(max(history.per_round("round_s").max() for history in runs.values()))
    return Chart(
        id="timeline",
        title="Each client's round",
        caption="A round ends with the last upload that it waits for; whoever is done earlier waits. The "
        f"dashed vertical line is the planned end. All methods and rounds share one axis. {FIRST_SEED}",
        label="Bar chart: download, compute, upload and waiting of each client in the chosen round. "
        "The table holds the mean of all rounds; each run's own report holds every round.",
        figure=figure,
        table=Table(
            "Every client's mean round",
            ["Method and client", *(f"{phase.capitalize()} ({unit})" for phase in names)],
            [
                [f"{name}, {client}", *cells(phases(history)[phase][row].mean() / scale for phase in names)]
                for name, history in runs.items()
                for row, client in enumerate(history.clients)
            ],
        ),
        choices=choices,
    )


def prune_chart(contenders: Sequence[Contender]) -> Chart | None:
    """ρ of every client in every round; None where nobody took part in any."""
    runs = _shown(contenders)
    prune = {name: history.per_client("prune") for name, history in runs.items()}
    if all(np.isnan(values).all() for values in prune.values()):
        return None
    figure, choices = heatmap(runs, prune)
    means = ", ".join(f"{name} {cells([_mean(values)])[0]}" for name, values in prune.items())
    return Chart(
        id="pruning",
        title="Pruning rate",
        caption="The share of the prunable step cost that a client gives up: 0 trains the whole model. "
        f"{GAP} {FIRST_SEED}",
        label=f"Heat map of the chosen method. Mean pruning rates: {means}.",
        figure=figure,
        table=_matrix("Pruning rate by round", runs, prune),
        choices=choices,
    )


def bandwidth_chart(contenders: Sequence[Contender]) -> Chart | None:
    """Uplink bandwidth of every client in every round; None where nobody took part in any."""
    runs = _shown(contenders)
    bandwidth = {name: history.per_client("bandwidth_hz") for name, history in runs.items()}
    if all(np.isnan(values).all() for values in bandwidth.values()):
        return None
    most = max(float(np.nan_to_num(values).max()) for values in bandwidth.values())
    scale, unit = si_scale(most, "Hz")
    scaled = {name: values / scale for name, values in bandwidth.items()}
    figure, choices = heatmap(runs, scaled, unit)
    return Chart(
        id="bandwidth",
        title="Uplink bandwidth",
        caption=f"What each client's upload gets of its cell's bandwidth, in {unit}. {GAP} {FIRST_SEED}",
        label=f"Heat map of the chosen method. The largest share of all methods is {amount(most, 'Hz')}.",
        figure=figure,
        table=_matrix(f"Uplink bandwidth ({unit}) by round", runs, scaled),
        choices=choices,
    )


def _shown(contenders: Sequence[Contender]) -> dict[str, History]:
    return {one.name: one.shown for one in contenders}


def _mean(values: Array) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


def _matrix(caption: str, runs: Mapping[str, History], values: Mapping[str, Array]) -> Table:
    """One row per method and client, one column per round; a run with fewer rounds has dashes."""
    rounds = max((history.numbers for history in runs.values()), key=len)
    rows = [
        [f"{name}, {client}", *cells(row), *["–"] * (len(rounds) - len(row))]
        for name, history in runs.items()
        for client, row in zip(history.clients, values[name], strict=True)
    ]
    return Table(caption, ["Method and client", *(f"Round {one}" for one in rounds)], rows)
