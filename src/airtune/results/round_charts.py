"""Charts with one value per round: loss, loss by group, planned and clocked round time."""

import numpy as np

from airtune.results.charts import LINE_HEIGHT, MARKS, Chart, Table, add_line, cells, new_figure, round_axis
from airtune.results.events import waits_for_all
from airtune.results.formats import duration, number, time_scale
from airtune.results.history import Array, History

RUN = ("accent", "circle", "solid")
CONTRAST = ("contrast", "diamond-open", "dash")


def loss_chart(history: History) -> Chart:
    """Test loss over simulated time.

    Where every round waits for all, also on the clock of equal bandwidth without pruning.
    """
    losses = np.concatenate([[history.start["loss"]], history.per_round("loss")])
    clocks = {"Simulated time": np.concatenate([[0.0], history.per_round("clock_s")])}
    caption = "Simulated time is what the modelled devices and links would take."
    label = f"Line chart: test loss goes from {number(losses[0])} to {number(losses[-1])} in "
    label += f"{duration(clocks['Simulated time'][-1])}."
    if waits_for_all(history.start, history.rounds):
        equal = np.concatenate([[0.0], np.cumsum(history.per_round("fedit_s"))])
        clocks["Equal bandwidth, no pruning"] = equal
        caption += (
            " The dashed line puts the same losses on the clock that equal bandwidth without pruning would "
            "have needed for the same rounds; a round without pruning might have taught the model more."
        )
        label += f" The same rounds at equal bandwidth without pruning take {duration(equal[-1])}."
    scale, unit = time_scale(max(clock[-1] for clock in clocks.values()))
    figure = new_figure(LINE_HEIGHT, f"simulated time ({unit})", "test loss")
    hover = "%{fullData.name}: %{y:.4~r} after %{x:,.4~r} " + unit
    lines = (("this run", RUN), ("equal bandwidth, no pruning", CONTRAST))
    for clock, (name, style) in zip(clocks.values(), lines, strict=False):
        add_line(figure, name, clock / scale, losses, style, hover)
    figure.update_xaxes(rangemode="tozero")
    rows = zip([0, *history.numbers], losses, *(clock / scale for clock in clocks.values()), strict=True)
    return Chart(
        id="loss",
        title="Loss over simulated time",
        caption=caption,
        label=label,
        figure=figure,
        table=Table(
            "Test loss after each round",
            ["Round", "Test loss", *(f"{name} ({unit})" for name in clocks)],
            [[str(round_number), *cells(values)] for round_number, *values in rows],
        ),
    )


def group_loss_chart(history: History) -> Chart | None:
    """Test loss on the text of each client group's labels; None where it was not measured."""
    measured = [event.get("group_loss", {}) for event in history.rounds]
    groups = list(dict.fromkeys(group for losses in measured for group in losses))
    if not groups:
        return None
    figure = new_figure(LINE_HEIGHT, "round", "test loss")
    round_axis(figure, history.numbers)
    by_group = {group: np.array([losses.get(group, np.nan) for losses in measured]) for group in groups}
    for index, (group, losses) in enumerate(by_group.items()):
        hover = "%{fullData.name}: %{y:.4~r} after round %{x}"
        add_line(figure, group, np.array(history.numbers), losses, MARKS[index % len(MARKS)], hover)
    last = ", ".join(f"{group} {cells(losses)[-1]}" for group, losses in by_group.items())
    rows = zip(history.numbers, *by_group.values(), strict=True)
    return Chart(
        id="group-loss",
        title="Loss by client group",
        caption="Test loss on text with the labels that each group of clients holds. Where a group stays "
        "behind, the model does not learn what only this group knows.",
        label=f"Line chart: test loss by group after the last round: {last}.",
        figure=figure,
        table=Table(
            "Test loss by client group after each round",
            ["Round", *groups],
            [[str(round_number), *cells(losses)] for round_number, *losses in rows],
        ),
    )


def round_time_chart(history: History) -> Chart:
    """What the planner predicted for each round and what the simulated clock then showed."""
    planned, clocked = history.per_round("planned_s"), history.per_round("round_s")
    scale, unit = time_scale(max(planned.max(), clocked.max()))
    figure = new_figure(LINE_HEIGHT, "round", f"round time ({unit})")
    hover = "%{fullData.name}: %{y:,.4~r} " + unit + " in round %{x}"
    add_line(figure, "clocked", np.array(history.numbers), clocked / scale, RUN, hover)
    add_line(figure, "planned", np.array(history.numbers), planned / scale, CONTRAST, hover)
    figure.update_yaxes(rangemode="tozero")
    round_axis(figure, history.numbers)
    excess = _excess(planned, clocked)
    rows = zip(history.numbers, planned / scale, clocked / scale, excess, strict=True)
    return Chart(
        id="round-time",
        title="Planned and clocked round time",
        caption="The planner predicts each round from cost curves; the clock counts what the clients then "
        "did. Where the two part, the plan rests on wrong numbers.",
        label=f"Line chart: planned and clocked time of {len(clocked)} rounds; together they were planned to "
        f"take {duration(planned.sum())} and took {duration(clocked.sum())}.",
        figure=figure,
        table=Table(
            "Planned and clocked time of each round",
            ["Round", f"Planned ({unit})", f"Clocked ({unit})", "Clocked over planned (%)"],
            [
                [str(round_number), *cells(seconds), f"{percent:+.1f}"]
                for round_number, *seconds, percent in rows
            ],
        ),
    )


def _excess(planned: Array, clocked: Array) -> Array:
    """(R,) by how many percent the clock exceeds the plan; 0 where nothing was planned."""
    return 100 * np.divide(clocked - planned, planned, out=np.zeros_like(planned), where=planned > 0)
