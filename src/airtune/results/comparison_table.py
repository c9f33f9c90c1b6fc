"""A comparison as a table: in the terminal, as table.csv (a row a run) and as table.tex (booktabs)."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from airtune.files import write_whole
from airtune.results.comparison import Comparison, Entry, mean
from airtune.results.comparison_columns import LABEL, NONE, Column, columns, lost, ratio_text, seconds_text
from airtune.results.formats import amount, duration, number

if TYPE_CHECKING:
    from rich.table import Table

CSV, TEX = "table.csv", "table.tex"


def verdict(comparison: Comparison) -> str:
    """One sentence: which method wins, and by how much."""
    target, winner = number(comparison.target_loss), comparison.winner
    if winner is None:
        return f"No method reaches a test loss of {target}."
    rivals = [entry for entry in comparison.entries if entry is not winner]
    baseline = comparison.best_baseline
    if not rivals:
        seconds = mean(comparison.times(winner).values())
        return f"{winner.label} reaches a test loss of {target} in {seconds_text(seconds)}."
    if baseline is None:
        return f"{winner.label} reaches a test loss of {target} first; no baseline reaches it."
    if winner is not baseline:
        ratio = comparison.ratio(winner, baseline)
        more = _reached(comparison, winner) > _reached(comparison, baseline)
        how = (
            f"in {ratio_text(ratio)} of the time of"
            if ratio
            else "with more seeds than"
            if more
            else "before"
        )
        begin = f"{winner.label} reaches a test loss of {target} {how} {baseline.label}"
        return f"{begin}, the best baseline{_seeds(comparison)}."
    begin = f"{baseline.label}, a baseline, reaches a test loss of {target} first{_seeds(comparison)}"
    others = [(comparison.ratio(entry, baseline), entry) for entry in rivals if not entry.is_baseline]
    found = [(ratio.mean, ratio, entry) for ratio, entry in others if ratio]
    if not found:
        return f"{begin}."
    _, ratio, entry = min(found, key=lambda item: item[0])
    return f"{begin}; {entry.label} takes {ratio_text(ratio)} of its time."


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
            *("metric", "metric_value", *(f"metric_value_{group}" for group in groups)),
            *("bytes_up", "bytes_down", "flops", "energy_j", "lost_updates", "epsilon"),
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
                    *(metric.by_group.get(group) if metric else None for group in groups),
                    *(summary["bytes_up"], summary["bytes_down"], summary["flops"], run.energy_j, lost(run)),
                    run.history.summary.get("epsilon"),
                ]
            )
    return written.getvalue()


def tex_text(comparison: Comparison) -> str:
    """The tables for a paper, one for each group of `columns`; they need the package booktabs."""
    tables = [_tabular(comparison, [LABEL, *group]) for group in columns(comparison)]
    return "\n".join([f"% {verdict(comparison)}", *tables])


def _tabular(comparison: Comparison, shown: list[Column]) -> str:
    rows = [[_tex(column.text(entry)) for column in shown] for entry in comparison.entries]
    lines = [
        rf"\begin{{tabular}}{{l{'r' * (len(shown) - 1)}}}",
        r"\toprule",
        " & ".join(_tex(column.name) for column in shown) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _seeds(comparison: Comparison) -> str:
    count = len(comparison.settings.seeds)
    return f" ({count} seeds)" if count > 1 else " (one seed)"


def _tex(text: str) -> str:
    for character in "&%$#_{}":
        text = text.replace(character, f"\\{character}")
    return text.replace(NONE, "--")
