"""The ServerApp on a testbed: calibrates it, gives devices their quotas, plays the run and measures it."""

import os
from pathlib import Path

import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from airtune.errors import AirtuneError
from airtune.federation.progress import ProgressWriter
from airtune.federation.server_app import RunOptions, run_in_folder
from airtune.federation.setting import make_setting
from airtune.observer import Observers
from airtune.pruning.measured import measured_path
from airtune.scenario_file import configured_scenario
from airtune.testbed.calibration import calibrate
from airtune.testbed.cpu_groups import CpuGroups
from airtune.testbed.pace import choose_pace
from airtune.testbed.stopwatch import Stopwatch
from airtune.testbed.wire import Wire

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Play the run of the run configuration, and tell its `progress` file how it goes on."""
    config = context.run_config
    progress = ProgressWriter(Path(str(config["progress"])))
    home, out = Path(str(config["home"])), Path(str(config["out"]))
    groups = CpuGroups(Path(str(config["groups"])))
    try:
        scenario = configured_scenario(str(config["scenario"]))
        members = scenario.members()
        wire = Wire(len(members))
        setting = make_setting(scenario, measured_path(scenario))
        calibration = calibrate(grid, setting, home, wire)
        speed = np.array([member.device.flops_per_s for member in members])
        pace = choose_pace(speed, calibration.core_flops_per_s, os.cpu_count() or 1)
        for client, cores in enumerate(pace.cores):
            groups.limit(client, float(cores))
        stopwatch = Stopwatch(scenario, calibration, pace, wire, home, out)
        run_in_folder(grid, scenario, out, False, Observers(progress, stopwatch), RunOptions())
    except AirtuneError as error:
        progress.failed(str(error))
        raise
    progress.finished()
