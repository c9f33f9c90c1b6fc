"""A whole run on a testbed: real processes, links and quotas, on this machine."""

import os
import shutil
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from airtune.errors import AirtuneError
from airtune.federation.checkpoint import Checkpoint
from airtune.federation.commands import HOST, flower_command, node_command
from airtune.federation.flower import follow, run_command, write_app
from airtune.federation.folder import RunFolder
from airtune.federation.keeper import ProcessPlan
from airtune.federation.progress import ProgressReader
from airtune.federation.residual import CLIENT_FILES
from airtune.federation.warm_node import warm, write_warm_start
from airtune.learning.local_data import client_examples
from airtune.observer import Observer
from airtune.results.testbed_facts import FACTS_FILE, Facts
from airtune.scenario import Scenario
from airtune.scenario_file import dump_scenario
from airtune.testbed.cpu_groups import CpuGroups
from airtune.testbed.machine import check_machine, check_scenario
from airtune.testbed.network import server_address

PORT = 8000  # each network namespace has all ports to itself


def run_on_testbed(
    scenario: Scenario,
    directory: Path,
    observer: Observer,
    resume: bool = False,
    deadline_s: float | None = None,
) -> None:
    """Run a scenario with every client in a network namespace of its own, on shaped links and CPU quotas.

    Writes what `run_in_process` writes, testbed.csv and testbed.json. Nothing but the folder is left of it.

    Args:
        resume: go on with the testbed whose run is in `directory`, as it was calibrated when that began.
        deadline_s: seconds on the wall that a round waits for replies; None for as long as it takes.

    Raises:
        AirtuneError: this machine cannot be a testbed, or not for this scenario; the folder is not empty, or
            has no run of a testbed to go on with; or as in `run_on_flower`.
    """
    place = check_machine()
    check_scenario(scenario)
    folder = RunFolder(directory.absolute())
    folder.prepare(scenario, resume)
    try:
        client_examples(scenario)  # what is wrong with them shows here, not in a process that nobody sees
        _play(scenario, folder, observer, deadline_s, place)
    except BaseException:
        # Our server has ended: if the folder is locked, another process runs there.
        with suppress(AirtuneError), folder.lock():
            if Checkpoint.load(folder.directory) is None:
                (folder.directory / FACTS_FILE).unlink(missing_ok=True)
            folder.forget()
        raise


def _play(
    scenario: Scenario, folder: RunFolder, observer: Observer, deadline_s: float | None, place: Path
) -> None:
    groups, clients = CpuGroups.of_process(place, os.getpid()), len(scenario.members())
    with ExitStack() as stack:
        try:
            with folder.lock():  # the server takes it itself later
                if folder.finished():
                    return
                if Checkpoint.load(folder.directory) is not None:
                    Facts.read(folder.directory)  # `airtune run` has none
            home = Path(tempfile.mkdtemp(prefix="airtune-"))
            stack.callback(shutil.rmtree, home, ignore_errors=True)
            progress = home / "progress.jsonl"
            config: dict[str, str | bool] = {
                "scenario": dump_scenario(scenario),
                "out": str(folder.directory),
                "deadline": str(deadline_s or ""),
                "progress": str(progress),
                "state": str(folder.directory / CLIENT_FILES),
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
            *warm(home, node_command(client, clients, f"{server_address(client)}:{PORT}", PORT)),
        ]
        for client in range(clients)
    ]
    return ProcessPlan(superlink, f"http://{HOST}:{PORT}/health", nodes, run_command(home, PORT))
