"""The page of a comparison: who won by how much, the table, and what the runs looked like."""

import html
import itertools
import math
from collections.abc import Callable, Sequence

from airtune.planning import Plan
from airtune.results import comparison_charts, comparison_client_charts
from airtune.results.charts import Chart, Table
from airtune.results.comparison import ComparedRun, Comparison, Entry, mean
from airtune.results.comparison_columns import LABEL, NONE, columns
from airtune.results.comparison_table import comparison_lines, verdict
from airtune.results.contender import Contender
from airtune.results.formats import duration, number
from airtune.results.page import Section, origin, page, scenario_section, table
from airtune.results.plans import plan_file, read_plan


def comparison_page(comparison: Comparison, scenario: str, charts: Sequence[Chart]) -> str:
    """The page as text; `scenario` is shown as it is."""
    start = comparison.runs[0].history.start
    elapsed_s = sum(run.history.summary["elapsed_s"] for run in comparison.runs)
    lines = comparison_lines(comparison)
    if any(_time(comparison, entry) is None for entry in comparison.entries):
        lines.append("a dash where a seed did not reach the target")
    notes = "".join(f"<p>{html.escape(line)}.</p>" for line in lines)
    sentence, figures = html.escape(verdict(comparison)), html.escape(_rivals(comparison))
    summary = f'<p class="verdict">{sentence}</p><p>{figures}</p>'
    return page(
        "comparison",
        start["scenario"],
        summary,
        charts,
        before=[
            Section("methods", "Methods", f'{table(_table(comparison))}<div class="notes">{notes}</div>')
        ],
        after=[scenario_section(scenario)],
        footer=origin(start, "The rounds of all runs", elapsed_s),
    )


def comparison_charts_of(comparison: Comparison) -> list[Chart]:
    """The charts of a comparison."""
    contenders = [_contender(comparison, entry) for entry in _ranked(comparison)]
    target = comparison.target_loss
    charts = [
        comparison_charts.loss_over_time(contenders, target),
        comparison_charts.loss_over_bytes(contenders, target),
        comparison_charts.time_shares(contenders),
        comparison_client_charts.timelines(contenders),
        comparison_client_charts.prune_chart(contenders),
        comparison_client_charts.bandwidth_chart(contenders),
        comparison_charts.planned_chart(contenders),
    ]
    return [chart for chart in charts if chart is not None]


def _rivals(comparison: Comparison) -> str:
    """Seconds and losses behind the verdict: of the winner, and of the fastest of the other kind."""
    winner = comparison.winner
    others = [entry for entry in _ranked(comparison) if winner and entry.is_baseline != winner.is_baseline]
    return " ".join(
        f"{entry.label}: {_shown(_time(comparison, entry), duration)}, "
        f"final loss {_shown(mean(run.final_loss for run in entry.runs), number)}."
        for entry in (winner, *others[:1])
        if entry is not None
    )


def _shown(value: float | None, text: Callable[[float], str]) -> str:
    return NONE if value is None else text(value)


def _table(comparison: Comparison) -> Table:
    """The methods from the fastest on, sortable by every column."""
    entries, shown = _ranked(comparison), [LABEL, *itertools.chain(*columns(comparison))]
    return Table(
        "Every method, mean of its seeds",
        [column.name.capitalize() for column in shown],
        [[column.text(entry) for column in shown] for entry in entries],
        [[column.value(entry) for column in shown] for entry in entries],
        sorted_by=1,
    )


def _ranked(comparison: Comparison) -> list[Entry]:
    """From the fastest to the target on; those that miss it last."""

    def place(entry: Entry) -> float:
        seconds = _time(comparison, entry)
        return math.inf if seconds is None else seconds

    return sorted(comparison.entries, key=place)


def _time(comparison: Comparison, entry: Entry) -> float | None:
    return mean(comparison.times(entry).values())


def _contender(comparison: Comparison, entry: Entry) -> Contender:
    time_s = _time(comparison, entry)
    return Contender(
        entry.label,
        [run.history for run in entry.runs],
        [_plans(run) for run in entry.runs],
        math.nan if time_s is None else time_s,
    )


def _plans(run: ComparedRun) -> list[Plan]:
    """The run's plans; none where one is missing."""
    files = [plan_file(run.directory, number) for number in run.history.numbers]
    return [read_plan(file) for file in files] if all(file.exists() for file in files) else []
