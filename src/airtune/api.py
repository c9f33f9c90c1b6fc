"""The library's verbs: plan, run, compare and sweep."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from airtune import planning
from airtune.budget import Budget
from airtune.errors import ArgumentError, words
from airtune.methods import METHODS, Situation
from airtune.observer import Observer, Observers
from airtune.planning import Plan, Problem, participation
from airtune.planning.blocks import in_blocks
from airtune.planning.explain import Explanation, explain
from airtune.scenario import Scenario, known_method

if TYPE_CHECKING:
    from airtune.observer import CompareObserver
    from airtune.results.comparison import Comparison
    from airtune.sweeping.sweep import Sweep

Engine = Literal["in-process", "flower-simulation", "flower-deployment"]


def plan(
    problem: Problem | Scenario,
    method: str = "joint",
    gap: float = 1e-6,
    allow_drop: bool = False,
    error_budget: float | None = None,
    resource_block_hz: float | None = None,
) -> Plan:
    """Choose every client's pruning rate and bandwidth.

    Args:
        problem: numbers, or a scenario: then its first round's channels are planned. A scenario's model
            is measured the first time it is planned (a minute, with torch) and read from the cache then.
        method: one of `airtune.methods.METHODS`.
        gap: relative gap at which `joint` stops.
        allow_drop: also choose whom to leave out, at the cost of its `drop_error`; with `joint` only.
        error_budget: make the round as short as it can be with Σ w·e(ρ) of at most so much, instead of the
            whole run; with `joint` only, and nobody left out.
        resource_block_hz: give bandwidth in whole blocks of so many Hz; with `joint` only, neither of the
            two above beside it.

    Raises:
        InfeasibleError: no plan exists; names the client that binds.
        InputError: the scenario is none for this method.
        ArgumentError (a ValueError): there is no such method, arguments exclude each other, the budget is
            below 0 or not below 1/penalty, blocks are of no use in a cell, or the method cuts a model.

    Example:
        >>> import airtune
        >>> chosen = airtune.plan(airtune.Problem.load("problem.json"))
        >>> chosen.total_s, chosen.prune, chosen.bandwidth_hz
    """
    _check(method, allow_drop, error_budget, resource_block_hz)
    situation = first_round(problem, method, gap)
    allowed = situation.allowed
    if allow_drop:
        return participation.solve(situation.problem(allowed), gap)
    if error_budget is not None:
        return planning.plan(situation.problem(allowed), method, gap, allowed, error_budget=error_budget)
    chosen = METHODS[method].plan(situation)
    if resource_block_hz is not None:
        return in_blocks(situation.problem(allowed), chosen, resource_block_hz)
    return chosen


def explained(problem: Problem | Scenario, gap: float = 1e-6, allow_drop: bool = False) -> Explanation:
    """The plan of `joint`, with what binds its clients, and what would help; both as in `plan`."""
    chosen = plan(problem, "joint", gap, allow_drop)
    situation = first_round(problem, "joint", gap)
    why = explain(situation.problem(situation.allowed), chosen)
    return replace(why, plan=replace(chosen, binds=why.binds))


def _check(method: str, allow_drop: bool, error_budget: float | None, block_hz: float | None) -> None:
    """What goes with what; an error names the first argument that does not fit."""
    try:
        known_method(method)
    except ValueError as error:
        raise ArgumentError("method", method, str(error)) from error
    other = None if method == "joint" else words(f"method {method}")
    if allow_drop and other:
        raise ArgumentError("allow_drop", other, "joint")
    other = "allow_drop" if allow_drop else other
    if block_hz is not None and other:
        raise ArgumentError("resource_block_hz", other, "method joint, with nobody left out")
    other = "resource_block_hz" if block_hz is not None else other
    if error_budget is not None and other:
        raise ArgumentError("error_budget", other, "method joint alone")


def first_round(problem: Problem | Scenario, method: str, gap: float = 1e-6) -> Situation:
    """What `plan` plans with.

    Raises:
        ArgumentError: numbers alone are too little for this method.
        InputError: the scenario is none for this method.
    """
    if isinstance(problem, Problem):
        if METHODS[method].submodels is not None:
            expected = "another, or a scenario instead of numbers: it cuts sub-models of a model"
            raise ArgumentError("method", method, expected)
        return Situation.of(problem, METHODS[method].select(problem), gap)
    from airtune.federation.gradients import unknown
    from airtune.federation.setting import make_setting
    from airtune.pruning.measured import measured_path
    from airtune.radio.channel import draw_channels

    scenario = problem.model_copy(update={"method": method})
    setting = make_setting(scenario, measured_path(scenario))
    situation = setting.situation(draw_channels(scenario, 1), unknown(scenario))
    return replace(situation, gap=gap)


def run(
    scenario: Scenario,
    directory: str | Path,
    resume: bool = False,
    observer: Observer | None = None,
    learnt: str | Path | None = None,
    budget: Budget | str | float | None = None,
    engine: Engine = "in-process",
    log: str | None = None,
    deadline: float | None = None,
) -> Path:
    """Fine-tune: rounds of planning, local training and merging, with all results in `directory`.

    Args:
        directory: an empty or new folder, or with `resume` one that a killed run of this scenario left.
        observer: told how it goes on.
        learnt: folder of learnt rounds, shared with other runs: what is there is not learnt again; only with
            all clients in this process.
        budget: simulated seconds, or text such as "400 s", "500 MB" (up and down) or "20 kJ"; the round that
            reaches it is the last.
        engine: all clients in this process, or Flower's simulation or deployment engine with processes of
            their own on this machine, stopped when this returns. What is learnt is the same, to the bit.
        log: "tensorboard" or "mlflow", to have its rounds there too (docs/loggers.md).
        deadline: real seconds that a round on an engine of Flower's waits for replies before it goes on
            without those who are late; None for as long as it takes.

    Returns:
        The folder.

    Raises:
        ArgumentError (a ValueError): there is no such engine or logger, the budget or deadline is none, or
            `learnt` is given for a run on an engine of Flower's, or one that began there, or `deadline` for
            one in this process, where clients wait for each other.
        AirtuneError: scenario, data, model or folder is not usable.
        InfeasibleError: a round allows no plan; on Flower's engines as an AirtuneError.
    """
    from airtune.federation.server_app import RunOptions

    if engine not in get_args(Engine):
        raise ArgumentError("engine", engine, "in-process, flower-simulation or flower-deployment")
    try:
        limit = None if budget is None else Budget.read(budget)
    except ValueError as error:
        raise ArgumentError("budget", budget, str(error)) from error
    if limit is not None:
        limit.check(scenario)  # before an engine or a logger is started
    options = RunOptions(None if learnt is None else Path(learnt), limit, _deadline(deadline, engine))
    place, told = Path(directory), observer or Observer()

    def play(told: Observer) -> None:
        if engine == "in-process":
            from airtune.federation.in_process import run_in_process

            run_in_process(scenario, place, resume, told, options)
        else:
            from airtune.federation.flower import run_on_flower

            run_on_flower(scenario, place, resume, told, options, simulation=engine == "flower-simulation")

    if log is None:
        play(told)
        return place
    from airtune.results.loggers import RunLogger, check_logger

    check_logger(log)
    with RunLogger(log, place) as logger:
        play(Observers(told, logger))
    return place


def _deadline(deadline: float | None, engine: str) -> float | None:
    from airtune.federation.overdue import seconds

    if deadline is not None and engine == "in-process":
        raise ArgumentError("deadline", deadline, "none where clients train one after the other")
    try:
        return None if deadline is None else seconds(deadline)
    except ValueError as error:
        raise ArgumentError("deadline", deadline, str(error)) from error


def compare(
    scenario: Scenario,
    directory: str | Path,
    methods: Sequence[str],
    reductions: Sequence[str] | None = None,
    seeds: int = 1,
    target_loss: float | Literal["auto"] = "auto",
    budget: Budget | str | float | None = None,
    workers: int | None = None,
    learnt: str | Path | None = None,
    observer: "CompareObserver | None" = None,
    bandwidth: Sequence[str] | None = None,
    log: str | None = None,
) -> "Comparison":
    """Play every method with every reduction and seed, on the same data and channels, and compare them.

    Runs go on in processes of their own. What has ended already is not played again.

    Args:
        directory: an empty or new folder, or one in which this comparison has begun.
        reductions: for methods that prune; by default the scenario's.
        seeds: how many; seed s is the scenario's + s.
        target_loss: test loss to reach; "auto" is what `fedit` ends with.
        budget: after which runs end, as `run` takes it.
        workers: processes at once; by default as many as cores and memory allow.
        learnt: folder of learnt rounds to share with other comparisons; by default one of its own.
        bandwidth: "own" for the methods' own shares, "optimal" for those that end their rounds soonest, or
            both; by default the scenario's.
        log: as in `run`, of each run when it has ended.

    Raises:
        ArgumentError (a ValueError): there is no such logger.
        AirtuneError: arguments, scenario or folder are not usable, no run has ended, or all is written but a
            run could not be logged.
    """
    from airtune.comparing.compare import play_comparison
    from airtune.comparison_file import RUNS, checked_settings
    from airtune.observer import CompareObserver

    fields = {
        "schema": "airtune-compare/1",
        "methods": list(methods),
        "reductions": list(reductions or [scenario.reduction]),
        "bandwidth": list(bandwidth or [scenario.bandwidth]),
        "seeds": list(range(seeds)),
        "target_loss": target_loss,
        "budget": budget,
    }
    settings, told = checked_settings(fields, "compare"), observer or CompareObserver()
    place, shared = Path(directory), None if learnt is None else Path(learnt)

    def play(told: CompareObserver) -> "Comparison":
        return play_comparison(scenario, settings, place, shared, workers, told)

    if log is None:
        return play(told)
    from airtune.results.loggers import RunsLogger, check_logger

    check_logger(log)
    with RunsLogger(log, place / RUNS, told) as logger:
        return play(logger)


def sweep(
    directory: str | Path,
    compute: Sequence[float | str] = (),
    bandwidth: Sequence[float | str] = (),
    heterogeneity: Sequence[float | str] = (),
    clients: Sequence[int | str] = (),
    on_point: Callable[[int, int], None] = lambda done, of: None,
) -> "Sweep":
    """Clock a comparison's runs on other devices and links, and plan for them; nothing is trained.

    Writes sweep.csv and sweep.html into the comparison's folder. docs/sweeps.md says what the numbers are.

    Args:
        directory: of a comparison.
        compute: factors of every device's speed.
        bandwidth: of every cell's uplink, in Hz or as text ("5 MHz"), its downlink in proportion.
        heterogeneity: exponents of every device's speed over the fleet's geometric mean.
        clients: numbers of clients; planned only.
        on_point: told how many of how many values are done.

    Raises:
        AirtuneError: folder or values are not usable.
    """
    from airtune.sweeping.axes import checked_axes
    from airtune.sweeping.report import write_sweep
    from airtune.sweeping.sweep import play_sweep

    fields = {
        "compute": list(compute),
        "bandwidth": list(bandwidth),
        "heterogeneity": list(heterogeneity),
        "clients": list(clients),
    }
    found = play_sweep(Path(directory), checked_axes(fields), on_point)
    write_sweep(found, Path(directory))
    return found
