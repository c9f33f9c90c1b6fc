"""The ServerApp for Flower's own engines, where the server has a process of its own."""

import os
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from airtune.errors import AirtuneError
from airtune.federation.progress import ProgressWriter
from airtune.federation.server_app import RunOptions, server_app
from airtune.files import new_folder
from airtune.scenario_file import configured_scenario

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Play the run of the run configuration (`server_app`), and tell its `progress` file how it goes on.

    Text and numbers that are not given are "" and 0: Flower's configurations know no None. Without an `out`
    the results are in runs/NAME-METHOD.
    """
    config = context.run_config
    if not config["out"]:
        scenario = configured_scenario(str(config["scenario"]))
        context.run_config = config | {"out": str(new_folder(f"{scenario.name}-{scenario.method}"))}
    progress = ProgressWriter(Path(str(config["progress"]) or os.devnull))
    options = RunOptions(budget_s=float(config["budget-s"]) or None)
    try:
        server_app(progress, options)(grid, context)
    except AirtuneError as error:
        progress.failed(str(error))
        raise
    progress.finished()
