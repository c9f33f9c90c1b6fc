"""Charts with one row per client: the round as a timeline, pruning, bandwidth, time and bytes."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from airtune.costs.energy import energy_j
from airtune.results.charts import Chart, Table, cells, client_axis, new_figure, rounded
from airtune.results.client_figures import add_bar, phases, shown_phases, timeline_chart
from airtune.results.client_heatmaps import bandwidth_heatmap, nobody_took_part, pruning_heatmap
from airtune.results.formats import amount, number, si_scale, time_scale
from airtune.results.history import History
from airtune.results.trainings import PHASES, seconds_in


def timeline_of(history: History) -> Chart:
    """Each client's round from download to waiting; the reader chooses the round."""
    names = [name for name in shown_phases([history]) if name in PHASES]
    times = [f"{name.capitalize()} (s)" for name in names]
    columns = ["Client", "Round", "Pruning rate", "Bandwidth (kHz)", *times]
    table = Table(
        "Every client in every round",
        [*columns, "Training loss", "Trained layers", "Energy (J)"],
        list(_client_rows(history, names)),
    )
    return timeline_chart({"": history}, table, "The table holds every round.")


def prune_chart(history: History) -> Chart | None:
    """ρ of every client in every round; None where nobody took part in any."""
    run = {"": history}
    if nobody_took_part(run):
        return None
    prune = history.per_client("prune")
    low, mean, high = (number(float(find(prune))) for find in (np.nanmin, np.nanmean, np.nanmax))
    return pruning_heatmap(run, f"Heat map: pruning rates from {low} to {high}, {mean} on average.")


def bandwidth_chart(history: History) -> Chart | None:
    """Uplink bandwidth of every client in every round; None where nobody took part in any."""
    run = {"": history}
    if nobody_took_part(run):
        return None
    bandwidth = history.per_client("bandwidth_hz")
    low, high = (amount(float(find(bandwidth)), "Hz") for find in (np.nanmin, np.nanmax))
    return bandwidth_heatmap(run, f"Heat map: uplink bandwidth from {low} to {high}.")


def time_chart(history: History) -> Chart:
    """Seconds per phase and client, over the whole run."""
    seconds_of = phases(history)
    totals = [(phase, seconds_of[phase].sum(axis=1)) for phase in shown_phases([history])]
    scale, unit = time_scale(history.summary["simulated_s"])
    figure = new_figure(150, f"time over the whole run ({unit})")
    for phase, seconds in totals:
        add_bar(figure, history.clients, phase, rounded(seconds / scale), unit)
    client_axis(figure, history.clients)
    everything = sum(seconds.sum() for _, seconds in totals) or 1.0
    shares = ", ".join(f"{phase} {seconds.sum() / everything:.0%}" for phase, seconds in totals)
    rows = zip(history.clients, *(seconds / scale for _, seconds in totals), strict=True)
    return Chart(
        id="time",
        title="Where the time goes",
        caption=f"All clients together: {shares}.",
        label=f"Bar chart: time of each client by phase. All together: {shares}.",
        figure=figure,
        table=Table(
            "Simulated time of each client over the whole run",
            ["Client", *(f"{phase.capitalize()} ({unit})" for phase, _ in totals)],
            [[client, *cells(values)] for client, *values in rows],
        ),
    )


def bytes_chart(history: History) -> Chart:
    """Bytes up and down per client, over the whole run."""
    up, down = (np.nansum(history.per_client(field), axis=1) for field in ("bytes_up", "bytes_down"))
    scale, unit = si_scale(max(up.max(), down.max()), "B")
    figure = new_figure(150, f"bytes over the whole run ({unit})")
    add_bar(figure, history.clients, "upload", rounded(up / scale), unit)
    add_bar(figure, history.clients, "download", rounded(down / scale), unit)
    figure.update_layout(barmode="group")
    client_axis(figure, history.clients, bars=2)
    totals = f"{amount(up.sum(), 'B')} up from the clients and {amount(down.sum(), 'B')} down to them"
    rows = zip(history.clients, up / scale, down / scale, strict=True)
    return Chart(
        id="bytes",
        title="Bytes",
        caption=f"What travelled in the whole run: {totals}.",
        label=f"Bar chart: bytes of each client, up and down. All together: {totals}.",
        figure=figure,
        table=Table(
            "Bytes of each client over the whole run",
            ["Client", f"Up ({unit})", f"Down ({unit})"],
            [[client, *cells(values)] for client, *values in rows],
        ),
    )


def _client_rows(history: History, names: Sequence[str]) -> Iterator[list[str]]:
    for event in history.rounds:
        for client in event["clients"]:
            seconds = [seconds_in(client, name) for name in names]
            loss = client.get("loss", math.nan)
            values = [client["prune"], client["bandwidth_hz"] / 1e3, *seconds, loss]
            energy = energy_j([client])
            yield [
                *(client["id"], str(event["round"]), *cells(values), str(client["trained_layers"])),
                *cells([math.nan if energy is None else energy]),
            ]
