"""A whole run on a testbed: real processes, links and quotas, on this machine."""

import os
import shutil
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from airtune.errors import AirtuneError
from airtune.federation.flower import follow, run_command, write_app
from airtune.federation.keeper import ProcessPlan
from airtune.federation.progress import ProgressReader
from airtune.federation.residual import CLIENT_FILES
from airtune.federation.warm_node import HOST, flower_command, warm_node_command, write_warm_start
from airtune.files import made_folder
from airtune.learning.local_data import client_examples
from airtune.observer import Observer
from airtune.scenario import Scenario
from airtune.scenario_file import dump_scenario
from airtune.testbed.cpu_groups import CpuGroups
from airtune.testbed.machine import check_machine, check_scenario
from airtune.testbed.network import server_address

PORT = 8000  # each network namespace has all ports to itself


def run_on_testbed(scenario: Scenario, directory: Path, observer: Observer) -> None:
    """Run a scenario with every client in a network namespace of its own, on shaped links and CPU quotas.

    Writes what `run_in_process` writes, and testbed.csv. Nothing but the folder is left of it.

    Raises:
        AirtuneError: this machine cannot be a testbed, or not for this scenario; the folder is not empty; or
            as in `run_on_flower`.
    """
    hierarchy = check_machine()
    check_scenario(scenario)
    client_examples(scenario)  # what is wrong with them shows here, not in a process that nobody sees
    directory = directory.absolute()
    if made_folder(directory):
        raise AirtuneError(f"{directory}: not empty; choose another --out")
    groups = CpuGroups.of_process(hierarchy, os.getpid())
    clients = len(scenario.members())
    with ExitStack() as stack:
        try:
            home = Path(tempfile.mkdtemp(prefix="airtune-"))
            stack.callback(shutil.rmtree, home, ignore_errors=True)
            progress = home / "progress.jsonl"
            config: dict[str, str | bool] = {
                "scenario": dump_scenario(scenario),
                "out": str(directory),
                "progress": str(progress),
                "state": str(directory / CLIENT_FILES),
                "simulated": True,
                "home": str(home),
                "groups": str(groups.parent),
            }
            write_app(home / "app", config, "airtune.testbed.server_app", "airtune.testbed.client_app")
            write_warm_start(home, dump_scenario(scenario))
            plan = _process_plan(home, clients)
        except OSError as error:
            raise AirtuneError(f"the testbed cannot be started: {error}") from error
        keeper = ["unshare", "--net", sys.executable, "-m", "airtune.testbed.keeper"]
        reader = ProgressReader(progress, observer)
        follow([*keeper, plan.to_json(), str(home), str(groups.parent), str(clients)], home, reader)
        with suppress(OSError):  # of a run that has not begun: others stay
            directory.rmdir()
        if not reader.over:
            stack.pop_all()  # the log stays
            raise AirtuneError(f"the testbed stopped before the run's end; see {home / 'flower.log'}")
    if reader.failure is not None:
        raise AirtuneError(reader.failure)


def _process_plan(home: Path, clients: int) -> ProcessPlan:
    """A SuperLink for whoever is in its network namespace, a SuperNode in each client's, and the run."""
    superlink = [flower_command("flower-superlink"), "--insecure", "--host", "0.0.0.0", "--port", str(PORT)]
    own = ["unshare", "--net", sys.executable, "-m", "airtune.testbed.node"]
    nodes = [
        [
            *own,
            str(client),
            str(home),
            *warm_node_command(home, client, clients, f"{server_address(client)}:{PORT}", PORT),
        ]
        for client in range(clients)
    ]
    return ProcessPlan(superlink, f"http://{HOST}:{PORT}/health", nodes, run_command(home, PORT))
