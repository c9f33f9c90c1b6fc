"""Before a run: a scenario to start from, a model, what this machine can do."""

from pathlib import Path
from typing import Annotated

import typer

from airtune.errors import AirtuneError


def init(path: Annotated[Path, typer.Argument(help="File to write.")] = Path("scenario.yaml")) -> None:
    """Write a commented scenario to start from."""
    from importlib.resources import files

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(files("airtune").joinpath("template.yaml").read_text(encoding="utf-8"))
    except OSError as error:
        raise AirtuneError(f"{path}: {error.strerror}; airtune init writes a new file") from error
    print(f"wrote {path}; now: airtune plan {path}, airtune run {path}")


def fetch(
    name: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="smollm2-135m, tiny, a folder or a hub name; or gsm_symbolic, the task."
        ),
    ],
) -> None:
    """Download a model (or a task's generator) once, so that runs start at once and offline."""
    from airtune.assets import REASONING_GYM, fetch_wheel

    if name == "gsm_symbolic":
        print(fetch_wheel(REASONING_GYM))
        return
    from airtune.learning.models import prepare

    print(prepare(name))


def profile(
    model: Annotated[str, typer.Option(help="Model to train.")] = "smollm2-135m",
    out: Annotated[Path, typer.Option(help="File to write; its name names the device.")] = Path(
        "device.yaml"
    ),
) -> None:
    """Measure how fast this machine trains, as a device for scenarios: `device: device.yaml`."""
    from airtune.federation.profiling import profile_device

    chosen = profile_device(model, out, print)
    rate, error = chosen.throughput / 1e9, chosen.measured["error"]
    print(f"wrote {out}: {rate:.4g} GFLOP/s, off a step's time by {error:.0%}; in a scenario: device: {out}")
