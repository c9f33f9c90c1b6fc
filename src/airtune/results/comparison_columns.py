"""What a comparison's tables say of each method: a column for every number that people read."""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

from airtune.results.comparison import ComparedRun, Comparison, Entry, Ratio, mean
from airtune.results.formats import amount, duration, number

NONE = "–"

Value = Callable[[ComparedRun], float | None]
Shown = Callable[[float], str]


class Column(NamedTuple):
    """What it is called, an entry's value, by which tables are sorted, and that value as text."""

    name: str
    value: Callable[[Entry], float | str | None]
    text: Callable[[Entry], str]


LABEL = Column("method", lambda entry: entry.label, lambda entry: entry.label)


def columns(comparison: Comparison) -> list[list[Column]]:
    """A table each of what is reached, what of it on client groups' own text, and what it takes."""
    target, baseline = comparison.target_loss, comparison.best_baseline
    metrics = sorted({run.metric.name.replace("_", " ") for run in comparison.runs if run.metric})

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
        return f"{reached} of {len(found)} seeds" if 0 < reached < len(found) else seconds_text(mean(found))

    def ratio(entry: Entry) -> float | None:
        found = comparison.ratio(entry, baseline)
        return found.mean if found else None

    def loss_on(group: str) -> Value:
        return lambda run: run.group_loss.get(group)

    def metric_on(group: str) -> Value:
        return lambda run: run.metric.by_group.get(group) if run.metric else None

    def metric(run: ComparedRun) -> float | None:
        return run.metric.value if run.metric else None

    def on_text_of(groups: str, one: str) -> Iterator[Column]:
        yield over_seeds(f"loss on {groups}", loss_on(one), number)
        for name in metrics:
            yield over_seeds(f"{name} on {groups}", metric_on(one), number)

    reached = [
        Column("time to target", lambda entry: mean(comparison.times(entry).values()), time),
        Column("ratio to baseline", ratio, lambda entry: ratio_text(comparison.ratio(entry, baseline))),
        over_seeds("rounds to target", lambda run: run.to_loss(target, None), lambda value: f"{value:.1f}"),
        over_seeds("final loss", lambda run: run.final_loss, number),
        *(over_seeds(name, metric, number) for name in metrics),
    ]
    own = [
        column
        for column in itertools.chain(*itertools.starmap(on_text_of, comparison.own_texts.items()))
        if any(column.value(entry) is not None for entry in comparison.entries)
    ]
    taken = [
        over_seeds("rounds", lambda run: run.history.summary["rounds"], lambda value: f"{value:.3g}"),
        over_seeds("simulated time", lambda run: run.history.summary["simulated_s"], duration),
        total("bytes up", "bytes_up", "B"),
        total("bytes down", "bytes_down", "B"),
        total("training work", "flops", "FLOP"),
        over_seeds("energy", lambda run: run.energy_j, lambda value: amount(value, "J")),
    ]
    if any("epsilon" in run.history.summary for run in comparison.runs):
        taken.append(over_seeds("epsilon", lambda run: run.history.summary.get("epsilon"), number))
    if any(map(lost, comparison.runs)):
        taken.append(over_seeds("updates lost", lost, lambda value: f"{value:.3g}"))
    return [group for group in (reached, own, taken) if group]


def lost(run: ComparedRun) -> int:
    """How many updates did not come."""
    return run.history.summary.get("lost_updates", 0)


def ratio_text(found: Ratio | None) -> str:
    """A ratio with its interval, a dash where there is none."""
    if found is None:
        return NONE
    if found.low is None or found.high is None:
        return f"{found.mean:.2f}"
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"


def seconds_text(seconds: float | None) -> str:
    """Seconds in the unit that reads best, a dash where there are none."""
    return NONE if seconds is None else duration(seconds)
