"""What a folder of results shows, and what planners learn from it."""

from pathlib import Path
from typing import Annotated

import typer

ResultsFolder = Annotated[Path, typer.Argument(help="Folder of a run or comparison.", show_default=False)]


def report(
    directory: ResultsFolder,
    pdf: Annotated[bool, typer.Option("--pdf", help="Also its charts, as figures/*.pdf for papers.")] = False,
) -> None:
    """Write report.html anew, and a comparison's tables, also of what is still going on."""
    from airtune.results.report import write_report

    print(write_report(directory, pdf))


def trace(
    directory: ResultsFolder,
    out: Annotated[Path | None, typer.Option(help="File to write.", show_default="DIR/trace.json")] = None,
) -> None:
    """Write clients' timelines in simulated time as a trace; ui.perfetto.dev opens it."""
    from airtune.results.trace import write_trace

    print(write_trace(directory, out))


def calibrate(
    directories: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of runs of one task.", show_default=False)
    ],
    target: Annotated[
        float | None, typer.Option(help="Test loss to reach.", show_default="the lowest that all reached")
    ] = None,
) -> None:
    """Fit the planner's rounds to target, `convergence` in a scenario, to earlier runs."""
    from airtune.results.calibration import calibrate as fit

    print(fit(directories, target))
