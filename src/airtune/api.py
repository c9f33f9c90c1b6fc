"""The library's two verbs: plan and run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airtune.methods import METHODS
from airtune.observer import Observer
from airtune.planning import Plan, Problem
from airtune.scenario import Scenario

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def plan(problem: Problem | Scenario, method: str = "joint", gap: float = 1e-6) -> Plan:
    """Choose every client's pruning rate and bandwidth.

    Args:
        problem: numbers, or a scenario: then its first round's channels are planned. A scenario's model
            is measured the first time it is planned (a minute, with torch) and read from the cache then.
        method: one of `airtune.methods.METHODS`.
        gap: relative gap at which `joint` stops.

    Raises:
        InfeasibleError: no plan exists; names the client that binds.

    Example:
        >>> import airtune
        >>> chosen = airtune.plan(airtune.Problem.load("problem.json"))
        >>> chosen.total_s, chosen.prune, chosen.bandwidth_hz
    """
    rule = METHODS[method]
    if isinstance(problem, Scenario):
        problem, participates = first_round_problem(problem, method)
    else:
        participates = rule.select(problem)
    return rule.plan(problem, participates, gap)


def first_round_problem(scenario: Scenario, method: str) -> tuple[Problem, npt.NDArray[np.bool_]]:
    """The problem of a scenario's first round, and who takes part under `method`."""
    from airtune.costs.round_time import build_problem
    from airtune.federation.setting import make_setting
    from airtune.pruning.measured import measured_path
    from airtune.radio.channel import draw_channels

    setting = make_setting(scenario.model_copy(update={"method": method}), measured_path(scenario))
    channels = draw_channels(scenario, 1)
    return build_problem(scenario, setting.curves, channels, setting.participates), setting.participates


def run(
    scenario: Scenario, directory: str | Path, resume: bool = False, observer: Observer | None = None
) -> Path:
    """Fine-tune: rounds of planning, local training and merging, with all results in `directory`.

    Args:
        directory: an empty or new folder, or with `resume` one that a killed run of this scenario left.
        observer: told how it goes on.

    Returns:
        The folder.

    Raises:
        AirtuneError: scenario, data, model or folder is not usable.
        InfeasibleError: a round allows no plan.
    """
    from airtune.federation.in_process import run_in_process

    run_in_process(scenario, Path(directory), resume, observer or Observer())
    return Path(directory)
