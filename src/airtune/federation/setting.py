"""What stays the same for a whole run: scenario, reduction path, curves, method, and who takes part."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from airtune.costs.curves import PathCurves
from airtune.costs.error import Gradients
from airtune.costs.round_time import build_problem
from airtune.federation.gradients import unknown
from airtune.methods import METHODS, Method, Situation
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

    def situation(
        self, channels: Channels, known: Gradients, number: int = 1, pace: Pace = Pace()
    ) -> Situation:
        """What this run's method sees of a round.

        Args:
            known: of the clients' gradients, as the rounds before have measured them.
            pace: of the rounds before, as they were planned.
        """

        def problem(participates: npt.NDArray[np.bool_]) -> Problem:
            return build_problem(self.scenario, self.curves, channels, participates, known)

        return Situation(
            problem, self.participates, number, self.scenario.seed, pace, known, self.scenario.selected
        )

    def unplanned(self, channels: Channels, known: Gradients) -> Plan:
        """FedIT's plan for one round, with everybody in it."""
        everybody = np.ones_like(self.participates)
        return METHODS["fedit"].plan(replace(self.situation(channels, known), allowed=everybody))


def make_setting(scenario: Scenario, measured: MeasuredPath) -> Setting:
    """Choose, on the mean channels, who takes part, and put the fixed part of a run together."""
    curves = measured.curves(scenario.prune_max, scenario.payload)
    method = METHODS[scenario.method]
    everyone = np.ones(len(scenario.members()), dtype=bool)
    mean = build_problem(scenario, curves, draw_channels(scenario, None), everyone, unknown(scenario))
    return Setting(scenario, measured, curves, method, method.select(mean))
