"""What stays the same for a whole run: scenario, reduction path, curves, method, and who takes part."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from airtune.costs.curves import PathCurves
from airtune.costs.error import Gradients
from airtune.costs.round_time import bound_to, build_problem
from airtune.errors import AirtuneError
from airtune.federation.gradients import unknown
from airtune.methods import METHODS, Method, Situation
from airtune.planning import Pace, Plan, Problem
from airtune.pruning.measured import MeasuredPath
from airtune.pruning.path import Reduction
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

        Raises:
            AirtuneError: all who may take part are known to be out.
        """

        own, scenario = self.submodels(number), self.scenario
        known_out = [scenario.faults.is_known_out(one.names, number) for one in scenario.members()]
        allowed = self.participates & ~np.array(known_out)
        if not allowed.any():
            raise AirtuneError(f"round {number}: nobody is left, all who may take part are out")

        def problem(
            participates: npt.NDArray[np.bool_], weight: npt.NDArray[np.float64] | None = None
        ) -> Problem:
            return self._problem(channels, known, participates, own, weight)

        return Situation(
            problem,
            allowed,
            number,
            scenario.seed,
            pace,
            known,
            scenario.selected,
            bandwidth=scenario.bandwidth,
        )

    def unplanned(self, channels: Channels, known: Gradients) -> Plan:
        """FedIT's plan for one round, with everybody in it."""
        everybody = np.ones_like(self.participates)
        return METHODS["fedit"].plan(Situation.of(self._problem(channels, known, everybody)))

    def submodels(self, number: int) -> Sequence[Reduction] | None:
        """(clients,) what each is to train in a round; None where the plan's pruning rates tell that."""
        if self.method.submodels is None:
            return None
        everybody, mean = np.ones_like(self.participates), draw_channels(self.scenario, None)

        def priced(reduction: Reduction) -> Problem:
            alike = [reduction] * len(everybody)
            return self._problem(mean, unknown(self.scenario), everybody, alike)

        return self.method.submodels(self.measured.path.full, priced, number)

    def _problem(
        self,
        channels: Channels,
        known: Gradients,
        participates: npt.NDArray[np.bool_],
        own: Sequence[Reduction] | None = None,
        weight: npt.NDArray[np.float64] | None = None,
    ) -> Problem:
        """The numbers of a round, of sub-models along the path or of their `own`."""
        problem = build_problem(self.scenario, self.curves, channels, participates, known, weight)
        if own is None:
            return problem
        # Many clients have the same one.
        costs = {id(one): self.measured.costs(one, self.scenario.payload) for one in own}
        return bound_to(problem, self.scenario, channels, participates, [costs[id(one)] for one in own])


def make_setting(scenario: Scenario, measured: MeasuredPath) -> Setting:
    """Choose, on the mean channels, who takes part, and put the fixed part of a run together.

    Raises:
        InputError: the scenario is none for its method.
    """
    curves = measured.curves(scenario.prune_max, scenario.payload)
    method = METHODS[scenario.method]
    method.check(scenario)
    everyone = np.ones(len(scenario.members()), dtype=bool)
    mean = build_problem(scenario, curves, draw_channels(scenario, None), everyone, unknown(scenario))
    return Setting(scenario, measured, curves, method, method.select(mean))
