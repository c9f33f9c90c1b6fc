"""What stays the same for a whole run: scenario, reduction path, curves, method, and who takes part."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from airtune.costs.curves import PathCurves
from airtune.costs.error import Gradients
from airtune.costs.round_time import build_problem
from airtune.federation.gradients import unknown
from airtune.methods import METHODS, Method
from airtune.planning import Pace, Plan, Problem
from airtune.pruning.measured import MeasuredPath
from airtune.radio.channel import Channels, draw_channels
from airtune.scenario import Scenario


@dataclass(frozen=True)
class Setting:
    """The fixed part of a run. `participates` (clients,): who the method lets take part for good."""

    scenario: Scenario
    measured: MeasuredPath
    curves: PathCurves
    method: Method
    participates: npt.NDArray[np.bool_]

    def plan(
        self,
        channels: Channels,
        known: Gradients,
        method: Method | None = None,
        gap: float = 1e-6,
        pace: Pace = Pace(),
    ) -> Plan:
        """This run's plan for one round, or that of another `method` with everybody in it.

        Args:
            known: of the clients' gradients, as the rounds before have measured them.
            pace: of the rounds before, as they were planned.
        """
        participates = self.participates if method is None else np.ones_like(self.participates)
        problem = self.problem(channels, known, participates)
        return (method or self.method).plan(problem, participates, gap, pace)

    def problem(self, channels: Channels, known: Gradients, participates: npt.NDArray[np.bool_]) -> Problem:
        """The numbers of one round in which the clients of `participates` (clients,) take part."""
        return build_problem(self.scenario, self.curves, channels, participates, known)


def make_setting(scenario: Scenario, measured: MeasuredPath) -> Setting:
    """Choose, on the mean channels, who takes part, and put the fixed part of a run together."""
    curves = measured.curves(scenario.prune_max, scenario.payload)
    method = METHODS[scenario.method]
    everyone = np.ones(len(scenario.members()), dtype=bool)
    mean = build_problem(scenario, curves, draw_channels(scenario, None), everyone, unknown(scenario))
    return Setting(scenario, measured, curves, method, method.select(mean))
