"""The ServerApp for Flower's own engines, where the server has a process of its own."""

import os
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from airtune.budget import Budget
from airtune.errors import AirtuneError, InputError
from airtune.federation.overdue import seconds
from airtune.federation.progress import ProgressWriter
from airtune.federation.server_app import RunOptions, server_app
from airtune.files import new_folder
from airtune.scenario_file import configured_scenario

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Play the run of the run configuration (`server_app`), and tell its `progress` file how it goes on.

    What is not given is "": Flower's configurations know no None. Without an `out` the results are in
    runs/NAME-METHOD.
    """
    config = context.run_config
    if not config["out"]:
        scenario = configured_scenario(str(config["scenario"]))
        context.run_config = config | {"out": str(new_folder(f"{scenario.name}-{scenario.method}"))}
    progress = ProgressWriter(Path(str(config["progress"]) or os.devnull))
    try:
        deadline_s = _deadline(str(config.get("deadline", "")))
        options = RunOptions(budget=_budget(str(config["budget"])), deadline_s=deadline_s)
        server_app(progress, options)(grid, context)
    except AirtuneError as error:
        progress.failed(str(error))
        raise
    progress.finished()


def _budget(text: str) -> Budget | None:
    try:
        return Budget.read(text) if text else None
    except ValueError as error:
        raise InputError("run configuration", "budget", text, str(error)) from error


def _deadline(text: str) -> float | None:
    try:
        return seconds(text) if text else None
    except ValueError as error:
        raise InputError("run configuration", "deadline", text, str(error)) from error
