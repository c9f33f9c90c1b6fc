"""A whole run in one process: the Flower apps over the in-process grid."""

from pathlib import Path

from flwr.app import Context, RecordDict

from airtune.errors import AirtuneError
from airtune.federation.client_app import app as client_app
from airtune.federation.folder import RunFolder
from airtune.federation.grid import RUN_ID, InProcessGrid
from airtune.federation.server_app import RunOptions, server_app
from airtune.observer import Observer
from airtune.scenario import Scenario
from airtune.scenario_file import dump_scenario


def run_in_process(
    scenario: Scenario, directory: Path, resume: bool, observer: Observer, options: RunOptions = RunOptions()
) -> None:
    """Run a scenario to its end, beginning in an empty `directory` or going on with the run in it.

    Raises:
        AirtuneError: the folder, the scenario, its data or its model is not usable.
        InfeasibleError: a round allows no plan.
    """
    folder = RunFolder(directory)
    folder.prepare(scenario, resume)
    with folder.lock():
        if folder.finished():
            return
        config: dict[str, bool | float | int | str] = {
            "scenario": dump_scenario(scenario),
            "directory": str(directory),
        }
        grid = InProcessGrid(client_app, len(scenario.members()), config)
        context = Context(RUN_ID, node_id=0, node_config={}, state=RecordDict(), run_config=config)
        try:
            server_app(observer, options)(grid, context)
        except AirtuneError:
            folder.forget()
            raise
