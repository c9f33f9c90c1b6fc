"""A whole run on Flower's own engines: a SuperLink of our own on loopback, and the Flower apps through it.

Both engines run the apps in processes of their own; this one follows what the server tells.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path

import torch

from airtune.errors import AirtuneError, ArgumentError
from airtune.federation.checkpoint import Checkpoint
from airtune.federation.commands import HOST, environment, flower_command, free_ports, node_command
from airtune.federation.folder import RunFolder
from airtune.federation.keeper import ProcessPlan, kept
from airtune.federation.progress import ProgressReader
from airtune.federation.residual import CLIENT_FILES, hand_over
from airtune.federation.server_app import RunOptions
from airtune.federation.warm_node import warm, write_warm_start
from airtune.learning.local_data import client_examples
from airtune.observer import Observer
from airtune.scenario import Scenario
from airtune.scenario_file import dump_scenario
from airtune.version import __version__

READ_S = 0.2
CONNECTION = "airtune"  # its name in Flower's configuration


def run_on_flower(
    scenario: Scenario,
    directory: Path,
    resume: bool,
    observer: Observer,
    options: RunOptions,
    simulation: bool,
) -> None:
    """`run_in_process` on Flower's simulation engine, or else on its deployment engine.

    Raises:
        ArgumentError: rounds learnt by others are of no use: clients in other processes keep their own state.
        AirtuneError: the folder, the scenario, its data or its model is not usable, a round allows no plan,
            or Flower's processes have ended before the run.
    """
    if options.learnt is not None:
        raise ArgumentError("learnt", str(options.learnt), "none beside an engine of Flower's")
    if simulation and find_spec("ray") is None:
        raise AirtuneError("Flower's simulation engine needs Ray: pip install 'airtune[simulation]'")
    folder = RunFolder(directory.absolute())
    folder.prepare(scenario, resume)
    try:
        _play(scenario, folder, observer, options, simulation)
    except BaseException:
        # Our server has ended: if the folder is locked, another process runs there.
        with suppress(AirtuneError), folder.lock():
            folder.forget()
        raise


def _play(
    scenario: Scenario, folder: RunFolder, observer: Observer, options: RunOptions, simulation: bool
) -> None:
    client_examples(scenario)  # what is wrong with them shows here, not in a process that nobody sees
    with ExitStack() as stack:
        try:
            with folder.lock():  # the server takes it itself later
                if folder.finished():
                    return
                before = Checkpoint.load(folder.directory)
                if before is not None:
                    hand_over(before, folder.directory / CLIENT_FILES)
            # Its name is short: Ray puts sockets into it, and their names may have 107 bytes.
            home = Path(tempfile.mkdtemp(prefix="airtune-"))
            stack.callback(shutil.rmtree, home, ignore_errors=True)
            progress = home / "progress.jsonl"
            write_app(home / "app", _configuration(scenario, folder.directory, options, progress))
            plan = _process_plan(home, scenario, simulation)
        except OSError as error:
            raise AirtuneError(f"Flower's engine cannot be started: {error}") from error
        reader = ProgressReader(progress, observer)
        keeper = [sys.executable, "-m", "airtune.federation.keeper", plan.to_json(), str(home)]
        follow(keeper, home, reader)
        if not reader.over:
            stack.pop_all()  # the log stays
            raise AirtuneError(f"Flower's engine stopped before the run's end; see {home / 'flower.log'}")
    if reader.failure is not None:
        raise AirtuneError(reader.failure)


def follow(keeper: list[str], home: Path, reader: ProgressReader) -> None:
    """Pass on what the run tells until it or its processes have ended; afterwards none of them is left.

    Args:
        keeper: command of the process that keeps them.
    """
    env = environment(
        FLWR_HOME=str(home / "flwr"),
        RAY_TMPDIR=str(home),
        # Sums over other numbers of threads have other last bits; Ray would set its own.
        OMP_NUM_THREADS=str(torch.get_num_threads()),
    )
    with (home / "flower.log").open("wb") as log, kept(keeper, env, log) as process:
        while process.poll() is None and not reader.over:
            time.sleep(READ_S)
            reader.read()
        reader.read()


def _configuration(
    scenario: Scenario, directory: Path, options: RunOptions, progress: Path
) -> dict[str, str | bool]:
    return {
        "scenario": dump_scenario(scenario),
        "out": str(directory),
        "resume": True,  # it has been prepared
        "budget": str(options.budget or ""),
        "deadline": str(options.deadline_s or ""),
        "progress": str(progress),
        "state": str(directory / CLIENT_FILES),
        "simulated": True,
    }


def write_app(
    folder: Path,
    config: Mapping[str, str | bool],
    server: str = "airtune.federation.flower_app",
    client: str = "airtune.federation.client_app",
) -> None:
    """The Flower app of one run, and its configuration.

    Args:
        server, client: modules whose `app` is the ServerApp or the ClientApp.
    """
    # A JSON string is a TOML string, and numbers and truths are alike.
    values = "\n".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in config.items())
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        f"""[project]
name = "airtune"
version = "{__version__}"
description = "One run of airtune"
license = "Apache-2.0"

[tool.flwr.app]
publisher = "airtune"

[tool.flwr.app.components]
serverapp = "{server}:app"
clientapp = "{client}:app"

[tool.flwr.app.config]
{values}
""",
        encoding="utf-8",
    )


def _process_plan(home: Path, scenario: Scenario, simulation: bool) -> ProcessPlan:
    """What to start: a SuperLink, a SuperNode for every client of a deployment, and the run."""
    clients = len(scenario.members())
    port, *node_ports = free_ports(1 if simulation else 1 + clients)
    superlink = [flower_command("flower-superlink"), "--insecure", "--host", HOST, "--port", str(port)]
    run = run_command(home, port)
    if simulation:
        superlink.append("--simulation")
        # As many clients at once as there are cores for their threads.
        resources = f"num-supernodes={clients} client-resources-num-cpus={torch.get_num_threads()}"
        run += ["--federation-config", f"{resources} client-resources-num-gpus=0.0"]
    write_warm_start(home, dump_scenario(scenario))
    nodes = [
        warm(home, node_command(client, clients, f"{HOST}:{port}", own))
        for client, own in enumerate(node_ports)
    ]
    return ProcessPlan(superlink, f"http://{HOST}:{port}/health", nodes, run)


def run_command(home: Path, port: int) -> list[str]:
    """Runs the app in `home` on the SuperLink of this port, whose address is written down for it."""
    (home / "flwr").mkdir()
    (home / "flwr" / "config.toml").write_text(
        f'[superlink]\ndefault = "{CONNECTION}"\n\n'
        f'[superlink.{CONNECTION}]\naddress = "{HOST}:{port}"\ninsecure = true\n'
    )
    return [flower_command("flwr"), "run", str(home / "app"), CONNECTION, "--stream"]
