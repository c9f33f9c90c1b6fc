"""Fine-tuning: a run here, on Flower's engines or on a testbed, and a node of one."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from airtune.commandline.options import (
    BandwidthShares,
    DataPlace,
    LoggerName,
    MethodName,
    RoundCount,
    ScenarioFile,
    TaskName,
    check_log,
    option,
)
from airtune.errors import ArgumentError, InputError, words

Engine = Literal["in-process", "flower-simulation", "flower-deployment"]
Resumed = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]


def run(
    scenario: ScenarioFile,
    method: MethodName = None,
    task: TaskName = None,
    data: DataPlace = None,
    rounds: RoundCount = None,
    bandwidth: BandwidthShares = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.", show_default="runs/NAME-METHOD")
    ] = None,
    resume: Resumed = False,
    engine: Annotated[
        Engine, typer.Option(help="All clients in this process, or Flower's engines on this machine.")
    ] = "in-process",
    deadline: Annotated[
        float | None,
        typer.Option(help="Seconds that a round on Flower's engines waits for replies.", show_default=False),
    ] = None,
    log: LoggerName = None,
) -> None:
    """Fine-tune over simulated wireless clients, and report."""
    from airtune.files import new_folder
    from airtune.results.terminal import RunProgress, print_run
    from airtune.scenario_file import load_scenario

    chosen = load_scenario(scenario, method=method, task=task, data=data, rounds=rounds, bandwidth=bandwidth)
    _check_resume(resume, out)
    check_log(log)
    directory = out or new_folder(f"{chosen.name}-{chosen.method}")
    with RunProgress(chosen) as progress:
        from airtune import api

        finished_before = (directory / "summary.json").exists() and resume
        try:
            api.run(chosen, directory, resume, progress, engine=engine, log=log, deadline=deadline)
        except ArgumentError as error:
            raise InputError(option(error.argument), "", error.found, error.expected) from error
    if finished_before:
        print(f"{directory}: this run has already finished")
    print_run(directory)


def node(
    scenario: ScenarioFile,
    client: Annotated[str, typer.Option(help="Its id in the scenario.", show_default=False)],
    superlink: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to.", show_default=False)],
    root_certificates: Annotated[
        Path | None,
        typer.Option(
            help="Authorities, in PEM, of whom the SuperLink's certificate is.", show_default="the system's"
        ),
    ] = None,
    auth_supernode_private_key: Annotated[
        Path | None, typer.Option(help="Key of this node, if nodes are registered.", show_default=False)
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Without encryption.")] = False,
    profile: Annotated[
        Path | None, typer.Option(help="What airtune profile measured here.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Its own data, instead of its part of the scenario's.", show_default=False),
    ] = None,
    noise_key: Annotated[
        Path | None, typer.Option(help="Secret of its noise, for privacy.", show_default=False)
    ] = None,
) -> None:
    """Be a client of a run on Flower: start its SuperNode, with model and data loaded where possible."""
    from airtune.federation.node import Connection, run_node
    from airtune.scenario_file import load_scenario

    connection = Connection(superlink, insecure, root_certificates, auth_supernode_private_key)
    status = run_node(load_scenario(scenario), client, connection, profile, noise_key, data)
    raise typer.Exit(status)


def on_testbed(
    scenario: ScenarioFile,
    method: MethodName = None,
    task: TaskName = None,
    data: DataPlace = None,
    rounds: RoundCount = None,
    bandwidth: BandwidthShares = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.", show_default="runs/testbed-NAME-METHOD")
    ] = None,
    resume: Resumed = False,
    deadline: Annotated[
        float | None, typer.Option(help="Seconds that a round waits for replies.", show_default=False)
    ] = None,
) -> None:
    """Run with real clients on shaped links and CPU quotas, and measure it: Linux, as root."""
    from airtune.federation.overdue import seconds
    from airtune.files import new_folder
    from airtune.results.terminal import RunProgress, print_run
    from airtune.results.testbed_rows import print_rows
    from airtune.scenario_file import load_scenario

    chosen = load_scenario(scenario, method=method, task=task, data=data, rounds=rounds, bandwidth=bandwidth)
    _check_resume(resume, out)
    try:
        deadline_s = None if deadline is None else seconds(deadline)
    except ValueError as error:
        raise InputError("--deadline", "", deadline, str(error)) from error
    directory = out or new_folder(f"testbed-{chosen.name}-{chosen.method}")
    with RunProgress(chosen) as progress:
        from airtune.testbed.run import run_on_testbed

        run_on_testbed(chosen, directory, progress, resume, deadline_s)
    print_run(directory)
    print_rows(directory)


def _check_resume(resume: bool, out: Path | None) -> None:
    if resume and out is None:
        raise InputError("--resume", "", words("no --out"), "the folder of the run to go on with")
