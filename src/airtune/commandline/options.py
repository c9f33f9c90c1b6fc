"""Options that several commands share, and what is checked of them before anything is loaded."""

from pathlib import Path
from typing import Annotated

import typer

from airtune.errors import ArgumentError, InputError

ScenarioFile = Annotated[Path, typer.Argument(help="Scenario in YAML.", show_default=False)]
MethodName = Annotated[str | None, typer.Option(help="Replaces the scenario's method.", show_default=False)]
TaskName = Annotated[str | None, typer.Option(help="Replaces the scenario's task.", show_default=False)]
DataPlace = Annotated[
    str | None, typer.Option(help="Folder or file with the task's data.", show_default=False)
]
LoggerName = Annotated[
    str | None, typer.Option("--log", help="Also log to tensorboard or mlflow.", show_default=False)
]
RoundCount = Annotated[int | None, typer.Option(help="Replaces the number of rounds.", show_default=False)]
BandwidthShares = Annotated[
    str | None,
    typer.Option(help="own, or optimal for the shares that end a round soonest.", show_default=False),
]


def names(text: str) -> list[str]:
    """Those that stand with commas between."""
    return [name.strip() for name in text.split(",")]


def check_log(name: str | None) -> None:
    """Refuse a logger that there is not. Raises InputError."""
    from airtune.results.loggers import check_logger

    try:
        if name is not None:
            check_logger(name)
    except ArgumentError as error:
        raise InputError("--log", "", error.found, error.expected) from error


def option(argument: object) -> str:
    """An argument's name as an option."""
    return f"--{argument}".replace("_", "-")
