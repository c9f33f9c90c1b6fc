"""A run's folder: scenario, plans, events, checkpoint, adapter, summary, report under stable names."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import IO, Any

from airtune.costs.shapes import ModelShape
from airtune.errors import AirtuneError
from airtune.federation.checkpoint import FILE as CHECKPOINT
from airtune.federation.checkpoint import Checkpoint
from airtune.files import LOCK, held_alone, made_folder, write_whole
from airtune.learning.model_folder import save_model
from airtune.learning.models import base_path, load_base
from airtune.learning.peft_format import save_adapter
from airtune.methods import METHODS
from airtune.planning import Plan
from airtune.pruning.adapters import Adapter
from airtune.pruning.measured import MeasuredPath, kept, measured_path
from airtune.pruning.stacking import weight_changes
from airtune.results.event_schema import RoundEvent
from airtune.results.events import EVENTS_FILE, append_events, read_events, round_events, summarise
from airtune.results.events import start_event as first_start_event
from airtune.results.report import write_report
from airtune.scenario import Scenario
from airtune.scenario_file import SCENARIO, check_unchanged, dump_scenario

PATH, PLANS, SUMMARY = "path.npz", "plans", "summary.json"
ADAPTER, MODEL = "adapter", "model"


class RunFolder:
    """One run on disk. Every file is replaced in one step; events are only ever appended."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def prepare(self, scenario: Scenario, resume: bool) -> None:
        """Begin a folder, or check that it holds this very run when it is to go on.

        Raises:
            AirtuneError: the folder holds something and `resume` is not asked for.
            InputError: it holds a run of another scenario.
        """
        file = self.directory / SCENARIO
        if resume and file.exists():
            check_unchanged(file, scenario, "run")
            return
        # A run that was killed at its very beginning leaves no more than these.
        foreign = made_folder(self.directory) - {LOCK, f"{SCENARIO}.new"}
        if foreign:
            choice = "and no run to go on with" if resume else "go on with --resume or choose another --out"
            raise AirtuneError(f"{self.directory}: not empty; {choice}")
        write_whole(file, dump_scenario(scenario))

    def forget(self) -> None:
        """Take back what was begun, if it failed before there was anything to go on from."""
        if (self.directory / CHECKPOINT).exists():
            return
        for name in (SCENARIO, PATH, LOCK):
            (self.directory / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody else's files may lie there
            self.directory.rmdir()

    def restart(self) -> None:
        """Take the rounds of an unfinished run back: it begins again."""
        for name in (CHECKPOINT, EVENTS_FILE):
            (self.directory / name).unlink(missing_ok=True)
        shutil.rmtree(self.directory / PLANS, ignore_errors=True)

    def lock(self) -> IO[str]:
        """Keep others out while the returned file is open (`files.held_alone`)."""
        return held_alone(self.directory, "running")

    def finished(self) -> bool:
        """Whether the run in this folder has ended."""
        return (self.directory / SUMMARY).exists()

    def measured_path(self, scenario: Scenario) -> MeasuredPath:
        """The run's own copy of the reduction path: a run goes on with the path it began with."""
        return kept(self.directory / PATH, lambda: measured_path(scenario))

    def resume(self) -> Checkpoint | None:
        """The checkpoint to go on from, its event on file; None before the first one."""
        state = Checkpoint.load(self.directory)
        if state is None:
            return None
        events = self.directory / EVENTS_FILE
        written = read_events(events) if events.exists() else []
        missing = [] if state.event in written else [state.event]
        append_events(events, [*missing, {"event": "resume", "round": state.round_number + 1}])
        return state

    def keep(self, state: Checkpoint) -> None:
        """Checkpoint first, event second: whoever resumes writes the event if it is not there."""
        state.save(self.directory)
        append_events(self.directory / EVENTS_FILE, [state.event])

    def start_event(self) -> dict[str, Any]:
        """The first event of the run."""
        return dict(first_start_event(read_events(self.directory / EVENTS_FILE)))

    def rounds(self) -> list[RoundEvent]:
        """The events of the rounds so far."""
        return round_events(read_events(self.directory / EVENTS_FILE))

    def write_plan(self, round_number: int, plan: Plan) -> None:
        """Keep a round's plan."""
        (self.directory / PLANS).mkdir(exist_ok=True)
        write_whole(self.directory / PLANS / f"round-{round_number:03d}.json", plan.to_json())

    def finish(self, adapter: Adapter, full: ModelShape, scenario: Scenario) -> None:
        """Write adapter or model, end event, report and, as the sign that all is there, the summary.

        An adapter that is empty, as of a run clocked from facts alone, is not written.
        """
        if adapter:
            self._write_learnt(adapter, full, scenario)
        events = self.directory / EVENTS_FILE
        written = read_events(events)
        summary = summarise(written)
        if all(event["event"] != "end" for event in written):
            append_events(events, [{"event": "end", **summary}])
        write_report(self.directory)
        write_whole(self.directory / SUMMARY, json.dumps(summary, indent=1) + "\n")

    def _write_learnt(self, adapter: Adapter, full: ModelShape, scenario: Scenario) -> None:
        model, lora = scenario.model, scenario.lora
        stacks = METHODS[scenario.method].stacks
        is_model = stacks or lora.rank == "full"
        learnt = self.directory / (MODEL if is_model else ADAPTER)
        new = learnt.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        if is_model:
            changes = weight_changes(adapter, lora.scale) if stacks else adapter
            save_model(new, changes, load_base(model.name, model.dtype))
        else:
            save_adapter(new, adapter, full, lora, base_path(model.name))
        shutil.rmtree(learnt, ignore_errors=True)
        new.rename(learnt)
