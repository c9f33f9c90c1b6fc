"""Sets links as each round is planned, and measures the round."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airtune.observer import Observer
from airtune.scenario import Scenario
from airtune.testbed.calibration import Calibration
from airtune.testbed.client_app import computing
from airtune.testbed.network import run_all, shape_commands
from airtune.testbed.node import process_file
from airtune.testbed.rows import Row, write_rows
from airtune.testbed.wire import Wire


class Stopwatch(Observer):
    """The observer of a run whose clients are real.

    Args:
        factor: seconds on the wall for one simulated second.
        home: where nodes say which processes they are, and clients how long they computed.
        directory: of the run; gets testbed.csv.
    """

    def __init__(
        self,
        scenario: Scenario,
        calibration: Calibration,
        factor: float,
        wire: Wire,
        home: Path,
        directory: Path,
    ) -> None:
        self._number_of = {member.id: number for number, member in enumerate(scenario.members())}
        self._overhead_s, self._factor, self._wire = calibration.overhead_s, factor, wire
        self._home, self._directory = home, directory
        self._rows: list[Row] = []
        self._begin = 0.0
        self._done_at: dict[str, float] = {}

    def on_plan(self, round_number: int, rates: Mapping[str, tuple[float, float]]) -> None:
        """Shapes the links: the messages of the round are sent next."""
        for name, (down, up) in rates.items():
            client = self._number_of[name]
            process = int(process_file(self._home, client).read_text())
            run_all(shape_commands(client, process, down / self._factor, up / self._factor))
        self._done_at = {}
        self._wire.start()
        self._begin = time.monotonic()

    def on_client(self, round_number: int, client: str, loss: float) -> None:
        """Its update is there."""
        self._done_at[client] = time.monotonic()

    def on_round(self, event: dict[str, Any]) -> None:
        """Compares."""
        self._wire.stop()
        self._rows += [self._row(event["round"], told) for told in event["clients"]]
        write_rows(self._directory, self._rows)

    def _row(self, number: int, told: Mapping[str, Any]) -> Row:
        name = told["id"]
        client, done_at = self._number_of[name], self._done_at[name]
        computed = computing(self._home, number, client)
        down = self._wire.down(client, self._begin, computed.begin)
        up = self._wire.up(client, computed.end, done_at)
        compute_s, whole_s = computed.end - computed.begin, done_at - self._begin
        predicted = {phase: self._factor * told[f"{phase}_s"] for phase in ("download", "compute", "upload")}
        overhead_s = float(self._overhead_s[client])
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
            overhead_measured_s=whole_s - down.seconds - compute_s - up.seconds,
            round_predicted_s=sum(predicted.values()) + overhead_s,
            round_measured_s=whole_s,
            bytes_down=told["bytes_down"],
            bytes_down_wire=round(down.bytes),
            bytes_up=told["bytes_up"],
            bytes_up_wire=round(up.bytes),
            cpu_s=computed.cpu_s,
        )
