"""What earlier runs say about the planner's rounds to target: read, fitted, and told in a few lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from airtune.errors import InputError, words
from airtune.planning.calibrate import Reached, fit, reached, tells_penalty
from airtune.results.events import EVENTS_FILE, read_events, round_events, start_event
from airtune.results.formats import number
from airtune.results.plans import plan_file, read_plan
from airtune.scenario import Convergence, Scenario
from airtune.scenario_file import SCENARIO, load_scenario

Array = npt.NDArray[np.float64]

# Runs that differ in one of these need other numbers of rounds for other reasons than their plans.
_ALIKE = ("model", "lora", "task", "partition", "training", "payload", "clients")
_ALIKE_CONVERGENCE = ("exponent", "anchors")  # what planned errors mean


@dataclass(frozen=True)
class _Run:
    """One run: test loss before the first round and after each (R + 1,), and planned errors (R,)."""

    directory: Path
    scenario: Scenario
    loss: Array
    error: Array


def calibrate(directories: Sequence[Path], target: float | None = None) -> str:
    """Fit `convergence.base` and `.penalty` to runs of one task, and say how well they fit.

    Args:
        directories: run folders, finished or not.
        target: test loss; by default the lowest that every run has reached.

    Raises:
        InputError: a folder is not that of a run, has no round or another task, or never reached the target.
    """
    runs = [_read(directory) for directory in directories]
    for run in runs:
        _check_alike(runs[0], run)
    if target is not None and not 0 < target < np.inf:
        raise InputError("--target", "", target, "a test loss above 0")
    target = max(float(run.loss.min()) for run in runs) if target is None else target
    found = [_reached(run, target) for run in runs]
    lines = [f"to a test loss of {number(target)}:"]
    width = max(len(str(run.directory)) for run in runs)
    for run, how in zip(runs, found, strict=True):
        path = str(run.directory).ljust(width)
        lines.append(f"  {path}  {how.rounds:.2f} rounds, mean error {how.mean_error:.4f}")
    return "\n".join([*lines, _answer(runs[0].scenario.convergence, found)])


def _answer(convergence: Convergence, found: list[Reached]) -> str:
    penalty = convergence.penalty
    if not tells_penalty(found):
        why = "one run does" if len(found) == 1 else "runs of the same error do"
        alone = fit(found, penalty)
        if alone is None:
            return f"{why} not tell the penalty, and with {penalty:.4g} no base fits"
        return f"{why} not tell the penalty; with {penalty:.4g}, base is {alone.base:.4g}"
    fitted = fit(found)
    if fitted is None:
        return "no base above 0 fits these runs"
    if not fitted.penalty > 0:
        return f"these runs do not show that error costs rounds: penalty {fitted.penalty:.4g} is not above 0"
    others = ((field, getattr(convergence, field)) for field in _ALIKE_CONVERGENCE)
    kept = "".join(f", {field}: {value:.4g}" for field, value in others if value is not None)
    exact = ", as two runs always are" if len(found) == 2 else ""
    return (
        f"residual {fitted.residual:.1%} of the way to the target (root mean square){exact}\n"
        "in the scenario:\n"
        f"convergence: {{base: {fitted.base:.4g}, penalty: {fitted.penalty:.4g}{kept}}}"
    )


def _read(directory: Path) -> _Run:
    if not directory.is_dir():
        raise InputError(directory, "", words("no such folder"), "the folder of a run")
    events = read_events(directory / EVENTS_FILE)
    start, rounds = start_event(events), round_events(events)
    if not rounds:
        raise InputError(directory / EVENTS_FILE, "", words("no finished round"), "a run with rounds")
    scenario = load_scenario(directory / SCENARIO)
    planned = [_planned_rounds(plan_file(directory, event["round"])) for event in rounds]
    error = (1 - scenario.convergence.base / np.array(planned)) / scenario.convergence.penalty
    loss = np.array([start["loss"], *(event["loss"] for event in rounds)])
    return _Run(directory, scenario, loss, np.maximum(error, 0.0))


def _planned_rounds(file: Path) -> float:
    """N of a plan file; the run's own base and penalty tell E from it."""
    rounds = read_plan(file).rounds
    if not rounds > 0:
        raise InputError(file, "rounds", rounds, "a number above 0")
    return rounds


def _check_alike(first: _Run, other: _Run) -> None:
    for field, (own, wanted) in _compared(other.scenario, first.scenario).items():
        if own != wanted:
            found = words(f"another value than in {first.directory}")
            raise InputError(other.directory / SCENARIO, field, found, "runs of one task")


def _compared(own: Scenario, wanted: Scenario) -> dict[str, tuple[object, object]]:
    """Both values of every setting that has to be the same; the data may lie elsewhere."""
    pairs = {field: (getattr(own, field), getattr(wanted, field)) for field in _ALIKE}
    anywhere = {"data": None}
    pairs["task"] = own.task.model_copy(update=anywhere), wanted.task.model_copy(update=anywhere)
    for field in _ALIKE_CONVERGENCE:
        both = getattr(own.convergence, field), getattr(wanted.convergence, field)
        pairs[f"convergence.{field}"] = both
    return pairs


def _reached(run: _Run, target: float) -> Reached:
    file = run.directory / EVENTS_FILE
    if not target < run.loss[0]:
        raise InputError(file, "loss", float(run.loss[0]), f"a start above the target of {number(target)}")
    found = reached(run.loss, run.error, target)
    if found is None:
        lowest = number(float(run.loss.min()))
        raise InputError(
            file, "loss", words(f"{lowest} at best"), f"a run that reaches the target of {number(target)}"
        )
    return found
