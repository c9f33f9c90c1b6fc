"""What the command line shows of a sweep: progress while it goes on, tables at its end."""

from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import TaskID

from airtune.results.terminal import WIDEST, counted
from airtune.sweeping.report import CSV, PAGE
from airtune.sweeping.sweep import Sweep
from airtune.sweeping.table import sweep_lines, sweep_tables


class SweepProgress:
    """A line that moves: values done, and time left."""

    def __init__(self) -> None:
        self._progress = counted("values")
        self._task: TaskID | None = None

    def __enter__(self) -> "SweepProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.live.stop()  # as in RunProgress

    def on_point(self, done: int, of: int) -> None:
        """Moves the line on."""
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task("sweeping", total=of)
        self._progress.update(self._task, completed=done)


def print_sweep(sweep: Sweep, directory: Path) -> None:
    """The tables, who is fastest where, and where the files are."""
    console = Console(highlight=False, width=max(Console().width, WIDEST))
    for title, table in sweep_tables(sweep):
        console.print(title, soft_wrap=True, markup=False)
        console.print(table)
        console.print()
    for line in sweep_lines(sweep):
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"table:  {directory / CSV}", soft_wrap=True, markup=False)
    console.print(f"charts: {directory / PAGE}", soft_wrap=True, markup=False)
