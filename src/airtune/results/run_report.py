"""The page of one run."""

import html
from collections.abc import Sequence

from airtune.results import client_charts, round_charts
from airtune.results.charts import Chart, Table
from airtune.results.events import waits_for_all
from airtune.results.formats import amount, duration, number
from airtune.results.history import History
from airtune.results.page import Section, folded, origin, page, scenario_section, table


def run_page(history: History, scenario: str, charts: Sequence[Chart]) -> str:
    """The page as text; `scenario` is shown as it is."""
    start = history.start
    return page(
        "report",
        start["scenario"],
        _summary(history),
        charts,
        before=() if history.rounds else [Section("rounds", "Rounds", "<p>No round has finished yet.</p>")],
        after=[
            *([_privacy(history)] if history.rounds and "privacy" in history.rounds[-1] else []),
            Section("clients", "Clients", folded("Table: clients of the run", table(_members(history)))),
            scenario_section(scenario),
        ],
        footer=origin(start, "The rounds", history.summary["elapsed_s"]),
    )


def run_charts(history: History) -> list[Chart]:
    """The charts of a run, none before its first round."""
    if not history.rounds:
        return []
    charts = [
        round_charts.loss_chart(history),
        round_charts.group_loss_chart(history),
        client_charts.timeline_of(history),
        client_charts.prune_chart(history),
        client_charts.bandwidth_chart(history),
        client_charts.time_chart(history),
        client_charts.bytes_chart(history),
        round_charts.round_time_chart(history),
    ]
    return [chart for chart in charts if chart is not None]


def _summary(history: History) -> str:
    start, summary = history.start, history.summary
    state = "finished" if history.finished else "not finished"
    lost = summary.get("lost_updates", 0)
    in_vain = f" Updates that did not come: {lost}." if lost else ""
    shares = ", optimal bandwidth" if start.get("bandwidth") == "optimal" else ""
    return (
        f"<p>Method <b>{html.escape(start['method'])}</b>, "
        f"reduction <b>{html.escape(start['reduction'])}</b>{shares}. "
        f"{summary['rounds']} of {max(start['rounds'], summary['rounds'])} rounds, {state}.{in_vain}</p>"
        f'<dl class="key-figures">{_key_figures(history)}</dl>'
    )


def _key_figures(history: History) -> str:
    """The run in at most six figures: (term, value, remark)."""
    summary = history.summary
    simulated, equal = summary["simulated_s"], summary["fedit_s"]
    ratio = f"{equal / simulated:.2f}×" if simulated > 0 else "–"
    remark = f"over equal bandwidth without pruning: {duration(equal)} for the same rounds"
    speed_up = [("Speed-up", ratio, remark)] if waits_for_all(history.start, history.rounds) else []
    energy = amount(summary["energy_j"], "J") if "energy_j" in summary else "–"
    loss = f"{number(summary['loss_before'])} → {number(summary['loss_after'])}"
    figures = (
        ("Test loss", loss, "before → after"),
        ("Simulated time", duration(simulated), "on the modelled devices and links"),
        *speed_up,
        ("Uploaded", amount(summary["bytes_up"], "B"), f"downloaded: {amount(summary['bytes_down'], 'B')}"),
        ("Training work", amount(summary["flops"], "FLOP"), "by all clients"),
        ("Energy", energy, "of computing and sending, by all clients"),
    )
    return "".join(
        f"<div><dt>{term}</dt><dd><strong>{value}</strong> <small>{remark}</small></dd></div>"
        for term, value, remark in figures
    )


def _privacy(history: History) -> Section:
    """What each client's uploads may have told of its data."""
    terms, spent = history.start["privacy"], history.rounds[-1]["privacy"]
    text = (
        f"Every client clips its update to a length of {number(terms['clip'])} and adds Gaussian noise of "
        f"{number(terms['noise'])} times that to each of its numbers. Epsilon, at a delta of "
        f"{terms['delta']:g}, is against whoever sees all its uploads, the server too, and for any two data "
        f"sets that the client may have; of a client asked in every round it is "
        f"{number(terms['most_epsilon'])} in the end. It holds for clients whose noise comes from a key of "
        "their own: that of simulated ones comes from the scenario's seed."
    )
    rows = [
        [client, str(answers), number(epsilon)]
        for client, answers, epsilon in zip(history.clients, spent["answers"], spent["epsilon"], strict=True)
    ]
    spent_table = Table("Privacy spent by each client", ["Client", "Answers", "Epsilon"], rows)
    return Section("privacy", "Privacy", f"<p>{text}</p>{folded('Table: privacy spent', table(spent_table))}")


def _members(history: History) -> Table:
    rows = [
        [client["id"], client["group"], client["device"], client["cell"], number(client["weight"])]
        for client in history.start["clients"]
    ]
    return Table("Clients of the run", ["Client", "Group", "Device", "Cell", "Weight"], rows)
