"""How a run in another process goes on: an observer that writes what it is told, and who reads it there."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airtune.observer import Observer

FINISHED, FAILED = "finished", "failed"


class ProgressWriter(Observer):
    """Writes all that it is told to a file, one JSON list a line: what, and its arguments."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def on_start(self, event: dict[str, Any], rounds_done: int) -> None:
        """The run begins or goes on."""
        self._write("on_start", event, rounds_done)

    def on_plan(self, round_number: int, rates: Mapping[str, Sequence[float]]) -> None:
        """A round's messages are sent next."""
        self._write("on_plan", round_number, dict(rates))

    def on_client(self, round_number: int, client: str, loss: float | None) -> None:
        """A client finished."""
        self._write("on_client", round_number, client, loss)

    def on_round(self, event: dict[str, Any]) -> None:
        """A round is over."""
        self._write("on_round", event)

    def finished(self) -> None:
        """The run has ended."""
        self._write(FINISHED)

    def failed(self, reason: str) -> None:
        """The run has ended by an error that the user can mend."""
        self._write(FAILED, reason)

    def _write(self, *told: object) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")


class ProgressReader:
    """Passes on to `observer` what a `ProgressWriter` has written.

    Attributes:
        over: whether the run has told that it has ended.
        failure: the reason, if it ended by an error.
    """

    def __init__(self, file: Path, observer: Observer) -> None:
        self._file, self._observer, self._read = file, observer, 0
        self.over = False
        self.failure: str | None = None

    def read(self) -> None:
        """Pass on the lines that have been completed since the last time."""
        if not self._file.exists():
            return
        with self._file.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")[0]
        self._read += len(whole) + bool(whole)
        for line in whole.splitlines():
            what, *arguments = json.loads(line)
            if what in (FINISHED, FAILED):
                self.over, self.failure = True, arguments[0] if arguments else None
            else:
                getattr(self._observer, what)(*arguments)
