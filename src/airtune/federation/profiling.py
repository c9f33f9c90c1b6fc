"""Measures what a machine can do, for a device profile: training steps, and a process that starts."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import ValidationError

from airtune.device_profile import DeviceProfile
from airtune.errors import AirtuneError, InputError, words
from airtune.federation.start_time import start_seconds
from airtune.files import write_whole
from airtune.learning.step_times import ROWS, StepTime, measure_steps, total_memory
from airtune.misfits import first_error


def profile_device(model: str, file: Path, tell: Callable[[str], None]) -> DeviceProfile:
    """Measure training steps on this machine and write them to `file`, whose name names the device.

    Args:
        model: as a scenario's `model.name`.
        tell: gets a line a measurement.

    Raises:
        InputError: there is no such model, or the file's name is no device's or cannot be written.
    """

    def told(step: StepTime) -> None:
        rate, memory = step.flops / step.seconds / 1e9, step.peak_bytes / 1e9
        size = f"{ROWS} x {step.length} tokens, pruned {step.prune:.2f}"
        tell(f"{size}: {step.seconds:.3f} s a step, {rate:.4g} GFLOP/s, {memory:.2f} GB")

    if file.suffix != ".yaml" or not file.absolute().parent.is_dir():
        raise InputError(
            file, "", words("another kind of name or no such folder"), "a file NAME.yaml to write"
        )
    try:
        profile = DeviceProfile(name=file.stem, throughput=1.0, memory=float(total_memory()))
    except ValidationError as error:
        raise first_error(file, error) from error
    steps = measure_steps(model, told)
    throughput, off = fit_throughput(
        np.array([step.flops for step in steps]), np.array([step.seconds for step in steps])
    )
    measured = {"model": model, "rows": ROWS, "error": off, "steps": [asdict(step) for step in steps]}
    try:
        overhead = start_seconds(model)
        tell(f"a process that starts: {overhead:.1f} s until it can train")
    except AirtuneError as error:  # two of them may be more than the memory holds
        overhead = None
        tell(f"a process that starts was not measured: {error}")
    found = {"throughput": throughput, "overhead": overhead, "measured": measured}
    profile = profile.model_copy(update=found)
    write_whole(file, yaml.safe_dump(profile.model_dump(), sort_keys=False))
    return profile


def fit_throughput(flops: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64]) -> tuple[float, float]:
    """FLOP/s that predict the steps' seconds best, and how far off they are: both relative.

    The geometric mean of every step's FLOP/s minimises Σ (log predicted − log measured)²; the second number
    is the root of that sum's mean.
    """
    logarithms = np.log(flops / seconds)
    return float(np.exp(logarithms.mean())), float(logarithms.std())
