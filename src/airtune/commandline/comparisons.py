"""Methods side by side, and the same on other devices and links."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from airtune.commandline.options import (
    DataPlace,
    LoggerName,
    RoundCount,
    ScenarioFile,
    TaskName,
    check_log,
    names,
    option,
)
from airtune.errors import InputError


def compare(
    scenario: ScenarioFile,
    methods: Annotated[str, typer.Option(help="Methods, with commas between.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the results.", show_default=False)],
    reductions: Annotated[
        str | None, typer.Option(help="Reductions, with commas between.", show_default="the scenario's")
    ] = None,
    bandwidth: Annotated[
        str | None,
        typer.Option(help="own, optimal, or both with a comma between.", show_default="the scenario's"),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds, from the scenario's on.", min=1)] = 1,
    target_loss: Annotated[str, typer.Option(help="Test loss to reach; auto: fedit's last.")] = "auto",
    budget: Annotated[
        str | None,
        typer.Option(help="After which runs end: '400 s', '500 MB' or '20 kJ'.", show_default=False),
    ] = None,
    rounds: RoundCount = None,
    task: TaskName = None,
    data: DataPlace = None,
    workers: Annotated[
        int | None, typer.Option(help="Runs at once.", min=1, show_default="as cores and memory allow")
    ] = None,
    learnt: Annotated[
        Path | None,
        typer.Option(help="Folder of learnt rounds to share with other comparisons.", show_default=False),
    ] = None,
    log: LoggerName = None,
) -> None:
    """Compare methods on the same data, channels and steps; run again to go on where it stopped."""
    from airtune import api
    from airtune.results.terminal import CompareProgress, print_comparison
    from airtune.scenario_file import load_scenario

    chosen = load_scenario(scenario, task=task, data=data, rounds=rounds)
    shares = None if bandwidth is None else names(bandwidth)
    goal = _target(target_loss)
    check_log(log)
    try:
        with CompareProgress() as progress:
            found = api.compare(
                chosen,
                out,
                names(methods),
                None if reductions is None else names(reductions),
                seeds,
                goal,
                budget,
                workers,
                learnt,
                progress,
                bandwidth=shares,
                log=log,
            )
    except InputError as error:
        if error.file != "compare" or not error.field:  # an --out of that name has no field
            raise
        argument, *_ = error.field.split(".")
        raise InputError(option(argument), "", error.found, error.expected) from error
    print_comparison(found, out)
    if found.missing:
        raise typer.Exit(1)


def sweep(
    directory: Annotated[Path, typer.Argument(help="Folder of a comparison.", show_default=False)],
    compute: Annotated[
        str | None,
        typer.Option(help="Factors of every device's speed: 0.25,1,4.", show_default=False),
    ] = None,
    bandwidth: Annotated[
        str | None,
        typer.Option(help="Every cell's uplink, its downlink in proportion: 2MHz,10MHz.", show_default=False),
    ] = None,
    heterogeneity: Annotated[
        str | None,
        typer.Option(help="Spread of the devices' speeds, 0: all alike, 1: as it is.", show_default=False),
    ] = None,
    clients: Annotated[
        str | None, typer.Option(help="Numbers of clients, planned only: 4,16,64.", show_default=False)
    ] = None,
) -> None:
    """Clock a comparison again on other devices and links, and plan for them; nothing is trained."""
    from airtune import api
    from airtune.sweeping.terminal import SweepProgress, print_sweep

    given = {
        "compute": compute,
        "bandwidth": bandwidth,
        "heterogeneity": heterogeneity,
        "clients": clients,
    }
    values = {axis: names(text) for axis, text in given.items() if text is not None}
    try:
        with SweepProgress() as progress:
            found = api.sweep(directory, **values, on_point=progress.on_point)
    except InputError as error:
        if error.file != "sweep" or not error.field:
            raise
        axis, *_ = error.field.split(".")
        raise InputError(option(axis), "", error.found, error.expected) from error
    print_sweep(found, directory)


def _target(text: str) -> float | Literal["auto"]:
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError as error:
        raise InputError("--target-loss", "", text, "auto, or a test loss above 0") from error
