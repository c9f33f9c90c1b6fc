"""Learnt rounds on disk, by a key that chains all that shapes learning and nothing that shapes the clock.

A round's state (adapter, arrays that clients keep) and its facts (losses, work, bytes) are two
files: states may be deleted to save space, and facts alone still tell everything but the adapter.
"""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
from safetensors.numpy import load_file, save_file

from airtune.costs.count import Workload
from airtune.errors import InputError, words
from airtune.federation.checkpoint import CLIENT_ARRAYS, DAMAGED, parted
from airtune.federation.messages import Assignment
from airtune.federation.overdue import Late
from airtune.files import put_in_place, write_whole
from airtune.methods import Method
from airtune.pruning.adapters import Adapter
from airtune.pruning.measured import file_states
from airtune.scenario import Scenario

FORMAT = 4  # counts up whenever training, merging or judging changes
PRODUCTS = "products"
STATE, FACTS, METRIC, LOCK = ".state.safetensors", ".facts.safetensors", ".metric.json", ".lock"
# What of a scenario shapes plans and clocks alone: learning sees no more of it than what clients are told.
NOT_LEARNT_FROM = {"name", "method", "selected", "reduction", "criterion", "prune_max", "rounds"}
NOT_LEARNT_FROM |= {"bandwidth", "convergence", "radio", "cells", "faults"}
CLIENTS_LEARNT_FROM = {"id", "count", "share", "labels"}


@dataclass(frozen=True)
class ClientTraining:
    """One client's training in a round: mean loss, every step's size, bytes moved.

    With privacy the loss is None, and steps are typical ones: clients tell of neither.
    """

    loss: float | None
    work: tuple[Workload, ...]
    bytes_down: int
    bytes_up: int


@dataclass(frozen=True)
class LearntRound:
    """A round's end: the merged adapter, arrays that clients keep, their training, and the test loss.

    The adapter is empty where only the facts were left. `training` is by client number; `products` (n, n) are
    those of its clients' updates (`federation.gradients`), in the order of their numbers; `group_loss` is the
    test loss on the text like each client group's own. `failed` are clients whose update did not come or was
    refused, and why; `late` replies of earlier rounds that came in this one, to no use.
    """

    key: str
    adapter: Adapter
    clients: Mapping[str, npt.NDArray[Any]]
    training: Mapping[int, ClientTraining]
    products: npt.NDArray[np.float64]
    loss: float
    group_loss: dict[str, float]
    failed: Mapping[int, str] = field(default_factory=dict)
    late: tuple[Late, ...] = ()


def first_key(scenario: Scenario) -> str:
    """The key of what is there before the first round."""
    told = scenario.model_dump(mode="json", exclude=NOT_LEARNT_FROM)
    told["format"] = FORMAT
    told["task"] = scenario.task.model_dump(mode="json", exclude={"data"})
    if scenario.privacy is not None:  # what is told of noise changes nothing
        told["privacy"] = scenario.privacy.model_dump(mode="json", exclude={"delta"})
    told["clients"] = [
        group.model_dump(mode="json", include=CLIENTS_LEARNT_FROM) for group in scenario.clients
    ]
    told["model_files"] = file_states(scenario.model.name)
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for file in _files(scenario.task.data):
        digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def next_key(key: str, method: Method, assignments: Mapping[int, Assignment]) -> str:
    """The key of a round: of the round before, of how updates are merged, and of all that clients are told.

    What `assignments` hold of the adapter does not count: it follows from the round before.
    """
    digest = hashlib.sha256(key.encode())
    digest.update(f"{method.aggregate.__module__}.{method.aggregate.__qualname__}".encode())
    for client, asked in sorted(assignments.items()):
        content = asked.to_content()
        task = json.dumps(dict(content.config_records["task"]), sort_keys=True)
        digest.update(f"{client} {asked.weight!r} {task}".encode())
        for record in ("reduction", "mean"):
            for name, array in sorted(content.array_records[record].items()):
                digest.update(f"{record} {name} {len(array.data)} ".encode() + array.data)
    return digest.hexdigest()


def without(key: str, failed: Collection[int]) -> str:
    """The key of a round in which some clients have failed."""
    return hashlib.sha256(f"{key} without {sorted(failed)}".encode()).hexdigest() if failed else key


class LearntRounds:
    """A folder of learnt rounds, which processes may share.

    With `whole`, rounds of which only the facts are left count as unknown. Raises InputError if the folder
    cannot be made or written to.
    """

    def __init__(self, directory: Path, whole: bool = False) -> None:
        self.directory, self._whole = directory, whole
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                pass
        except OSError as error:
            found = words(error.strerror or "no access")
            raise InputError(directory, "", found, "a folder to write to") from error

    def find(self, key: str) -> LearntRound | None:
        """What is known of a round; None if nothing is, or if its files are damaged."""
        try:
            with safetensors.safe_open(self.directory / f"{key}{FACTS}", "numpy") as opened:
                facts = json.loads(opened.metadata()["airtune"])
                products = opened.get_tensor(PRODUCTS)
            training = {
                int(client): ClientTraining(
                    told["loss"],
                    tuple(Workload(*step) for step in told["work"]),
                    told["bytes_down"],
                    told["bytes_up"],
                )
                for client, told in facts["training"].items()
            }
            file = self.directory / f"{key}{STATE}"
            if not file.exists() and self._whole:
                return None
            adapter, clients = parted(load_file(file)) if file.exists() else ({}, {})
            return LearntRound(key, adapter, clients, training, products, facts["loss"], facts["group_loss"])
        except DAMAGED:
            return None

    def keep(self, learnt: LearntRound) -> None:
        """Write a round: killed at any moment, it is there as a whole or not at all."""
        facts = {
            "loss": learnt.loss,
            "group_loss": learnt.group_loss,
            "training": {
                str(client): {
                    "loss": done.loss,
                    "work": [[step.rows, step.length, step.labels] for step in done.work],
                    "bytes_down": done.bytes_down,
                    "bytes_up": done.bytes_up,
                }
                for client, done in sorted(learnt.training.items())
            },
        }
        state = learnt.adapter | {CLIENT_ARRAYS + name: array for name, array in learnt.clients.items()}
        self._write(f"{learnt.key}{STATE}", state, {})
        self._write(f"{learnt.key}{FACTS}", {PRODUCTS: learnt.products}, {"airtune": json.dumps(facts)})

    def metric(self, key: str) -> dict[str, Any] | None:
        """The task's metric of the adapter at a round's end, None if it was not measured."""
        try:
            found = json.loads((self.directory / f"{key}{METRIC}").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def keep_metric(self, key: str, metric: dict[str, Any]) -> None:
        """Write the task's metric at a round's end."""
        write_whole(self.directory / f"{key}{METRIC}", json.dumps(metric) + "\n")

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Keep other processes from learning the same round meanwhile."""
        with (self.directory / f"{key}{LOCK}").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    def forget_states(self) -> None:
        """Delete adapters and what clients keep; the facts stay. Nobody may be learning meanwhile."""
        for file in self.directory.iterdir():
            if file.name.endswith((STATE, LOCK, ".new")):  # a process that was killed leaves .new
                file.unlink()

    def _write(self, name: str, arrays: Mapping[str, npt.NDArray[Any]], metadata: dict[str, str]) -> None:
        temporary = self.directory / f"{name}.{os.getpid()}.new"
        save_file(dict(arrays), temporary, metadata=metadata)
        put_in_place(temporary, self.directory / name)


def _files(place: str | None) -> list[Path]:
    """The file, or the files of the folder, of that name."""
    if not place:
        return []
    path = Path(place).expanduser()
    return sorted(file for file in (path.iterdir() if path.is_dir() else [path]) if file.is_file())
