"""A run in MLflow, where MLFLOW_TRACKING_URI says, else in mlflow.db of the current folder, MLflow's default.

The experiment has the scenario's name. The run's id stays in DIR/mlflow-run: whoever goes on with the run
goes on with that one. Steps are rounds, and times are the simulated clock after the run's start, so that
the relative axis shows simulated time.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from airtune.errors import AirtuneError
from airtune.files import write_whole

RUN_FILE = "mlflow-run"
MOST_METRICS, MOST_PARAMETERS = 1000, 100  # in one request

Item = TypeVar("Item")


def check_installed() -> None:
    """Raises AirtuneError if the package is missing."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported
    try:
        import mlflow  # noqa: F401
    except ImportError as error:
        raise AirtuneError("--log mlflow needs mlflow: pip install 'airtune[mlflow]'") from error


class MlflowLog:
    """Metrics and, as parameters, the scenario of one run. Raises AirtuneError where MLflow cannot."""

    def __init__(self, directory: Path, scenario: str, parameters: Mapping[str, Any]) -> None:
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # or it tells how it makes its tables
        with _in_one_line():
            self._client: Any = MlflowClient()
            run = self._begun(directory / RUN_FILE)
            self._resumed = run is not None
            if run is None:
                run = self._begin(directory, scenario, parameters)
                write_whole(directory / RUN_FILE, run.info.run_id + "\n")
            else:
                self._client.update_run(run.info.run_id, status="RUNNING")
        self._id, self._start_ms = run.info.run_id, run.info.start_time
        self._known: dict[str, set[int]] = {}

    def write(self, round_number: int, clock_s: float, scalars: Mapping[str, float]) -> None:
        """Put a round's numbers there; those that a process before has put there are not put twice."""
        from mlflow.entities import Metric

        at = self._start_ms + round(1e3 * clock_s)
        with _in_one_line():
            missing = [
                Metric(name, value, at, round_number)
                for name, value in scalars.items()
                if round_number not in self._steps(name)
            ]
            for some in _parts(missing, MOST_METRICS):
                self._client.log_batch(self._id, metrics=some)

    def flush(self) -> None:
        """Nothing waits: every batch is there when it is written."""

    def close(self, finished: bool) -> None:
        """Say how the run ended, until somebody goes on with it."""
        with _in_one_line():
            self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")

    def _begun(self, file: Path) -> Any:
        """The run that a process before has begun; None if there is none here."""
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_run(file.read_text(encoding="utf-8").strip())
        except (OSError, MlflowException):  # another tracking server does not know it
            return None

    def _begin(self, directory: Path, scenario: str, parameters: Mapping[str, Any]) -> Any:
        from mlflow.entities import Param

        experiment = self._client.get_experiment_by_name(scenario)
        number = self._client.create_experiment(scenario) if experiment is None else experiment.experiment_id
        run = self._client.create_run(number, run_name=directory.resolve().name)
        given = [Param(name, str(value)) for name, value in parameters.items()]
        for some in _parts(given, MOST_PARAMETERS):
            self._client.log_batch(run.info.run_id, params=some)
        return run

    def _steps(self, name: str) -> set[int]:
        """The rounds that a process before has written a metric of."""
        if not self._resumed:
            return set()
        if name not in self._known:
            history = self._client.get_metric_history(self._id, name)
            self._known[name] = {metric.step for metric in history}
        return self._known[name]


def _parts(items: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:
    for begin in range(0, len(items), most):
        yield items[begin : begin + most]


@contextmanager
def _in_one_line() -> Iterator[None]:
    """MLflow's complaints as an AirtuneError."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        raise AirtuneError(f"mlflow: {' '.join(str(error).split())[:300]}") from error
