"""Charts of a comparison with one line or bar a method: loss, planned time, where the time goes."""

from collections.abc import Callable, Sequence

import numpy as np

from airtune.planning import Plan
from airtune.results.charts import (
    LINE_HEIGHT,
    Chart,
    Table,
    cells,
    client_axis,
    new_figure,
    plain,
    round_axis,
    rounded,
)
from airtune.results.client_figures import PATTERNS, SOMETIMES, add_bar
from airtune.results.comparison_curves import add_curves, curve_rows, seeds_note
from airtune.results.contender import Contender, Curve, loss_curve
from airtune.results.formats import number, si_scale, time_scale
from airtune.results.history import Array, History


def loss_over_time(contenders: Sequence[Contender], target: float) -> Chart:
    """Test loss over simulated time, one line a contender."""
    longest = max(history.summary["simulated_s"] for one in contenders for history in one.histories)
    scale, unit = time_scale(longest)
    return _loss_chart(
        contenders,
        target,
        lambda history: history.per_round("clock_s") / scale,
        f"simulated time ({unit})",
        ("loss-time", "Loss over simulated time"),
        "Simulated time is what the modelled devices and links would take.",
    )


def loss_over_bytes(contenders: Sequence[Contender], target: float) -> Chart:
    """Test loss over what the clients have sent, one line a contender."""
    most = max(history.summary["bytes_up"] for one in contenders for history in one.histories)
    scale, unit = si_scale(most, "B")
    return _loss_chart(
        contenders,
        target,
        lambda history: np.cumsum(history.per_round("bytes_up")) / scale,
        f"sent by all clients ({unit})",
        ("loss-bytes", "Loss over bytes sent"),
        "What all clients together have uploaded.",
    )


def _loss_chart(
    contenders: Sequence[Contender],
    target: float,
    x: Callable[[History], Array],
    x_title: str,
    heading: tuple[str, str],
    caption: str,
) -> Chart:
    figure = new_figure(LINE_HEIGHT, x_title, "test loss")
    curves = {one.name: loss_curve(one, x) for one in contenders}
    unit = x_title.partition("(")[2].rstrip(")")
    lines = add_curves(figure, curves, "%{y:.4~r} at %{x:,.4~r} " + unit)
    figure.update_xaxes(rangemode="tozero")
    figure.add_hline(
        y=target,
        line={"color": "var(--text)", "dash": "dash", "width": 1.5},
        annotation={
            "text": f"target {number(target)}",
            "font": {"color": "var(--text)"},
            "x": 0,
            "xanchor": "left",
            "yanchor": "top",
        },
    )
    last = ", ".join(f"{name} {number(float(curve.mean[-1]))}" for name, curve in curves.items())
    return Chart(
        id=heading[0],
        title=heading[1],
        caption=f"{caption} The dashed line is the target loss. {seeds_note(contenders)}",
        label=f"Line chart with the target loss of {number(target)}. Losses at the end: {last}.",
        figure=figure,
        table=Table(
            f"{heading[1]}, by method",
            ["Method", x_title.capitalize(), "Test loss", "Lowest seed", "Highest seed"],
            curve_rows(curves),
        ),
        lines=lines,
    )


def planned_chart(contenders: Sequence[Contender]) -> Chart | None:
    """N·T of every round's plan, one line a contender; None where no plan is on file."""
    planned = {one.name: one.plans for one in contenders if all(one.plans)}
    if not planned:
        return None
    curves = {
        name: Curve.between(
            [(np.arange(1.0, len(plans) + 1), np.array([plan.total_s for plan in plans])) for plans in seeds]
        )
        for name, seeds in planned.items()
    }
    scale, unit = time_scale(max(float(curve.high.max()) for curve in curves.values()))
    curves = {
        name: Curve(curve.x, curve.mean / scale, curve.low / scale, curve.high / scale)
        for name, curve in curves.items()
    }
    figure = new_figure(LINE_HEIGHT, "round", f"planned time N·T ({unit})")
    lines = add_curves(figure, curves, "%{y:,.4~r} " + unit + " in round %{x}")
    round_axis(figure, list(range(1, max(len(curve.x) for curve in curves.values()) + 1)))
    figure.update_yaxes(rangemode="tozero")
    gaps = {name: _gaps(seeds) for name, seeds in planned.items()}
    proven = ", ".join(f"{name} {max(found):.1e}" for name, found in gaps.items() if found)
    first = ", ".join(f"{name} {number(float(curve.mean[0]))} {unit}" for name, curve in curves.items())
    return Chart(
        id="planners",
        title="What the planners promise",
        caption="The time to the planner's own target that each round's plan promises: N rounds of T "
        "seconds, on this round's channels. In round 1 all methods with the same reduction plan for the same "
        "numbers; later each knows the gradients its own rounds have shown. "
        + (f"No plan can be shorter than these by more than this share: {proven}. " if proven else "")
        + seeds_note(contenders),
        label=f"Line chart: planned time of each round. In round 1: {first}.",
        figure=figure,
        table=Table(
            "Plans by method",
            [
                "Method",
                f"N·T in round 1 ({unit})",
                f"Mean N·T ({unit})",
                "Largest relative gap",
                "Median solve time (ms)",
            ],
            [
                [
                    name,
                    *cells([float(curves[name].mean[0]), float(curves[name].mean.mean())]),
                    f"{max(gaps[name]):.1e}" if gaps[name] else "–",
                    number(1e3 * float(np.median([plan.solve_s for plans in seeds for plan in plans]))),
                ]
                for name, seeds in planned.items()
            ],
        ),
        lines=lines,
    )


def time_shares(contenders: Sequence[Contender]) -> Chart:
    """Seconds of an average client by phase, one bar a contender, and when the target was reached."""
    seconds = [one.phase_seconds() for one in contenders]
    names = [name for name in PATTERNS if name not in SOMETIMES or any(one[name] for one in seconds)]
    scale, unit = time_scale(max(sum(one.values()) for one in seconds))
    figure = new_figure(150, f"simulated time ({unit})")
    rows = [one.name for one in contenders]
    for phase in names:
        add_bar(figure, rows, phase, rounded(one[phase] / scale for one in seconds), unit)
    figure.add_scatter(
        x=rounded(one.time_s / scale for one in contenders),
        y=list(range(len(rows))),
        mode="markers",
        name="target",
        customdata=[plain(row) for row in rows],
        hovertemplate="%{customdata}: target after %{x:,.4~r} " + unit + "<extra></extra>",
        marker={
            "symbol": "diamond",
            "size": 13,
            "color": "var(--text)",
            "line": {"color": "var(--surface)", "width": 2},
        },
    )
    client_axis(figure, rows)
    # Names of two lines, whole: the reduction tells two bars apart.
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=[plain(row).replace(" (", "<br>(") for row in rows]
    )
    figure.update_layout(height=190 + 38 * len(rows))
    computing = ", ".join(
        f"{name} {one['compute'] / (sum(one.values()) or 1.0):.0%}"
        for name, one in zip(rows, seconds, strict=True)
    )
    return Chart(
        id="time",
        title="Where the time goes",
        caption="The whole run of an average client, mean of clients and seeds; a bar is as long as its run. "
        "The diamond is where the target loss was reached.",
        label=f"Bar chart: time by phase for each method. Share of computing: {computing}.",
        figure=figure,
        table=Table(
            "Simulated time of an average client over the whole run",
            ["Method", *(f"{phase.capitalize()} ({unit})" for phase in names), f"Target reached ({unit})"],
            [
                [one.name, *cells([*(own[phase] / scale for phase in names), one.time_s / scale])]
                for one, own in zip(contenders, seconds, strict=True)
            ],
        ),
    )


def _gaps(seeds: list[list[Plan]]) -> list[float]:
    return [plan.relative_gap for plans in seeds for plan in plans if plan.relative_gap is not None]
