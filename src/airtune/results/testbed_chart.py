"""What was predicted of a testbed's clients, and what was measured."""

import math
from collections.abc import Sequence
from pathlib import Path

from airtune.errors import InputError
from airtune.results.charts import Chart, Choice, Frame, Table, cells, client_axis, new_figure, rounded
from airtune.results.client_figures import add_bar
from airtune.results.formats import amount, duration, number, time_scale
from airtune.results.testbed_facts import FACTS_FILE, Facts
from airtune.results.testbed_rows import PARTS, ROWS_FILE, Row, excess, median_error, read_rows, rounds_s

IN_TABLE = {"upload": "Upload", "compute": "Computing", "overhead": "Overhead", "round": "Round"}
APART = 0.2  # of a client's two bars from its line


def testbed_charts(directory: Path) -> list[Chart]:
    """The chart of a run that `airtune testbed` has measured; none of another run.

    Raises:
        InputError: what it has measured or calibrated cannot be read.
    """
    if not (directory / ROWS_FILE).exists():
        return []
    rows, facts = read_rows(directory), Facts.read(directory)
    known = {client.id for client in facts.clients}
    for row in rows:
        if row.client not in known:
            raise InputError(directory / ROWS_FILE, "client", row.client, f"one that is in {FACTS_FILE}")
    return [testbed_chart(rows, facts)]


def testbed_chart(rows: Sequence[Row], facts: Facts) -> Chart:
    """Each client's round as two bars, predicted above measured; the reader chooses the round."""
    clients = [client.id for client in facts.clients]
    longest = max(sum(_parts(row, kind)) for row in rows for kind in ("predicted", "measured"))
    scale, unit = time_scale(longest)
    frames = [_frame(rows, clients, round_number, scale) for round_number in rounds_s(rows)]
    figure = new_figure(150, f"time on the wall ({unit})")
    bars = [f"{client}, {kind}" for kind in ("predicted", "measured") for client in clients]
    places = [index + side for side in (-APART, APART) for index in range(len(clients))]
    for part, trace in zip(PARTS, frames[0].data, strict=True):
        add_bar(figure, bars, part, trace["x"], unit, places)
    client_axis(figure, clients, bars=2)
    figure.update_xaxes(range=[0, 1.02 * longest / scale or 1.0])
    findings = _findings(rows, facts)
    return Chart(
        id="testbed",
        title="Predicted and measured on the testbed",
        caption=f"Each client's upper bar is predicted, the lower one measured. {' '.join(findings)}",
        label="Bar chart: predicted and measured download, overhead, compute and upload of each client in "
        f"the chosen round. {findings[0]}",
        figure=figure,
        table=_table(rows, facts),
        choices=[Choice("", frames)],
    )


def _frame(rows: Sequence[Row], clients: list[str], round_number: int, scale: float) -> Frame:
    of_client = {row.client: row for row in rows if row.round == round_number}
    nothing = [math.nan] * len(PARTS)
    bars = [
        _parts(of_client[client], kind) if client in of_client else nothing
        for kind in ("predicted", "measured")
        for client in clients
    ]
    predicted, measured = rounds_s(rows)[round_number]
    return Frame(
        f"Round {round_number}: predicted {duration(predicted)}, measured {duration(measured)}",
        [{"x": rounded(seconds / scale for seconds in part)} for part in zip(*bars, strict=True)],
    )


def _parts(row: Row, kind: str) -> list[float]:
    """Seconds of PARTS, "predicted" or "measured"; what is counted for none of them may be below 0."""
    seconds = (getattr(row, kind)(part) for part in PARTS)
    return [max(0.0, one) for one in seconds]


def _findings(rows: Sequence[Row], facts: Facts) -> list[str]:
    """How far off predictions were, and what they rest on."""
    errors = {name.lower(): median_error(rows, part) for part, name in IN_TABLE.items()}
    medians = ", ".join(f"{name} {error:.1%}" for name, error in errors.items() if not math.isnan(error))
    predicted, measured = (sum(one) for one in zip(*rounds_s(rows).values(), strict=True))
    return [
        f"Median errors of clients: {medians}.",
        f"All rounds, until the server has read the last update: predicted {duration(predicted)}, "
        f"measured {duration(measured)}.",
        f"Calibrated before: {number(facts.factor)} seconds on the wall for one simulated second, "
        f"{amount(facts.core_flops_per_s, 'FLOP/s')} of a core, {number(facts.reading_s)} s to read the last "
        f"update, {number(facts.framing_down)} bytes on the wire for a byte down and "
        f"{number(facts.framing_up)} for one up, and each client's overhead.",
    ]


def _table(rows: Sequence[Row], facts: Facts) -> Table:
    cores = {client.id: client.cores for client in facts.clients}
    pairs = [f"{name} {kind} (s)" for name in IN_TABLE.values() for kind in ("predicted", "measured")]
    return Table(
        "Predicted and measured seconds of every client and round",
        ["Client", "Round", *pairs, "Round off by (%)", "Share of a core (%)"],
        [
            [
                *(row.client, str(row.round)),
                *cells(seconds for part in IN_TABLE for seconds in (row.predicted(part), row.measured(part))),
                *cells([100 * excess(row.round_predicted_s, row.round_measured_s)]),
                *cells([100 * cores[row.client]]),
            ]
            for row in rows
        ],
    )
