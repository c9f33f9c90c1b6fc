"""The planner alone."""

from pathlib import Path
from typing import Annotated

import typer

from airtune.commandline.options import option
from airtune.errors import ArgumentError, InputError, words

_PLAN_OPTIONS = ("allow_drop", "resource_block_hz")  # that others exclude


def plan(
    source: Annotated[
        Path, typer.Argument(help="Scenario (.yaml) or problem file (.json).", show_default=False)
    ],
    method: Annotated[str, typer.Option(help="Planning rule.")] = "joint",
    out: Annotated[Path | None, typer.Option(help="Write the plan to this file.", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    allow_drop: Annotated[
        bool, typer.Option("--allow-drop", help="Also choose whom to leave out (drop_error); joint only.")
    ] = False,
    resource_block_hz: Annotated[
        float | None, typer.Option(help="Give bandwidth in whole blocks of so many Hz.", show_default=False)
    ] = None,
    error_budget: Annotated[
        float | None,
        typer.Option(help="Shortest round with Σ weight·error of at most so much.", show_default=False),
    ] = None,
) -> None:
    """Choose pruning rates and bandwidth: for a problem file, or for a scenario's first round."""
    from airtune import api
    from airtune.files import write_whole
    from airtune.planning import Problem
    from airtune.scenario_file import load_scenario

    # JSON is YAML too: only its name tells a problem file from a scenario.
    problem = Problem.load(source) if source.suffix == ".json" else load_scenario(source)
    why = None
    try:
        if method == "joint" and resource_block_hz is None and error_budget is None:
            why = api.explained(problem, allow_drop=allow_drop)
            chosen = why.plan
        else:
            chosen = api.plan(
                problem,
                method,
                allow_drop=allow_drop,
                error_budget=error_budget,
                resource_block_hz=resource_block_hz,
            )
    except ArgumentError as error:
        found = words(option(error.found)) if error.found in _PLAN_OPTIONS else error.found
        raise InputError(option(error.argument), "", found, error.expected) from error
    if out is not None:
        write_whole(out, chosen.to_json())
    if json:
        print(chosen.to_json(), end="")
    else:
        from airtune.results.terminal import print_plan

        print_plan(chosen, why)
