"""Sets links as each round is planned, and measures the round."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from airtune.files import write_whole
from airtune.observer import Observer
from airtune.scenario import Scenario
from airtune.testbed.calibration import Calibration
from airtune.testbed.client_app import computing
from airtune.testbed.network import run_all, shape_commands
from airtune.testbed.node import process_file
from airtune.testbed.pace import Pace
from airtune.testbed.rows import FACTS, Row, write_rows
from airtune.testbed.wire import Wire


class Stopwatch(Observer):
    """The observer of a run whose clients are real.

    Args:
        pace: how much slower than simulated all of it is.
        home: where nodes say which processes they are, and clients how long they computed.
        directory: of the run; gets testbed.csv, and testbed.json with how it was calibrated.
    """

    def __init__(
        self,
        scenario: Scenario,
        calibration: Calibration,
        pace: Pace,
        wire: Wire,
        home: Path,
        directory: Path,
    ) -> None:
        self._number_of = {member.id: number for number, member in enumerate(scenario.members())}
        self._calibration, self._pace, self._wire = calibration, pace, wire
        self._home, self._directory = home, directory
        self._rows: list[Row] = []
        self._begin = 0.0
        self._done_at: dict[str, float] = {}

    def on_start(self, event: dict[str, Any], rounds_done: int) -> None:
        """The folder is there: says what everything was measured to be before."""
        down, up = self._calibration.framing
        facts = {
            "factor": self._pace.factor,
            "core_flops_per_s": self._calibration.core_flops_per_s,
            "reading_s": self._calibration.reading_s,
            "framing_down": down,
            "framing_up": up,
            "clients": [
                {
                    "id": name,
                    "cores": float(self._pace.cores[client]),
                    "overhead_s": float(self._calibration.overhead_s[client]),
                }
                for name, client in self._number_of.items()
            ],
        }
        write_whole(self._directory / FACTS, json.dumps(facts, indent=1) + "\n")

    def on_plan(self, round_number: int, rates: Mapping[str, Sequence[float]]) -> None:
        """Shapes the links: the messages of the round are sent next."""
        for name, (down, up) in rates.items():
            client = self._number_of[name]
            process = int(process_file(self._home, client).read_text())
            # Planned rates are those of the adapter's bytes: what carries them comes on top.
            down_framing, up_framing = (one / self._pace.factor for one in self._calibration.framing)
            run_all(shape_commands(client, process, down * down_framing, up * up_framing))
        self._done_at = {}
        self._wire.start()
        self._begin = time.monotonic()

    def on_client(self, round_number: int, client: str, loss: float | None) -> None:
        """Its update is there."""
        self._done_at[client] = time.monotonic()

    def on_round(self, event: dict[str, Any]) -> None:
        """Compares."""
        self._wire.stop()
        rows = [self._row(event["round"], told) for told in event["clients"]]
        predicted_s = max((row.round_predicted_s for row in rows), default=0.0) + self._calibration.reading_s
        measured_s = max(self._done_at.values()) - self._begin
        self._rows += [replace(row, all_predicted_s=predicted_s, all_measured_s=measured_s) for row in rows]
        write_rows(self._directory, self._rows)

    def _row(self, number: int, told: Mapping[str, Any]) -> Row:
        name = told["id"]
        client = self._number_of[name]
        computed = computing(self._home, number, client)
        down = self._wire.down(client, self._begin, computed.begin)
        up = self._wire.up(client, computed.end, self._done_at[name])
        compute_s, round_s = computed.end - computed.begin, up.end - self._begin
        predicted = {
            phase: self._pace.factor * told[f"{phase}_s"] for phase in ("download", "compute", "upload")
        }
        overhead_s = float(self._calibration.overhead_s[client])
        return Row(
            round=number,
            client=name,
            download_predicted_s=predicted["download"],
            download_measured_s=down.seconds,
            compute_predicted_s=predicted["compute"],
            compute_measured_s=compute_s,
            upload_predicted_s=predicted["upload"],
            upload_measured_s=up.seconds,
            overhead_predicted_s=overhead_s,
            overhead_measured_s=round_s - down.seconds - compute_s - up.seconds,
            round_predicted_s=sum(predicted.values()) + overhead_s,
            round_measured_s=round_s,
            bytes_down=told["bytes_down"],
            bytes_down_wire=round(down.bytes),
            bytes_up=told["bytes_up"],
            bytes_up_wire=round(up.bytes),
            cpu_s=computed.cpu_s,
        )
