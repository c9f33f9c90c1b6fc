"""What the command line shows: progress while a run goes on, a table at its end, a plan."""

from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from airtune.observer import Observer
from airtune.planning import Plan
from airtune.planning.explain import Explanation
from airtune.results.events import EVENTS_FILE, read_events
from airtune.results.plan_table import plan_lines, plan_table
from airtune.results.table import summary_table
from airtune.scenario import Scenario


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
        self._clock_s = 0.0

    def __enter__(self) -> "RunProgress":
        self._progress.start()
        self._task = self._progress.add_task("loading model and data", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def on_start(self, event: dict[str, Any], rounds_done: int) -> None:
        """Says the loss before, and starts counting."""
        self._say(f"{event['method']}, {self._rounds} rounds; test loss before {event['loss']:.3f}")
        # Resumed rounds are not this process's work: counting them would falsify the time left.
        total = (self._rounds - rounds_done) * self._clients
        self._update(total=total, description=f"round {rounds_done + 1}/{self._rounds}")

    def on_client(self, round_number: int, client: str, loss: float) -> None:
        """Moves the line on by one client."""
        self._update(advance=1, description=f"round {round_number}/{self._rounds}  {client}  loss {loss:.3f}")

    def on_round(self, event: dict[str, Any]) -> None:
        """Prints the round's line; clients that were left out count as done."""
        self._say(
            f"round {event['round']}/{self._rounds}: test loss {event['loss']:.3f}, "
            f"simulated time {event['clock_s']:.1f} s (+{event['round_s']:.1f} s; "
            f"equal bandwidth, nothing pruned: {event['fedit_s']:.1f} s)"
        )
        self._update(advance=self._clients - len(event["clients"]))

    def _say(self, line: str) -> None:
        self._progress.print(line, soft_wrap=True)

    def _update(self, **changes: Any) -> None:
        if self._task is not None:
            self._progress.update(self._task, **changes)


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
