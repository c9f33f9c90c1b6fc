"""Sets links as each round is planned, and measures the round."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from airtune.observer import Observer
from airtune.results.testbed_facts import Facts
from airtune.results.testbed_rows import PARTS, ROWS_FILE, Row, read_rows, write_rows
from airtune.testbed.client_app import computing
from airtune.testbed.links import Links
from airtune.testbed.wire import Wire


class Stopwatch(Observer):
    """The observer of a run whose clients are real.

    Args:
        home: where clients say how long they computed.
        directory: of the run; gets testbed.csv.
    """

    def __init__(self, facts: Facts, links: Links, wire: Wire, home: Path, directory: Path) -> None:
        self._facts, self._links, self._wire = facts, links, wire
        self._home, self._directory = home, directory
        self._number_of = {client.id: number for number, client in enumerate(facts.clients)}
        self._rows: list[Row] = []
        self._begin = 0.0
        self._done_at: dict[str, float] = {}

    def on_start(self, event: dict[str, Any], rounds_done: int) -> None:
        """Goes on after the rows of the rounds before."""
        if (self._directory / ROWS_FILE).exists():
            self._rows = [row for row in read_rows(self._directory) if row.round <= rounds_done]

    def on_plan(self, round_number: int, rates: Mapping[str, Sequence[float]]) -> None:
        """Shapes the links: the messages of the round are sent next."""
        # Planned rates are those of the adapter's bytes: what carries them comes on top.
        down_framing = self._facts.framing_down / self._facts.factor
        up_framing = self._facts.framing_up / self._facts.factor
        for name, (down, up) in rates.items():
            self._links.shape(self._number_of[name], down * down_framing, up * up_framing)
        self._done_at = {}
        self._wire.start()
        self._begin = time.monotonic()

    def on_client(self, round_number: int, client: str, loss: float | None) -> None:
        """Its update is there."""
        self._done_at[client] = time.monotonic()

    def on_round(self, event: dict[str, Any]) -> None:
        """Compares, of those whose updates came."""
        self._wire.stop()
        rows = [self._row(event["round"], told) for told in event["clients"]]
        predicted_s = max(row.round_predicted_s for row in rows) + self._facts.reading_s
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
        predicted = {part: self._facts.factor * told[f"{part}_s"] for part in PARTS}
        return Row(
            round=number,
            client=name,
            download_predicted_s=predicted["download"],
            download_measured_s=down.seconds,
            compute_predicted_s=predicted["compute"],
            compute_measured_s=compute_s,
            upload_predicted_s=predicted["upload"],
            upload_measured_s=up.seconds,
            overhead_predicted_s=predicted["overhead"],
            overhead_measured_s=round_s - down.seconds - compute_s - up.seconds,
            round_predicted_s=sum(predicted.values()),
            round_measured_s=round_s,
            bytes_down=told["bytes_down"],
            bytes_down_wire=round(down.bytes),
            bytes_up=told["bytes_up"],
            bytes_up_wire=round(up.bytes),
            cpu_s=computed.cpu_s,
        )
