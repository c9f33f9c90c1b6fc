"""A comparison as a table: in the terminal, as table.csv (a row a run) and as table.tex (booktabs)."""

import csv
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from airtune.files import write_whole
from airtune.results.comparison import ComparedRun, Comparison, Entry, Ratio, mean
from airtune.results.formats import amount, duration, number

if TYPE_CHECKING:
    from rich.table import Table

CSV, TEX = "table.csv", "table.tex"
NONE = "–"

Value = Callable[[ComparedRun], float | None]
Shown = Callable[[float], str]


class Column(NamedTuple):
    """What it is called, an entry's value, by which tables are sorted, and that value as text."""

    name: str
    value: Callable[[Entry], float | str | None]
    text: Callable[[Entry], str]


LABEL = Column("method", lambda entry: entry.label, lambda entry: entry.label)


def verdict(comparison: Comparison) -> str:
    """One sentence: which method wins, and by how much."""
    target, winner = number(comparison.target_loss), comparison.winner
    if winner is None:
        return f"No method reaches a test loss of {target}."
    rivals = [entry for entry in comparison.entries if entry is not winner]
    baseline = comparison.best_baseline
    if not rivals:
        seconds = mean(comparison.times(winner).values())
        return f"{winner.label} reaches a test loss of {target} in {_seconds(seconds)}."
    if baseline is None:
        return f"{winner.label} reaches a test loss of {target} first; no baseline reaches it."
    if winner is not baseline:
        ratio = comparison.ratio(winner, baseline)
        more = _reached(comparison, winner) > _reached(comparison, baseline)
        how = f"in {_ratio(ratio)} of the time of" if ratio else "with more seeds than" if more else "before"
        begin = f"{winner.label} reaches a test loss of {target} {how} {baseline.label}"
        return f"{begin}, the best baseline{_seeds(comparison)}."
    begin = f"{baseline.label}, a baseline, reaches a test loss of {target} first{_seeds(comparison)}"
    others = [(comparison.ratio(entry, baseline), entry) for entry in rivals if not entry.is_baseline]
    found = [(ratio.mean, ratio, entry) for ratio, entry in others if ratio]
    if not found:
        return f"{begin}."
    _, ratio, entry = min(found, key=lambda item: item[0])
    return f"{begin}; {entry.label} takes {_ratio(ratio)} of its time."


def _reached(comparison: Comparison, entry: Entry) -> int:
    """With how many seeds the target was reached."""
    return sum(seconds is not None for seconds in comparison.times(entry).values())


def comparison_tables(comparison: Comparison) -> list["Table"]:
    """Means over seeds, a row a method and reduction: what each reaches, and what it takes."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    tables = []
    for group in columns(comparison):
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        for position, column in enumerate([LABEL, *group]):
            heading = escape("\n".join(column.name.rsplit(" ", 1)))
            table.add_column(heading, justify="right" if position else "left", no_wrap=True)
        for entry in comparison.entries:
            table.add_row(*(escape(column.text(entry)) for column in [LABEL, *group]))
        tables.append(table)
    return tables


def comparison_lines(comparison: Comparison) -> list[str]:
    """What stands below the table."""
    count, target = len(comparison.settings.seeds), number(comparison.target_loss)
    over = f"means over {count} seeds" if count > 1 else "one seed"
    lines = [f"{over}; the target is a test loss of {target}, times are linear between rounds"]
    if comparison.best_baseline is not None:
        bootstrap = ", geometric means with 95 % bootstrap intervals over seeds" if count > 1 else ""
        lines.append(f"ratios are to {comparison.best_baseline.label}{bootstrap}")
    if (budget := comparison.settings.budget) is not None:
        limit = duration(budget.amount) if budget.unit == "s" else amount(budget.amount, budget.unit)
        lines.append(f"a run ends with the round that reaches {limit}")
    if comparison.missing:
        lines.append(f"not there: {', '.join(comparison.missing)}")
    return lines


def write_tables(comparison: Comparison, directory: Path) -> None:
    """Write table.csv and table.tex into the comparison's folder."""
    write_whole(directory / CSV, csv_text(comparison))
    write_whole(directory / TEX, tex_text(comparison))


def csv_text(comparison: Comparison) -> str:
    """A row a run; empty where there is no number."""
    groups = sorted({group for run in comparison.runs for group in run.group_loss})
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(
        [
            *("method", "reduction", "bandwidth", "seed", "baseline", "target_loss", "time_to_target_s"),
            *("ratio_to_best_baseline", "rounds_to_target", "bytes_up_to_target", "bytes_down_to_target"),
            *("flops_to_target", "energy_to_target_j", "rounds", "simulated_s", "final_loss"),
            *(f"final_loss_{group}" for group in groups),
            *("metric", "metric_value", "bytes_up", "bytes_down", "flops", "energy_j", "lost_updates"),
        ]
    )
    target, baseline = comparison.target_loss, comparison.best_baseline
    best = comparison.times(baseline) if baseline else {}
    for entry in comparison.entries:
        for run in entry.runs:
            seconds, of_best = run.to_loss(target, "round_s"), best.get(run.job.seed)
            summary, metric = run.history.summary, run.metric
            writer.writerow(
                [
                    *(run.job.method, run.job.reduction, run.job.bandwidth, run.job.seed),
                    *(int(entry.is_baseline), target),
                    *(seconds, seconds / of_best if seconds is not None and of_best else None),
                    run.to_loss(target, None),
                    *(run.to_loss(target, one) for one in ("bytes_up", "bytes_down", "flops", "energy_j")),
                    *(summary["rounds"], summary["simulated_s"], run.final_loss),
                    *(run.group_loss.get(group) for group in groups),
                    *((metric.name, metric.value) if metric else (None, None)),
                    *(summary["bytes_up"], summary["bytes_down"], summary["flops"], run.energy_j, _lost(run)),
                ]
            )
    return written.getvalue()


def tex_text(comparison: Comparison) -> str:
    """The table for a paper; needs the package booktabs."""
    shown = [LABEL, *itertools.chain(*columns(comparison))]
    rows = [[_tex(column.text(entry)) for column in shown] for entry in comparison.entries]
    lines = [
        f"% {verdict(comparison)}",
        rf"\begin{{tabular}}{{l{'r' * (len(shown) - 1)}}}",
        r"\toprule",
        " & ".join(_tex(column.name) for column in shown) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def columns(comparison: Comparison) -> tuple[list[Column], list[Column]]:
    """Every column that people read beside the method: what is reached, and what it takes."""
    target, baseline = comparison.target_loss, comparison.best_baseline
    groups = sorted({group for run in comparison.runs for group in run.group_loss})
    metrics = {run.metric.name for run in comparison.runs if run.metric}

    def over_seeds(name: str, value: Value, shown: Shown) -> Column:
        def of(entry: Entry) -> float | None:
            return mean(value(run) for run in entry.runs)

        def text(entry: Entry) -> str:
            found = of(entry)
            return NONE if found is None else shown(found)

        return Column(name, of, text)

    def total(name: str, field: str, unit: str) -> Column:
        return over_seeds(
            name, lambda run: float(run.history.per_round(field).sum()), lambda value: amount(value, unit)
        )

    def time(entry: Entry) -> str:
        found = list(comparison.times(entry).values())
        reached = sum(seconds is not None for seconds in found)
        return f"{reached} of {len(found)} seeds" if 0 < reached < len(found) else _seconds(mean(found))

    def ratio(entry: Entry) -> float | None:
        found = comparison.ratio(entry, baseline)
        return found.mean if found else None

    def of_group(group: str) -> Value:
        return lambda run: run.group_loss.get(group)

    def metric(run: ComparedRun) -> float | None:
        return run.metric.value if run.metric else None

    reached = [
        Column("time to target", lambda entry: mean(comparison.times(entry).values()), time),
        Column("ratio to baseline", ratio, lambda entry: _ratio(comparison.ratio(entry, baseline))),
        over_seeds("rounds to target", lambda run: run.to_loss(target, None), lambda value: f"{value:.1f}"),
        over_seeds("final loss", lambda run: run.final_loss, number),
        *(over_seeds(f"loss on {group}", of_group(group), number) for group in groups),
        *(over_seeds(name.replace("_", " "), metric, number) for name in sorted(metrics)),
    ]
    taken = [
        over_seeds("rounds", lambda run: run.history.summary["rounds"], lambda value: f"{value:.3g}"),
        over_seeds("simulated time", lambda run: run.history.summary["simulated_s"], duration),
        total("bytes up", "bytes_up", "B"),
        total("bytes down", "bytes_down", "B"),
        total("training work", "flops", "FLOP"),
        over_seeds("energy", lambda run: run.energy_j, lambda value: amount(value, "J")),
    ]
    if any(map(_lost, comparison.runs)):
        taken.append(over_seeds("updates lost", _lost, lambda value: f"{value:.3g}"))
    return reached, taken


def _lost(run: ComparedRun) -> int:
    return run.history.summary.get("lost_updates", 0)


def _ratio(found: Ratio | None) -> str:
    if found is None:
        return NONE
    if found.low is None or found.high is None:
        return f"{found.mean:.2f}"
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _seconds(seconds: float | None) -> str:
    return NONE if seconds is None else duration(seconds)


def _seeds(comparison: Comparison) -> str:
    count = len(comparison.settings.seeds)
    return f" ({count} seeds)" if count > 1 else " (one seed)"


def _tex(text: str) -> str:
    for character in "&%$#_{}":
        text = text.replace(character, f"\\{character}")
    return text.replace(NONE, "--")
