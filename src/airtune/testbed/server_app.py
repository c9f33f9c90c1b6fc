"""The ServerApp on a testbed: calibrates it, gives devices their quotas, plays the run and measures it."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from airtune.errors import AirtuneError
from airtune.federation.exchange import nodes_by_client
from airtune.federation.overdue import seconds
from airtune.federation.progress import ProgressWriter
from airtune.federation.server_app import RunOptions, run_in_folder
from airtune.federation.setting import make_setting
from airtune.observer import Observers
from airtune.pruning.measured import measured_path
from airtune.results.testbed_facts import FACTS_FILE, Facts
from airtune.scenario_file import configured_scenario
from airtune.testbed.calibration import calibrate
from airtune.testbed.cpu_groups import CpuGroups
from airtune.testbed.links import Links
from airtune.testbed.stopwatch import Stopwatch
from airtune.testbed.wire import Wire

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Play or go on with the run of the run configuration, and tell its `progress` file how it goes on."""
    config = context.run_config
    progress = ProgressWriter(Path(str(config["progress"])))
    home, out = Path(str(config["home"])), Path(str(config["out"]))
    groups = CpuGroups(Path(str(config["groups"])))
    deadline_s = seconds(config["deadline"]) if config["deadline"] else None
    try:
        scenario = configured_scenario(str(config["scenario"]))
        ids = [member.id for member in scenario.members()]
        nodes, _ = nodes_by_client(grid, ids)
        links, wire = Links(home, len(ids)), Wire(len(ids))
        if not (out / FACTS_FILE).exists():
            setting = make_setting(scenario, measured_path(scenario))
            calibrate(grid, nodes, setting, home, links, wire).write(out)
        facts = Facts.read(out)
        facts.check_clients(ids, out)
        for client, one in enumerate(facts.clients):
            groups.limit(client, one.cores)
        stopwatch = Stopwatch(facts, links, wire, home, out)
        options = RunOptions(deadline_s=deadline_s, overhead_s=facts.simulated_overhead_s())
        run_in_folder(grid, scenario, out, True, Observers(progress, stopwatch), options)
    except AirtuneError as error:
        progress.failed(str(error))
        raise
    progress.finished()
