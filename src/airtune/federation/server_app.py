"""The server: round after round over any Flower grid, with a checkpoint after each."""

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from airtune.budget import Budget
from airtune.errors import AirtuneError
from airtune.federation.buffered import play_buffered_round
from airtune.federation.checkpoint import Checkpoint
from airtune.federation.exchange import nodes_by_client
from airtune.federation.folder import RunFolder
from airtune.federation.gradients import unknown
from airtune.federation.learn import Learner, StateGoneError
from airtune.federation.learnt_rounds import LearntRounds
from airtune.federation.report import Report, ReportedDevice
from airtune.federation.round import play_round
from airtune.federation.setting import Setting, make_setting
from airtune.observer import Observer
from airtune.privacy.accountant import promised
from airtune.radio.channel import draw_channels
from airtune.results.event_schema import SCHEMA
from airtune.results.events import EVENTS_FILE
from airtune.scenario import Scenario
from airtune.scenario_file import configured_scenario
from airtune.version import __version__


@dataclass(frozen=True)
class RunOptions:
    """How a run is played, beyond its scenario.

    Attributes:
        learnt: folder of learnt rounds, shared with other runs: what is there is not learnt again.
        budget: the round that reaches it is the last.
        deadline_s: real seconds that a round waits for replies; None for as long as it takes.
        overhead_s: simulated seconds, at least 0, that a round takes a client (by number) beside downloading,
            computing and uploading, where the caller has measured them: they hold for the whole run in
            place of what scenario and nodes say. A run that goes on keeps those that it began with.
    """

    learnt: Path | None = None
    budget: Budget | None = None
    deadline_s: float | None = None
    overhead_s: Mapping[int, float] = field(default_factory=dict)


def server_app(observer: Observer, options: RunOptions = RunOptions()) -> ServerApp:
    """A ServerApp that plays the run of its run configuration, and tells `observer` how it goes on.

    The configuration holds the scenario (`scenario`, as in `configured_scenario`), the run's folder (`out`)
    and whether to go on with the run in it (`resume`).
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        config = context.run_config
        scenario = configured_scenario(str(config["scenario"]))
        run_in_folder(grid, scenario, Path(str(config["out"])), bool(config["resume"]), observer, options)

    return app


def run_in_folder(
    grid: Grid, scenario: Scenario, directory: Path, resume: bool, observer: Observer, options: RunOptions
) -> None:
    """Run a scenario to its end, beginning in an empty `directory` or going on with the run in it.

    Raises:
        AirtuneError: the folder, the scenario, its data or its model is not usable.
        InfeasibleError: a round allows no plan.
    """
    if options.budget is not None:
        options.budget.check(scenario)
    folder = RunFolder(directory)
    folder.prepare(scenario, resume)
    with folder.lock():
        if folder.finished():
            return
        try:
            try:
                run_rounds(grid, scenario, folder, observer, options)
            except StateGoneError:
                folder.restart()
                run_rounds(grid, scenario, folder, observer, options, whole=True)
        except AirtuneError:
            folder.forget()
            raise


def run_rounds(
    grid: Grid,
    scenario: Scenario,
    folder: RunFolder,
    observer: Observer,
    options: RunOptions,
    whole: bool = False,
) -> None:
    """Play the rounds that a folder's checkpoint has not seen yet, then write the results.

    Args:
        whole: learn rounds again of which only the facts are left.

    Raises:
        StateGoneError: a round is to be learnt after rounds of which only the facts are left.
    """
    started = time.perf_counter()
    path = folder.measured_path(scenario)
    setting = make_setting(scenario, path)
    nodes, reports = nodes_by_client(grid, [member.id for member in scenario.members()])
    state = folder.resume()
    overhead_s = _reported_overhead(reports) | dict(options.overhead_s)
    if state is not None:  # what was known when the run began holds to its end
        reports, overhead_s = _begun_with(folder.start_event())
    devices = {client: told.device.device() for client, told in reports.items() if told.device}
    if devices or overhead_s:
        setting = make_setting(scenario.with_nodes(devices, overhead_s), path)
    kept = LearntRounds(options.learnt, whole) if options.learnt else None
    learner = Learner(grid, nodes, setting, kept, options.deadline_s)
    if state is None:
        # What is wrong with clients, cells or data shows here, before anything is kept.
        setting.method.plan(setting.situation(draw_channels(setting.scenario, 1), unknown(setting.scenario)))
        begin = learner.begin()
        state = Checkpoint(0, 0.0, begin.key, begin.adapter, {}, _start_event(setting, begin.loss, reports))
        folder.keep(state)
    observer.on_start(folder.start_event(), state.round_number)
    budget = options.budget
    spent = 0.0 if budget is None else sum(map(budget.part, folder.rounds()))
    play = play_round if setting.method.buffer is None else play_buffered_round
    for round_number in range(state.round_number + 1, scenario.rounds + 1):
        if budget is not None and spent >= budget.amount:
            break

        plan, state = play(setting, learner, state, observer)
        state.event["elapsed_s"] = time.perf_counter() - started
        folder.write_plan(round_number, plan)
        folder.keep(state)
        observer.on_round(state.event)
        spent += 0.0 if budget is None else budget.part(state.event)
    folder.finish(state.adapter, setting.measured.path.full, scenario)


def _start_event(setting: Setting, loss: float, reports: Mapping[int, Report]) -> dict[str, Any]:
    scenario = setting.scenario
    return {
        "event": "start",
        "schema": SCHEMA,
        "version": __version__,
        "scenario": scenario.name,
        "method": scenario.method,
        "reduction": scenario.reduction,
        "bandwidth": scenario.bandwidth,
        "rounds": scenario.rounds,
        "faults": not scenario.faults.none,
        "loss": loss,
        **promised(scenario),
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "clients": [
            {
                "id": member.id,
                "group": member.group,
                "device": member.device.name,
                "cell": scenario.cells[member.cell].id,
                "weight": member.weight,
                "overhead_s": member.overhead_s,
                **_told(reports.get(client)),
            }
            for client, member in enumerate(scenario.members())
        ],
    }


def _told(report: Report | None) -> dict[str, Any]:
    """A report's part in the start event, where the client's device has its name."""
    if report is not None and report.device is not None:
        return {"reported": report.device.model_dump(exclude_none=True, exclude={"name"})}
    return {} if report is None or report.refused is None else {"refused": report.refused}


def _reported_overhead(reports: Mapping[int, Report]) -> dict[int, float]:
    """Seconds by client, of those whose nodes report any."""
    devices = {client: report.device for client, report in reports.items() if report.device is not None}
    return {client: one.overhead for client, one in devices.items() if one.overhead is not None}


def _begun_with(start: Mapping[str, Any]) -> tuple[dict[int, Report], dict[int, float]]:
    """The reports in a start event, and everybody's overhead. Raises InputError where a report cannot be."""
    rows = list(enumerate(start["clients"]))
    reports = {
        client: Report(client, ReportedDevice.read({"name": row["device"], **row["reported"]}, EVENTS_FILE))
        for client, row in rows
        if "reported" in row
    }
    return reports, {client: row.get("overhead_s", 0.0) for client, row in rows}
