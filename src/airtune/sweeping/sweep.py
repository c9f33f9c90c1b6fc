"""A comparison at other values of compute, bandwidth, heterogeneity and number of clients, untrained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from airtune.costs.error import Gradients
from airtune.errors import InputError, words
from airtune.federation.folder import RunFolder
from airtune.federation.setting import make_setting
from airtune.methods import METHODS
from airtune.pruning.measured import MeasuredPath
from airtune.results.comparison import ComparedRun, Comparison, paired_ratios, rank
from airtune.results.event_schema import RoundEvent
from airtune.scenario import Scenario
from airtune.sweeping.axes import CLIENTS, Axes, scenario_at
from airtune.sweeping.clocks import clock_elsewhere, learnt_keys
from airtune.sweeping.predictions import for_fleet, predicted_s

Label = tuple[str, str, str]  # method, reduction and bandwidth


@dataclass(frozen=True)
class Times:
    """Simulated seconds to a target, by label and by seed; None where it is not reached."""

    by: Mapping[Label, Mapping[int, float | None]]

    @cached_property
    def best_baseline(self) -> Label | None:
        """The one that reaches the target with the most seeds, and among those the fastest."""
        return self._fastest(baselines=True)

    @cached_property
    def winner(self) -> Label | None:
        """The fastest of all, by the same rule."""
        return self._fastest(baselines=False)

    def ratio(self, label: Label) -> float | None:
        """Time over that of the best baseline, the geometric mean over seeds."""
        if self.best_baseline is None:
            return None
        ratios = paired_ratios(self.by[label], self.by[self.best_baseline])
        return float(np.exp(np.log(ratios).mean())) if ratios else None

    def _fastest(self, baselines: bool) -> Label | None:
        found = {
            label: rank(seconds.values())
            for label, seconds in self.by.items()
            if METHODS[label[0]].baseline or not baselines
        }
        reaching = [label for label, (missed, _) in found.items() if missed < 0]
        return min(reaching, key=lambda label: found[label]) if reaching else None


@dataclass(frozen=True)
class Point:
    """One value of one axis.

    Attributes:
        clocked: times to the comparison's target; none for another number of clients.
        kept: (*label, seed) of runs whose schedule is that learnt elsewhere (`clocks.Clocked`).
        predicted: times to the planner's own target.
    """

    axis: str
    value: float
    clocked: Times
    kept: frozenset[tuple[str, str, str, int]]
    predicted: Times


@dataclass(frozen=True)
class Sweep:
    """The comparison that was learnt, and its points by axis and value. `left_out` are methods not swept."""

    comparison: Comparison
    points: tuple[Point, ...]
    left_out: tuple[str, ...]

    @property
    def axes(self) -> dict[str, list[Point]]:
        """The points of each axis."""
        axes = dict.fromkeys(point.axis for point in self.points)
        return {axis: [point for point in self.points if point.axis == axis] for axis in axes}


def play_sweep(
    directory: Path, axes: Axes, on_point: Callable[[int, int], None] = lambda done, of: None
) -> Sweep:
    """Clock and plan the runs of a comparison's folder at every value of every axis.

    Args:
        on_point: told how many of how many points are done.

    Raises:
        InputError: the folder is no comparison's, or a value has no meaning in its scenario.
        AirtuneError: no run has ended.
    """
    comparison = Comparison.load(directory)
    if not comparison.scenario.faults.none:
        # Who is late, and how long a round waits in vain, would be others on other devices.
        raise InputError(comparison.scenario.name, "faults", words("some"), "none, where devices are swept")
    places = [(axis, value) for axis, values in axes.values.items() for value in values]
    for place in places:
        scenario_at(comparison.scenario, *place)  # rather now than after minutes
    waiting = [run for run in comparison.runs if METHODS[run.job.method].buffer is None]
    left_out = {run.job.method: None for run in comparison.runs if run not in waiting}
    seeds = dict.fromkeys(run.job.seed for run in waiting)
    clocks = any(axis != CLIENTS for axis, _ in places)  # to find what was learnt takes a plan a round
    learnt = [
        _Seed.of(comparison, [run for run in waiting if run.job.seed == seed], clocks) for seed in seeds
    ]
    points = []
    for done, place in enumerate(places):
        on_point(done, len(places))
        points.append(_point(learnt, *place))
    on_point(len(places), len(places))
    return Sweep(comparison, tuple(points), tuple(left_out))


@dataclass(frozen=True)
class _Run:
    run: ComparedRun
    scenario: Scenario
    measured: MeasuredPath


@dataclass(frozen=True)
class _Seed:
    """The runs of one seed, the rounds they have learnt, and what they know of gradients by their end."""

    runs: list[_Run]
    target: float
    known: Gradients | None
    rounds: Mapping[str, RoundEvent]

    @staticmethod
    def of(comparison: Comparison, runs: list[ComparedRun], clocks: bool) -> "_Seed":
        own: list[_Run] = []
        rounds: dict[str, RoundEvent] = {}
        for run in runs:
            scenario = run.job.scenario(comparison.scenario)
            measured = RunFolder(run.directory).measured_path(scenario)
            own.append(_Run(run, scenario, measured))
            if clocks:
                rounds |= learnt_keys(make_setting(scenario, measured), run.history)
        known = [_known(run) for run in runs]
        # Whoever leaves clients out knows less: the most complete knowledge serves all.
        most = max((one for one in known if one), key=lambda one: int((one.apart > 0).sum()), default=None)
        return _Seed(own, comparison.target_loss, most, rounds)


def _known(run: ComparedRun) -> Gradients | None:
    """The gradients as measured by a run's end."""
    measured = [event["gradients"] for event in run.history.rounds if "gradients" in event]
    return Gradients.from_fields(dict(measured[-1])) if measured else None


def _point(seeds: list[_Seed], axis: str, value: float) -> Point:
    clocked: dict[Label, dict[int, float | None]] = {}
    predicted: dict[Label, dict[int, float | None]] = {}
    kept = set()
    for seed in seeds:
        for one in seed.runs:
            job = one.run.job
            label = job.method, job.reduction, job.bandwidth
            scenario = scenario_at(one.scenario, axis, value)
            setting = make_setting(scenario, one.measured)
            if axis != CLIENTS:
                found = clock_elsewhere(one.run.history, setting, seed.rounds, seed.target)
                seconds = replace(one.run, history=found.history).to_loss(seed.target, "round_s")
                clocked.setdefault(label, {})[job.seed] = seconds
                if not found.own:
                    kept.add((*label, job.seed))
            if seed.known is not None:
                before, now = ([member.group for member in sc.members()] for sc in (one.scenario, scenario))
                known = for_fleet(seed.known, before, now) if axis == CLIENTS else seed.known
                predicted.setdefault(label, {})[job.seed] = predicted_s(setting, known)
    return Point(axis, value, Times(clocked), frozenset(kept), Times(predicted))
