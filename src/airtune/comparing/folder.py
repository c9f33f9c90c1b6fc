"""A comparison's folder: scenario, settings, runs, learnt rounds, tables under stable names."""

import contextlib
import shutil
from pathlib import Path
from typing import IO

from airtune.comparison_file import METRIC, RUNS, SETTINGS, Job, Settings, contradiction
from airtune.errors import AirtuneError, InputError, words
from airtune.files import LOCK, held_alone, made_folder, write_whole
from airtune.learning.tasks.answers import metric_name
from airtune.misfits import shown
from airtune.scenario import Scenario
from airtune.scenario_file import SCENARIO, check_unchanged, dump_scenario, load_scenario

LEARNT, LOGS = "learnt", "logs"


class CompareFolder:
    """One comparison on disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def prepare(self, scenario: Scenario, settings: Settings) -> None:
        """Begin a folder, or check that it holds this very comparison.

        Raises:
            AirtuneError: it holds something else.
            InputError: it holds a comparison of another scenario or with other arguments; or no folder.
        """
        if (self.directory / SETTINGS).exists():
            self._check(scenario, settings)
            return
        # One that was killed at its very beginning leaves no more than these.
        foreign = made_folder(self.directory) - {SCENARIO, f"{SCENARIO}.new", f"{SETTINGS}.new"}
        if foreign:
            raise AirtuneError(f"{self.directory}: not empty, and no comparison; choose another --out")
        write_whole(self.directory / SCENARIO, dump_scenario(scenario))
        write_whole(self.directory / SETTINGS, settings.dump())

    def scenario(self) -> Scenario:
        """The scenario as given."""
        return load_scenario(self.directory / SCENARIO)

    def is_done(self, job: Job, scenario: Scenario) -> bool:
        """Whether a job has ended, its metric measured where there is one."""
        folder = job.folder(self.directory)
        measured = metric_name(scenario.task) is None or (folder / METRIC).exists()
        return measured and (folder / "summary.json").exists()

    def forget(self) -> None:
        """Take back what was begun, if no run has a checkpoint to go on from."""
        from airtune.federation.folder import RunFolder  # loads torch, else left to the workers

        for run in (self.directory / RUNS).glob("*/"):
            RunFolder(run).forget()  # a worker that was killed, or met an error of its own, could not
        if any((self.directory / RUNS).glob("*")):
            return
        for folder in (RUNS, LOGS, LEARNT):
            shutil.rmtree(self.directory / folder, ignore_errors=True)
        for file in (SETTINGS, SCENARIO, LOCK):
            (self.directory / file).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody else's files may lie there
            self.directory.rmdir()

    def lock(self) -> IO[str]:
        """Keep others out while the returned file is open (`files.held_alone`)."""
        return held_alone(self.directory, "comparing")

    def _check(self, scenario: Scenario, settings: Settings) -> None:
        for field, (found, given) in contradiction(Settings.load(self.directory), settings).items():
            expected = f"{_told(given)}, as asked for now"
            raise InputError(self.directory / SETTINGS, field, _told(found), expected)
        check_unchanged(self.directory / SCENARIO, scenario, "comparison")


def _told(value: object) -> object:
    """A setting as an error shows it: all of a list, as it differs in what it holds."""
    return words(", ".join(map(str, value))) if isinstance(value, tuple) else shown(value)
