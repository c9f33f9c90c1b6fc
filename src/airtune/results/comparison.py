"""A comparison's runs, and what they say: time to a target loss, ratios to the best baseline, totals."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from airtune.comparison_file import METRIC, Job, Settings, jobs_of
from airtune.errors import AirtuneError, InputError, words
from airtune.learning.partition import held_labels
from airtune.learning.tasks.answers import Metric
from airtune.methods import METHODS
from airtune.misfits import first_error
from airtune.randomness import generator
from airtune.results.events import EVENTS_FILE, read_events
from airtune.results.history import History
from airtune.scenario import Scenario
from airtune.scenario_file import SCENARIO, load_scenario

Array = npt.NDArray[np.float64]

RESAMPLES, LEVEL = 10_000, 0.95
_METRIC = TypeAdapter(Metric)
REFERENCE = "fedit"  # its final loss is the target, unless one is given


@dataclass(frozen=True)
class ComparedRun:
    """A run that has ended, in its folder."""

    job: Job
    directory: Path
    history: History
    metric: Metric | None

    @property
    def final_loss(self) -> float:
        """Test loss after the last round."""
        return self.history.summary["loss_after"]

    @property
    def group_loss(self) -> dict[str, float]:
        """Test loss on the text like each client group's own, where groups have their own."""
        return self.history.rounds[-1].get("group_loss", {}) if self.history.rounds else {}

    @property
    def energy_j(self) -> float | None:
        """What clients spent on computing and sending (`costs.energy`); None if it is not known."""
        return self.history.summary.get("energy_j")

    def to_loss(self, target: float, field: str | None) -> float | None:
        """The sum of a round's `field` ("round_s", "bytes_up", ...) until the test loss is `target`.

        Linear between rounds; None if it is never reached or a round has no such field, 0 if it was there
        before the first round.

        Args:
            field: None counts the rounds themselves.
        """
        if field is not None and not all(field in event for event in self.history.rounds):
            return None
        loss = np.array([self.history.start["loss"], *self.history.per_round("loss")])
        each = np.ones(len(loss) - 1) if field is None else self.history.per_round(field)
        spent = np.concatenate([[0.0], np.cumsum(each)])
        below = np.flatnonzero(loss <= target)
        if not len(below):
            return None
        end = int(below[0])
        if end == 0:
            return 0.0
        share = (loss[end - 1] - target) / (loss[end - 1] - loss[end])
        return float(spent[end - 1] + share * (spent[end] - spent[end - 1]))


@dataclass(frozen=True)
class Ratio:
    """A geometric mean of ratios over seeds, and its confidence interval where there are several seeds."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Entry:
    """One method with one reduction and one way to share bandwidth: its runs, by seed."""

    method: str
    reduction: str
    bandwidth: str
    runs: tuple[ComparedRun, ...]

    @property
    def label(self) -> str:
        """`fedit`, `joint (examples)` where reductions matter, `uniform (depth, optimal bandwidth)`."""
        told = [] if self.is_baseline else [self.reduction]
        told += ["optimal bandwidth"] if self.bandwidth == "optimal" else []
        return f"{self.method} ({', '.join(told)})" if told else self.method

    @property
    def is_baseline(self) -> bool:
        """Whether the method plans no pruning rates (`airtune.methods.Method.baseline`)."""
        return METHODS[self.method].baseline


@dataclass(frozen=True)
class Comparison:
    """The runs of a comparison's folder that have ended.

    Attributes:
        scenario: as given.
        settings: as given.
        runs: in the order of the settings' methods, reductions, bandwidth and seeds.
        missing: names of the runs that have not ended.
        target_loss: the one asked for, or that of `automatic_target`.
    """

    scenario: Scenario
    settings: Settings
    runs: tuple[ComparedRun, ...]
    missing: tuple[str, ...]
    target_loss: float

    @staticmethod
    def load(directory: str | Path) -> "Comparison":
        """Read a comparison's folder.

        Raises:
            InputError: it is not one, or a file in it is damaged.
            AirtuneError: no run has ended.
        """
        directory = Path(directory)
        settings, scenario = Settings.load(directory), load_scenario(directory / SCENARIO)
        runs, missing = [], []
        for job in sorted(jobs_of(settings, scenario), key=lambda job: _place(settings, job)):
            run = job.folder(directory)
            if not (run / "summary.json").exists():
                missing.append(job.name)
                continue
            history = History.of(read_events(run / EVENTS_FILE))
            runs.append(ComparedRun(job, run, history, _metric(run / METRIC)))
        if not runs:
            raise AirtuneError(f"{directory}: no run of this comparison has ended")
        given = settings.target_loss
        target = automatic_target(runs) if given == "auto" else given
        return Comparison(scenario, settings, tuple(runs), tuple(missing), target)

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The runs by all but their seed."""
        found: dict[tuple[str, str, str], list[ComparedRun]] = {}
        for run in self.runs:
            found.setdefault((run.job.method, run.job.reduction, run.job.bandwidth), []).append(run)
        return tuple(Entry(*key, tuple(runs)) for key, runs in found.items())

    @cached_property
    def own_texts(self) -> dict[str, str]:
        """The first of the client groups that hold the same labels, by all their names, `tx2/orin/laptop`.

        The test text with these labels is their own; the group stands for all in what was measured on it.
        """
        sharing: dict[frozenset[str], list[str]] = {}
        for group, labels in held_labels(self.scenario).items():
            sharing.setdefault(labels, []).append(group)
        return {"/".join(groups): groups[0] for groups in sharing.values()}

    def times(self, entry: Entry) -> dict[int, float | None]:
        """Simulated seconds to the target loss, by seed; None where it is not reached."""
        return {run.job.seed: run.to_loss(self.target_loss, "round_s") for run in entry.runs}

    @cached_property
    def best_baseline(self) -> Entry | None:
        """The baseline that reaches the target with the most seeds, and among those the fastest."""
        return self._fastest([entry for entry in self.entries if entry.is_baseline])

    @cached_property
    def winner(self) -> Entry | None:
        """The fastest of all, by the same rule."""
        return self._fastest(self.entries)

    def ratio(self, entry: Entry, other: Entry | None) -> Ratio | None:
        """Time to target over that of `other`, paired by seed.

        The geometric mean over seeds; its interval is a percentile bootstrap over seeds (Efron and
        Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). None where `entry` misses the target
        with a seed with which `other` reaches it, or no seed is left.
        """
        if other is None:
            return None
        ratios = paired_ratios(self.times(entry), self.times(other))
        if not ratios:
            return None
        logs = np.log(ratios)
        if len(logs) == 1:
            return Ratio(float(ratios[0]), None, None)
        draw = generator(self.scenario.seed, "bootstrap", entry.method, entry.reduction)
        means = logs[draw.integers(0, len(logs), (RESAMPLES, len(logs)))].mean(axis=1)
        low, high = np.exp(np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
        return Ratio(float(np.exp(logs.mean())), float(low), float(high))

    def _fastest(self, entries: Sequence[Entry]) -> Entry | None:
        def order(entry: Entry) -> tuple[int, float]:
            return rank(self.times(entry).values())

        reaching = [entry for entry in entries if order(entry)[0] < 0]
        return min(reaching, key=order) if reaching else None


def rank(times: Iterable[float | None]) -> tuple[int, float]:
    """Least for what reaches a target with the most seeds, and then in the least geometric mean of times."""
    found = [seconds for seconds in times if seconds is not None]
    return -len(found), float(np.mean(np.log(np.maximum(found, 1e-12)))) if found else np.inf


def paired_ratios(own: Mapping[int, float | None], base: Mapping[int, float | None]) -> list[float]:
    """`own` over `base` for each seed of `base`; none where one of these misses in `own`."""
    ratios = []
    for seed, seconds in base.items():
        mine = own.get(seed)
        if not seconds:
            continue
        if not mine:
            return []
        ratios.append(mine / seconds)
    return ratios


def automatic_target(runs: Sequence[ComparedRun]) -> float:
    """The loss that FedIT ends with, the highest over seeds.

    Without FedIT that of the method and reduction which end highest.
    """
    reference = [run for run in runs if run.job.method == REFERENCE]
    return max(run.final_loss for run in reference or runs)


def _place(settings: Settings, job: Job) -> tuple[int, int, bool, int]:
    reductions = [*settings.reductions, job.reduction]  # what prunes nothing has the scenario's
    method, seed = settings.methods.index(job.method), settings.seeds.index(job.seed)
    return method, reductions.index(job.reduction), job.bandwidth == "optimal", seed


def _metric(file: Path) -> Metric | None:
    try:
        return _METRIC.validate_python(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise first_error(file, error) from error
    except (OSError, ValueError) as error:
        raise InputError(file, "", words(type(error).__name__), "a metric of airtune") from error


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of what is there; None if a value is missing, or there is none."""
    found = list(values)
    there = [value for value in found if value is not None]
    return float(np.mean(there)) if there and len(there) == len(found) else None
