"""Runs in experiment trackers: numbers of events.jsonl, copied to TensorBoard or MLflow as they are written.

A logger never sees more than the events: it is told that there are new ones, and copies the rounds that its
log does not have yet. So a run that goes on, or has gone on without a logger for a while, ends with every
round in its log once.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from airtune.errors import AirtuneError, ArgumentError
from airtune.observer import CompareObserver, Observer
from airtune.plain_yaml import read_plain_yaml
from airtune.results.event_schema import RoundEvent, StartEvent
from airtune.results.events import EVENTS_FILE, read_events, round_events, start_event
from airtune.results.trainings import PHASES, seconds_in
from airtune.scenario_file import SCENARIO

LOGGERS = ("tensorboard", "mlflow")

Scalars = Mapping[str, float]


class Log(Protocol):
    """One run in a tracker."""

    def write(self, round_number: int, clock_s: float, scalars: Scalars) -> None:
        """Put a round's numbers there, unless they are; it ended at `clock_s` of the simulated clock."""

    def flush(self) -> None:
        """Make what was written visible."""

    def close(self, finished: bool) -> None:
        """Nothing more is written for now; `finished` if the run has ended."""


def new_log(kind: str, directory: Path, start: StartEvent, scenario: str) -> Log:
    """The log of the run in a folder, with its scenario, a YAML text, as parameters."""
    parameters = dict(flat(read_plain_yaml(scenario, SCENARIO)))
    if kind == "tensorboard":
        from airtune.results.tensorboard_log import TensorBoardLog

        return TensorBoardLog(directory, scenario, parameters)
    from airtune.results.mlflow_log import MlflowLog

    return MlflowLog(directory, start["scenario"], parameters)


def check_logger(kind: str) -> None:
    """Whether there is such a logger.

    Raises:
        ArgumentError: there is none of that name.
        AirtuneError: its package is not installed.
    """
    if kind not in LOGGERS:
        raise ArgumentError("log", kind, " or ".join(LOGGERS))
    if kind == "tensorboard":
        from airtune.results.tensorboard_log import check_installed
    else:
        from airtune.results.mlflow_log import check_installed
    check_installed()


class RunLogger(Observer, AbstractContextManager["RunLogger"]):
    """Copies a run's events as they come, and what is left when it is done with."""

    def __init__(self, kind: str, directory: Path) -> None:
        self._kind, self._directory = kind, directory
        self._log: Log | None = None
        self._written = -1

    def on_start(self, event: dict[str, Any], rounds_done: int) -> None:
        """Begins the log, or brings it up to date."""
        self.copy()

    def on_round(self, event: dict[str, Any]) -> None:
        """Copies the round."""
        self.copy()

    def copy(self) -> bool:
        """Bring the log up to date; whether the run has ended."""
        events = read_events(self._directory / EVENTS_FILE)
        start = start_event(events)
        if self._log is None:
            scenario = (self._directory / SCENARIO).read_text(encoding="utf-8")
            self._log = new_log(self._kind, self._directory, start, scenario)
            self._log.write(0, 0.0, {"test_loss": start["loss"]})
            self._written = 0
        for event in round_events(events):
            if event["round"] > self._written:
                self._log.write(event["round"], event["clock_s"], scalars(event))
                self._written = event["round"]
        self._log.flush()
        return any(event["event"] == "end" for event in events)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        elif self._log is not None:
            with suppress(Exception):  # what ended the run is what has to be told
                self._finish()

    def _finish(self) -> None:
        if (self._directory / EVENTS_FILE).exists():
            finished = self.copy()
            assert self._log is not None
            self._log.close(finished)


class RunsLogger(CompareObserver, AbstractContextManager["RunsLogger"]):
    """Copies the runs of a comparison, each when it has ended, and tells `observer` what it is told.

    A run that cannot be copied stops no other. When this is left, it raises an AirtuneError that names them,
    unless something else has gone wrong.
    """

    def __init__(self, kind: str, runs: Path, observer: CompareObserver) -> None:
        self._kind, self._runs, self._observer = kind, runs, observer
        self._failed: dict[str, AirtuneError | OSError] = {}

    def on_start(self, rounds: int) -> None:
        """Copies what has ended before."""
        self._observer.on_start(rounds)
        for summary in sorted(self._runs.glob("*/summary.json")):
            self._copy(summary.parent)

    def on_progress(self, rounds: int, running: Any) -> None:
        """Tells it."""
        self._observer.on_progress(rounds, running)

    def on_end(self, job: str, reason: str | None) -> None:
        """Copies the job's run."""
        self._observer.on_end(job, reason)
        if reason is None:
            self._copy(self._runs / job)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._failed:
            first = next(iter(self._failed.values()))
            raise AirtuneError(
                f"{first}; not logged: {', '.join(self._failed)}; to log them, compare again"
            ) from first

    def _copy(self, run: Path) -> None:
        try:
            with RunLogger(self._kind, run):
                pass
        except (AirtuneError, OSError) as error:
            self._failed[run.name] = error


def scalars(event: RoundEvent) -> dict[str, float]:
    """A round's numbers by name; what is a client's or a group's under its id."""
    found = {
        "test_loss": event["loss"],
        "seconds/round": event["round_s"],
        "seconds/planned": event["planned_s"],
        "seconds/simulated": event["clock_s"],
        "seconds/elapsed": event["elapsed_s"],
        "bytes/up": event["bytes_up"],
        "bytes/down": event["bytes_down"],
        "flops": event["flops"],
        "participants": len(event["clients"]),
        "lost_updates": len(event.get("lost", [])),
    }
    if "energy_j" in event:
        found["energy_j"] = event["energy_j"]
    found |= {f"test_loss_of_group/{group}": loss for group, loss in event.get("group_loss", {}).items()}
    for client in event["clients"]:
        name = client["id"]
        found[f"prune/{name}"] = client["prune"]
        found[f"bandwidth_hz/{name}"] = client["bandwidth_hz"]
        if "loss" in client:
            found[f"training_loss/{name}"] = client["loss"]
        found[f"client_seconds/{name}"] = sum(
            seconds_in(client, phase) for phase in PHASES if phase != "waiting"
        )
    return {name: float(value) for name, value in found.items()}


def flat(value: Any, place: str = "") -> Iterator[tuple[str, str | int | float | bool]]:
    """What a nested value holds, by dotted place; nothing where nothing was given."""
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            yield from flat(part, f"{place}.{key}" if place else str(key))
    elif value is not None:
        yield place, value
