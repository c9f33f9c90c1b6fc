"""The server: round after round over any Flower grid, with a checkpoint after each."""

import platform
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from airtune.costs.error import Gradients
from airtune.federation.checkpoint import Checkpoint
from airtune.federation.folder import RunFolder
from airtune.federation.gradients import unknown
from airtune.federation.grid import InProcessGrid
from airtune.federation.judge import Judge
from airtune.federation.round import nodes_by_client, play_round
from airtune.federation.setting import Setting, make_setting
from airtune.learning.local_data import client_examples
from airtune.observer import Observer
from airtune.planning import Pace
from airtune.pruning.adapters import initial_adapter
from airtune.radio.channel import draw_channels
from airtune.results.events import SCHEMA
from airtune.scenario import Scenario
from airtune.scenario_file import parse_scenario
from airtune.version import __version__


def server_app(observer: Observer) -> ServerApp:
    """A ServerApp that tells `observer` how it goes on.

    Its run configuration holds the scenario (`scenario`, YAML) and the run's folder (`directory`).
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        scenario = parse_scenario(str(context.run_config["scenario"]))
        folder = RunFolder(Path(str(context.run_config["directory"])))
        run_rounds(grid, scenario, folder, observer)

    return app


def run_rounds(grid: Grid, scenario: Scenario, folder: RunFolder, observer: Observer) -> None:
    """Play the rounds that a folder's checkpoint has not seen yet, then write the results."""
    started = time.perf_counter()
    setting = make_setting(scenario, folder.measured_path(scenario))
    judge = Judge(scenario)
    state = folder.resume()
    if state is None:
        # What is wrong with clients, cells or data shows here, before anything is kept.
        setting.method.plan(setting.situation(draw_channels(scenario, 1), unknown(scenario)))
        client_examples(scenario)
        adapter = initial_adapter(setting.measured.path.full, scenario.seed)
        loss, _ = judge.losses(adapter)
        state = Checkpoint(0, 0.0, adapter, {}, _start_event(setting, loss))
        folder.keep(state)
    if isinstance(grid, InProcessGrid):
        grid.restore(state.clients)
    observer.on_start(folder.start_event(), state.round_number)
    ids = [member.id for member in scenario.members()]
    nodes = nodes_by_client(grid, ids)
    known = unknown(scenario)
    if "gradients" in state.event:
        known = Gradients.from_fields(state.event["gradients"])
    pace = Pace(**state.event.get("pace", {}))
    for round_number in range(state.round_number + 1, scenario.rounds + 1):

        def on_client(client: str, loss: float, number: int = round_number) -> None:
            observer.on_client(number, client, loss)

        played = play_round(grid, nodes, setting, state.adapter, known, pace, round_number, on_client)
        known, pace = played.known, pace.after(played.plan)
        folder.write_plan(round_number, played.plan)
        loss, group_loss = judge.losses(played.adapter)
        clock_s = state.clock_s + played.facts["round_s"]
        event = {
            "event": "round",
            **played.facts,
            "clock_s": clock_s,
            "loss": loss,
            "group_loss": group_loss,
            "gradients": known.to_fields(),
            "pace": asdict(pace),
            "elapsed_s": time.perf_counter() - started,
        }
        # Real nodes keep their own state; that of clients in this process would be lost with it.
        clients = grid.client_states() if isinstance(grid, InProcessGrid) else {}
        state = Checkpoint(round_number, clock_s, played.adapter, clients, event)
        folder.keep(state)
        observer.on_round(event)
    folder.finish(state.adapter, setting.measured.path.full, scenario.lora, judge.base)


def _start_event(setting: Setting, loss: float) -> dict[str, Any]:
    scenario = setting.scenario
    return {
        "event": "start",
        "schema": SCHEMA,
        "version": __version__,
        "scenario": scenario.name,
        "method": scenario.method,
        "reduction": scenario.reduction,
        "rounds": scenario.rounds,
        "loss": loss,
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "clients": [
            {
                "id": member.id,
                "group": member.group,
                "device": member.device.name,
                "cell": scenario.cells[member.cell].id,
                "weight": member.weight,
            }
            for member in scenario.members()
        ],
    }
