"""Charts of a comparison with one row per client; the reader chooses the method, and the round."""

from collections.abc import Sequence

import numpy as np

from airtune.results.charts import Chart, Table, cells
from airtune.results.client_figures import phases, shown_phases, timeline_chart
from airtune.results.client_heatmaps import bandwidth_heatmap, most, nobody_took_part, pruning_heatmap
from airtune.results.contender import Contender
from airtune.results.formats import amount, time_scale
from airtune.results.history import Array, History

FIRST_SEED = " Shown are the runs of the first seed."


def timelines(contenders: Sequence[Contender]) -> Chart:
    """Each client's round from download to waiting."""
    runs = _shown(contenders)
    names = shown_phases(runs.values())
    scale, unit = time_scale(max(history.per_round("round_s").max() for history in runs.values()))
    table = Table(
        "Every client's mean round",
        ["Method and client", *(f"{phase.capitalize()} ({unit})" for phase in names)],
        [
            [f"{name}, {client}", *cells(phases(history)[phase][row].mean() / scale for phase in names)]
            for name, history in runs.items()
            for row, client in enumerate(history.clients)
        ],
    )
    where = "The table holds the mean of all rounds; each run's own report holds every round."
    return timeline_chart(runs, table, where, f" All methods and rounds share one axis.{FIRST_SEED}")


def prune_chart(contenders: Sequence[Contender]) -> Chart | None:
    """ρ of every client in every round; None where nobody took part in any."""
    runs = _shown(contenders)
    if nobody_took_part(runs):
        return None
    means = ", ".join(f"{name} {_mean(history.per_client('prune'))}" for name, history in runs.items())
    label = f"Heat map of the chosen method. Mean pruning rates: {means}."
    return pruning_heatmap(runs, label, FIRST_SEED)


def bandwidth_chart(contenders: Sequence[Contender]) -> Chart | None:
    """Uplink bandwidth of every client in every round; None where nobody took part in any."""
    runs = _shown(contenders)
    if nobody_took_part(runs):
        return None
    largest = amount(most({name: history.per_client("bandwidth_hz") for name, history in runs.items()}), "Hz")
    label = f"Heat map of the chosen method. The largest share of all methods is {largest}."
    return bandwidth_heatmap(runs, label, FIRST_SEED)


def _shown(contenders: Sequence[Contender]) -> dict[str, History]:
    return {one.name: one.shown for one in contenders}


def _mean(values: Array) -> str:
    return cells([float(np.nanmean(values)) if np.isfinite(values).any() else np.nan])[0]
