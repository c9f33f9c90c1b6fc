"""What the command line shows: progress while a run goes on, a table at its end, a plan."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from airtune.observer import CompareObserver, Observer
from airtune.planning import Plan
from airtune.planning.explain import Explanation
from airtune.results.comparison import Comparison
from airtune.results.comparison_table import CSV, TEX, comparison_lines, comparison_tables, verdict
from airtune.results.events import EVENTS_FILE, read_events, start_event, waits_for_all
from airtune.results.plan_table import plan_lines, plan_table
from airtune.results.table import summary_table
from airtune.scenario import Scenario

WIDEST = 150  # a comparison's table with the losses of several groups


class RunProgress(Observer):
    """A line that moves: round, client, loss, simulated time and time left; and a line for every round."""

    def __init__(self, scenario: Scenario) -> None:
        self._clients = len(scenario.members())
        self._rounds = scenario.rounds
        self._console = Console(highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,  # the lines of the rounds stay, the bar does not
        )
        self._task: TaskID | None = None
        self._waits_for_all = True

    def __enter__(self) -> "RunProgress":
        self._progress.start()
        self._task = self._progress.add_task("loading model and data", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.live.stop()  # where nothing moves, Progress.stop ends with an empty line

    def on_start(self, event: dict[str, Any], rounds_done: int) -> None:
        """Says the loss before, and starts counting."""
        self._waits_for_all = waits_for_all(start_event([event]))
        self._say(f"{event['method']}, {self._rounds} rounds; test loss before {event['loss']:.3f}")
        # Resumed rounds are not this process's work: counting them would falsify the time left.
        total = (self._rounds - rounds_done) * self._clients
        self._update(total=total, description=f"round {rounds_done + 1}/{self._rounds}")

    def on_client(self, round_number: int, client: str, loss: float | None) -> None:
        """Moves the line on by one client."""
        told = "" if loss is None else f"  loss {loss:.3f}"
        self._update(advance=1, description=f"round {round_number}/{self._rounds}  {client}{told}")

    def on_round(self, event: dict[str, Any]) -> None:
        """Prints the round's lines; clients that were left out count as done."""
        equal = f"; equal bandwidth, nothing pruned: {event['fedit_s']:.1f} s"
        equal = equal if self._waits_for_all and not event.get("lost") else ""
        self._say(
            f"round {event['round']}/{self._rounds}: test loss {event['loss']:.3f}, "
            f"simulated time {event['clock_s']:.1f} s (+{event['round_s']:.1f} s{equal})"
        )
        lost = [f"{one['id']} ({one.get('reason', one['why'])})" for one in event.get("lost", [])]
        if lost:
            self._say(f"  went on without {', '.join(lost)}")
        self._update(advance=self._clients - len(event["clients"]))

    def _say(self, line: str) -> None:
        self._progress.print(line, soft_wrap=True, markup=False)

    def _update(self, **changes: Any) -> None:
        if self._task is not None:
            self._progress.update(self._task, **changes)


def counted(unit: str) -> Progress:
    """A line that counts long pieces of work of this name, with the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(highlight=False),
        transient=True,
        speed_estimate_period=2 * 3600,  # they may be minutes apart
    )


class CompareProgress(CompareObserver):
    """A line that moves: rounds, running jobs and time left; and a line for every job that ends."""

    def __init__(self) -> None:
        self._progress = counted("rounds")
        self._task: TaskID | None = None

    def __enter__(self) -> "CompareProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.live.stop()  # as in RunProgress

    def on_start(self, rounds: int) -> None:
        """Shows the line, and starts counting."""
        self._progress.start()
        self._task = self._progress.add_task("starting", total=rounds)

    def on_progress(self, rounds: int, running: Sequence[str]) -> None:
        """Moves the line on."""
        if self._task is not None:
            shown = ", ".join(running[:3]) + (f" and {len(running) - 3} more" if len(running) > 3 else "")
            self._progress.update(self._task, completed=rounds, description=shown)

    def on_end(self, job: str, reason: str | None) -> None:
        """Prints the job's line."""
        line = f"{job}: done" if reason is None else f"{job}: failed: {reason}"
        self._progress.print(line, soft_wrap=True, markup=False)


def print_comparison(comparison: Comparison, directory: Path) -> None:
    """Which method wins, the table, and where the files are."""
    console = Console(highlight=False, width=max(Console().width, WIDEST))  # rather wrapped than cut
    console.print(verdict(comparison), soft_wrap=True, markup=False)
    for table in comparison_tables(comparison):
        console.print(table)
        console.print()
    for line in comparison_lines(comparison):
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"tables: {directory / CSV}, {directory / TEX}", soft_wrap=True, markup=False)
    console.print(f"report: {directory / 'report.html'}", soft_wrap=True, markup=False)


def print_run(directory: Path) -> None:
    """The table of a finished run and where its report is."""
    console = Console(highlight=False)
    console.print(summary_table(read_events(directory / EVENTS_FILE)))
    folders = f"adapter: {directory / 'adapter'}\nreport:  {directory / 'report.html'}"
    console.print(folders, soft_wrap=True, markup=False)


def print_plan(plan: Plan, why: Explanation | None = None) -> None:
    """A plan as a table, its totals below, and what more bandwidth would buy if it is explained."""
    console = Console(highlight=False)
    console.print(plan_table(plan, why))
    for line in plan_lines(plan, why):
        console.print(line, soft_wrap=True, markup=False)
