"""DIR/report.html: one file that shows a run, readable offline on a phone, by eye or by screen reader."""

import html
import json
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from airtune.errors import InputError, words
from airtune.files import write_whole
from airtune.results import client_charts, round_charts
from airtune.results.charts import Chart, Table
from airtune.results.events import EVENTS_FILE, read_events
from airtune.results.formats import amount, duration, number
from airtune.results.history import History

SCENARIO_FILE = "scenario.yaml"
REPORT_FILE = "report.html"
HERE = Path(__file__).parent


def write_report(directory: str | Path) -> Path:
    """Write `directory`/report.html from its events and scenario, and return the path.

    The run may still go on. The same input gives the same bytes.

    Raises:
        InputError: the folder, its events or its scenario are missing or wrong, or it cannot be written.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(directory, "", words("no such folder"), "the folder of a run")
    events_path = directory / EVENTS_FILE
    events = read_events(events_path)
    if not events:
        raise InputError(events_path, "", words("no start event"), "the events of a run that has started")
    page = render(History.of(events), _scenario(directory / SCENARIO_FILE))
    write_whole(directory / REPORT_FILE, page)
    return directory / REPORT_FILE


def _scenario(path: Path) -> str:
    """The run's scenario as it was written: a report shows it, also one that later versions would refuse."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, "", words(type(error).__name__), "the scenario of the run in UTF-8") from error


def render(history: History, scenario: str) -> str:
    """The page as text; `scenario` is shown as it is."""
    charts = _charts(history)
    start, summary = history.start, history.summary
    state = "finished" if history.finished else "not finished"
    return _template("report.html").substitute(
        title=html.escape(start["scenario"]),
        method=html.escape(start["method"]),
        reduction=html.escape(start["reduction"]),
        state=f"{summary['rounds']} of {max(start['rounds'], summary['rounds'])} rounds, {state}",
        style=(HERE / "report.css").read_text(encoding="utf-8"),
        key_figures=_key_figures(history),
        links="".join(f'<li><a href="#{chart.id}">{chart.title}</a></li>' for chart in charts),
        sections="".join(_section(chart) for chart in charts) or "<p>No round has finished yet.</p>",
        clients=_table(_members(history)),
        scenario=html.escape(scenario),
        version=html.escape(start["version"]),
        machine=html.escape(start["machine"]),
        elapsed=duration(summary["elapsed_s"]),
        figures=_figures(charts),
        plotly=get_plotlyjs(),
    )


def _charts(history: History) -> list[Chart]:
    if not history.rounds:
        return []
    charts = [
        round_charts.loss_chart(history),
        round_charts.group_loss_chart(history),
        client_charts.timeline_chart(history),
        client_charts.prune_chart(history),
        client_charts.bandwidth_chart(history),
        client_charts.time_chart(history),
        client_charts.bytes_chart(history),
        round_charts.round_time_chart(history),
    ]
    return [chart for chart in charts if chart is not None]


def _key_figures(history: History) -> str:
    """The run in six figures: (term, value, remark)."""
    summary = history.summary
    simulated, equal = summary["simulated_s"], summary["fedit_s"]
    ratio = f"{equal / simulated:.2f}×" if simulated > 0 else "–"
    loss = f"{number(summary['loss_before'])} → {number(summary['loss_after'])}"
    figures = (
        ("Test loss", loss, "before → after"),
        ("Simulated time", duration(simulated), "on the modelled devices and links"),
        ("Speed-up", ratio, f"over equal bandwidth without pruning: {duration(equal)} for the same rounds"),
        ("Uploaded", amount(summary["bytes_up"], "B"), "by all clients"),
        ("Downloaded", amount(summary["bytes_down"], "B"), "by all clients"),
        ("Training work", amount(summary["flops"], "FLOP"), "by all clients"),
    )
    return "".join(
        f"<div><dt>{term}</dt><dd><strong>{value}</strong> <small>{remark}</small></dd></div>"
        for term, value, remark in figures
    )


def _section(chart: Chart) -> str:
    return _template("section.html").substitute(
        id=chart.id,
        title=chart.title,
        caption=html.escape(chart.caption),
        label=html.escape(chart.label),
        height=chart.figure.layout.height,
        chooser=_round_chooser(chart),
        table=_table(chart.table),
        table_caption=html.escape(chart.table.caption),
    )


def _round_chooser(chart: Chart) -> str:
    """A slider over the chart's rounds; nothing where there is nothing to choose."""
    if len(chart.frames) < 2:
        return ""
    slider, last = f"{chart.id}-round", len(chart.frames)
    return (
        f'<p class="chooser"><label for="{slider}">Round</label>'
        f'<input type="range" id="{slider}" data-chart="{chart.id}" min="1" max="{last}" value="1">'
        f'<output for="{slider}">{html.escape(chart.frames[0]["label"])}</output></p>'
    )


def _table(table: Table) -> str:
    caption = html.escape(table.caption)
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in table.columns)
    body = "".join(
        f'<tr><th scope="row">{html.escape(first)}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in table.rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{caption}">'
        f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _members(history: History) -> Table:
    rows = [
        [client["id"], client["group"], client["device"], client["cell"], number(client["weight"])]
        for client in history.start["clients"]
    ]
    return Table("Clients of the run", ["Client", "Group", "Device", "Cell", "Weight"], rows)


def _figures(charts: list[Chart]) -> str:
    """Every figure as JSON that cannot end the script element it stands in."""
    figures = {
        chart.id: json.loads(chart.figure.to_json()) | ({"frames": chart.frames} if chart.frames else {})
        for chart in charts
    }
    text = json.dumps(figures, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _template(name: str) -> Template:
    return Template((HERE / name).read_text(encoding="utf-8"))
