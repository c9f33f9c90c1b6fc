"""What a run needs to go on after it was killed: one file, replaced in one step after every round."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt
import safetensors
from safetensors.numpy import load_file, save_file

from airtune.errors import InputError, words
from airtune.files import put_in_place
from airtune.pruning.adapters import Adapter

FILE = "checkpoint.safetensors"
CLIENT_ARRAYS = "clients/"  # begins the names of the arrays that clients keep
FLIGHTS = "flights/"  # and of changes on their way

# What reading a damaged file may raise, wherever the damage is.
DAMAGED = (
    *(OSError, safetensors.SafetensorError),
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
)


@dataclass(frozen=True)
class Checkpoint:
    """The state after `round_number` rounds: the adapter, the simulated clock in s, and the round's event.

    `key` names what has been learnt (`learnt_rounds`). `clients` are the arrays that clients in this process
    keep between rounds, by name; else it is empty. `flights` are changes on their way (`buffered`), by
    "client/name".

    The event is appended to the events file only after the checkpoint is safe; whoever resumes makes sure
    that it is there.
    """

    round_number: int
    clock_s: float
    key: str
    adapter: Adapter
    clients: Mapping[str, npt.NDArray[Any]]
    event: dict[str, Any]
    flights: Adapter = field(default_factory=dict)

    def save(self, directory: Path) -> None:
        """Replace the directory's checkpoint; killed at any moment, the old one or the new one is there."""
        state = {"round": self.round_number, "clock_s": self.clock_s, "key": self.key, "event": self.event}
        temporary = directory / f"{FILE}.new"
        arrays = self.adapter | {CLIENT_ARRAYS + name: array for name, array in self.clients.items()}
        arrays |= {FLIGHTS + name: array for name, array in self.flights.items()}
        save_file(arrays, temporary, metadata={"airtune": json.dumps(state)})
        put_in_place(temporary, directory / FILE)

    @staticmethod
    def load(directory: Path) -> "Checkpoint | None":
        """The directory's checkpoint, None if there is none yet. Raises InputError if it is damaged."""
        file = directory / FILE
        if not file.exists():
            return None
        try:
            with safetensors.safe_open(file, "numpy") as opened:
                state = json.loads(opened.metadata()["airtune"])
            arrays, flights = _taken(load_file(file), FLIGHTS)
            clock_s, key, event = float(state["clock_s"]), str(state["key"]), dict(state["event"])
            return Checkpoint(int(state["round"]), clock_s, key, *parted(arrays), event, flights)
        except DAMAGED as error:
            raise InputError(file, "", words(type(error).__name__), "a checkpoint of airtune") from error


def parted(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[Adapter, dict[str, npt.NDArray[Any]]]:
    """The adapter and what clients keep, out of the arrays of one file."""
    return _taken(arrays, CLIENT_ARRAYS)


def _taken(
    arrays: Mapping[str, npt.NDArray[Any]], begin: str
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
    """The arrays of other names, and those whose names begin so, without this beginning."""
    others = {name: array for name, array in arrays.items() if not name.startswith(begin)}
    found = {name.removeprefix(begin): array for name, array in arrays.items() if name.startswith(begin)}
    return others, found
