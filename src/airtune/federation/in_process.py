"""A whole run in one process: the Flower apps over the in-process grid."""

from pathlib import Path

from flwr.app import Context, RecordDict
from flwr.app.user_config import UserConfig

from airtune.errors import ArgumentError
from airtune.federation.client_app import app as client_app
from airtune.federation.grid import RUN_ID, InProcessGrid
from airtune.federation.residual import CLIENT_FILES
from airtune.federation.server_app import RunOptions, server_app
from airtune.observer import Observer
from airtune.scenario import Scenario
from airtune.scenario_file import dump_scenario


def run_in_process(
    scenario: Scenario, directory: Path, resume: bool, observer: Observer, options: RunOptions
) -> None:
    """Run a scenario to its end, beginning in an empty `directory` or going on with the run in it.

    Raises:
        ArgumentError: rounds learnt by others are of no use: the clients of this run keep files of their own.
        AirtuneError: the folder, the scenario, its data or its model is not usable.
        InfeasibleError: a round allows no plan.
    """
    config: UserConfig = {
        "scenario": dump_scenario(scenario),
        "out": str(directory),
        "resume": resume,
        "simulated": True,
    }
    if (directory / CLIENT_FILES).exists():  # the run began with clients in processes of their own
        if options.learnt is not None:  # learnt rounds hold what clients keep, and restore it
            expected = "none for a run that began on an engine of Flower's"
            raise ArgumentError("learnt", str(options.learnt), expected)
        config["state"] = str(directory / CLIENT_FILES)
    grid = InProcessGrid(client_app, len(scenario.members()), config)
    context = Context(RUN_ID, node_id=0, node_config={}, state=RecordDict(), run_config=config)
    server_app(observer, options)(grid, context)
