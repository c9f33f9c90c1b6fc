"""A plan as people read it: what every client does, what binds it, and what would help."""

from collections.abc import Sequence

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from airtune.planning import Plan
from airtune.planning.explain import Explanation
from airtune.results.formats import si_scale

_SHOWN, _CELLS_SHOWN = 20, 5
# Clients: beyond, answers to "what if" are the multipliers', or they would take seconds.
_PLANNED_ANEW, _CELLS_PLANNED_ANEW = 100, 2000
_MEGAHERTZ = 1e6
_NOTHING = 3e-6  # of N·T: savings that a plan's own gap could hide


def plan_table(plan: Plan, why: Explanation | None) -> Table:
    """One client a row; of many clients those that matter most."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("client", overflow="fold")
    table.add_column("pruning rate", justify="right")
    for name in ("bandwidth", "upload", "round"):
        table.add_column(name, justify="right", no_wrap=True)
    if why is not None:
        table.add_column("bound by", overflow="fold")
        table.add_column("twice as fast\nsaves", justify="right", no_wrap=True)
    for k in _shown(plan, why):
        table.add_row(escape(plan.ids[k]), *_cells(plan, why, k))
    return table


def plan_lines(plan: Plan, why: Explanation | None) -> list[str]:
    """What stands below the table."""
    lines = []
    if len(plan.ids) > _SHOWN:
        left_out = int((~plan.participates).sum())
        some = f", {left_out} of all left out" if left_out else ""
        lines.append(f"and {len(plan.ids) - _SHOWN} more clients{some}; --json shows all")
    if why is not None and not plan.participates.all():
        lines.append(
            f"left out: {int((~plan.participates).sum())} of {len(plan.ids)}, if drop_error is right"
        )
    rounds = f"{plan.rounds:.1f} rounds of {plan.round_s:.2f} s"
    lines.append(f"{plan.method}: {rounds}, {plan.total_s:.1f} s in all")
    if plan.lower_bound_s is not None and plan.relative_gap is not None:
        lines.append(f"no plan needs less than {plan.lower_bound_s:.1f} s (gap {plan.relative_gap:.1e})")
    if plan.round_lower_bound_s is not None:
        gap = 1.0 - plan.round_lower_bound_s / plan.round_s if plan.round_s > 0 else 0.0
        bound = f"{plan.round_lower_bound_s:.2f} s (gap {gap:.1e})"
        lines.append(f"no round within the error budget is shorter than {bound}")
    return lines + ([] if why is None else _bandwidth_lines(why))


def _shown(plan: Plan, why: Explanation | None) -> Sequence[int]:
    """Clients of the largest multipliers, or the last to finish, in the plan's order."""
    matters = plan.client_round_s if why is None else why.second_s
    return sorted(np.argsort(-matters, kind="stable")[:_SHOWN].tolist())


def _cells(plan: Plan, why: Explanation | None, k: int) -> list[str]:
    if not plan.participates[k]:
        return ["left out"]
    factor, unit = _hertz(float(plan.bandwidth_hz.max()))
    found = [
        f"{plan.prune[k]:.3f}",
        f"{plan.bandwidth_hz[k] / factor:.3f} {unit}",
        f"{plan.uplink_s[k]:.2f} s",
        f"{plan.client_round_s[k]:.2f} s",
    ]
    if why is None:
        return found
    binds = ", ".join(why.binds[k]).replace("full", "full model")
    if _few(why) and (why.speed_s[k] > 0 or why.problem.compute_s[k] > 0):
        saved, about = why.saved_by_speed(k), ""
    else:
        saved, about = float(why.speed_s[k]), "≈ "
    return [*found, binds or "nothing, waits", _saving(plan, saved, about)]


def _bandwidth_lines(why: Explanation) -> list[str]:
    """What one more MHz (or kHz, in small cells) would save, cell by cell from the dearest down."""
    lines = []
    order = np.argsort(-why.hertz_s, kind="stable")
    used = [int(cell) for cell in order if (why.problem.cell == cell).any()]
    for cell in used[:_CELLS_SHOWN]:
        more, unit = _hertz(float(why.problem.bandwidth_hz[cell]))
        if len(why.binds) <= _CELLS_PLANNED_ANEW:
            saved, about = why.saved_by_bandwidth(cell, more), ""
        else:
            saved, about = float(why.hertz_s[cell]) * more, "≈ "
        saving = _saving(why.plan, saved, about)
        lines.append(f"one more {unit} in {why.problem.cell_ids[cell]} saves {saving}")
    if len(used) > _CELLS_SHOWN:
        lines.append(f"and less in {len(used) - _CELLS_SHOWN} more cells")
    return lines


def _hertz(largest: float) -> tuple[float, str]:
    """The unit for bandwidths up to `largest`: MHz, or what is smaller where they are."""
    return si_scale(min(largest, _MEGAHERTZ), "Hz")


def _few(why: Explanation) -> bool:
    return len(why.binds) <= _PLANNED_ANEW


def _saving(plan: Plan, seconds: float, about: str) -> str:
    if seconds <= _NOTHING * plan.total_s:
        return "nothing"
    amount = f"{seconds:,.0f}" if seconds >= 1000 else f"{seconds:.3g}"
    return f"{about}{amount} s ({100 * seconds / plan.total_s:.2g} %)"
