"""A comparison from beginning to end: jobs, workers, tables, report."""

from pathlib import Path

from airtune.comparing.folder import LEARNT, LOGS, CompareFolder
from airtune.comparing.workers import play_all
from airtune.comparison_file import Settings, jobs_of
from airtune.errors import AirtuneError, InputError
from airtune.federation.learnt_rounds import LearntRounds
from airtune.methods import METHODS
from airtune.observer import CompareObserver
from airtune.results.comparison import Comparison
from airtune.results.report import write_report
from airtune.scenario import Scenario


def play_comparison(
    scenario: Scenario,
    settings: Settings,
    directory: Path,
    learnt: Path | None,
    workers: int | None,
    observer: CompareObserver,
) -> Comparison:
    """Play what is missing and write tables and report.

    Args:
        learnt: folder of learnt rounds to share with other comparisons; they stay there as a whole. Of the
            comparison's own only the facts stay, once all runs have ended.

    Raises:
        InputError: a method is not made for the scenario, or a folder cannot be written to.
        AirtuneError: the folder holds something else, another process compares there, or nothing has ended.
    """
    jobs = jobs_of(settings, scenario)
    scenarios = {job: job.scenario(scenario) for job in jobs}
    for job in jobs:
        METHODS[job.method].check(scenarios[job])  # rather now than after others have trained for hours
    if settings.budget is not None:
        settings.budget.check(scenario)
    folder = CompareFolder(directory)
    folder.prepare(scenario, settings)
    with folder.lock():
        try:
            rounds = LearntRounds(learnt or directory / LEARNT)
        except InputError:
            folder.forget()
            raise
        left = [job for job in jobs if not folder.is_done(job, scenarios[job])]
        observer.on_start(len(left) * scenario.rounds)
        failed = play_all(folder, left, rounds.directory, workers, observer)
        if len(failed) == len(jobs):
            folder.forget()
            name, reason = next(iter(failed.items()))
            raise AirtuneError(f"no run has ended; {name}: {reason}")
        if not failed:
            if learnt is None:
                rounds.forget_states()
            (directory / LOGS).rmdir()
        comparison = Comparison.load(directory)
        write_report(directory)
    return comparison
