"""The planner's numbers: clients, cells, and how error turns into rounds. Read from and written to JSON."""

import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from airtune.errors import InfeasibleError, InputError, words
from airtune.planning.infeasible import missed_too_much
from airtune.planning.rounds import ErrorCurve, ErrorPower, ErrorTable, Rounds

if TYPE_CHECKING:
    from airtune.planning.reading import ErrorPart

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Memory:
    """Training needs fixed + prunable·(1 - ρ) bytes and may need at most the budget; each (K,).

    A client without a limit has an infinite budget.
    """

    budget_bytes: Array
    fixed_bytes: Array
    prunable_bytes: Array


@dataclass(frozen=True)
class Problem:
    """Minimise N·T over pruning rates ρ and bandwidths b. Arrays are (K,) unless said otherwise; SI units.

    Attributes:
        ids, cell_ids: names of the clients and of the cells.
        cell: the index of each client's cell.
        bandwidth_hz: (cells,) uplink bandwidth that a cell's clients share.
        weight: aggregation weights, summing to 1.
        snr_hz: received power over noise density, P·h/N0; above 0.
        fixed_s, compute_s: a round takes fixed_s + compute_s·(1 - ρ) seconds besides the upload.
        fixed_bits, payload_bits: the upload is fixed_bits + payload_bits·(1 - ρ) bits.
        prune_min, prune_max: the range of ρ.
        rounds: error and rounds to target.
        errors: (K,) an error curve of the client's own, or None for that of `rounds`.
        drop_error: the error of leaving a client out altogether.
        bandwidth_min_hz: bandwidth that a participant gets at least.
        memory: a limit that puts a floor under ρ.
        rate: "shannon" or "ergodic-rayleigh".
    """

    ids: tuple[str, ...]
    cell_ids: tuple[str, ...]
    cell: npt.NDArray[np.intp]
    bandwidth_hz: Array
    weight: Array
    snr_hz: Array
    fixed_s: Array
    compute_s: Array
    fixed_bits: Array
    payload_bits: Array
    prune_min: Array
    prune_max: Array
    rounds: Rounds
    errors: tuple[ErrorCurve | None, ...] | None = None
    drop_error: Array = field(default_factory=lambda: np.ones(1))
    bandwidth_min_hz: Array = field(default_factory=lambda: np.zeros(1))
    memory: Memory | None = None
    rate: str = "shannon"

    def __post_init__(self) -> None:
        for name in (*_PER_CLIENT, "bandwidth_hz"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        object.__setattr__(self, "cell", np.asarray(self.cell, np.intp))
        for name in ("drop_error", "bandwidth_min_hz"):
            given = np.broadcast_to(getattr(self, name), self.weight.shape)
            object.__setattr__(self, name, given.astype(np.float64))

    @classmethod
    def load(cls, path: str | Path) -> "Problem":
        """Read a problem file.

        Raises:
            InputError: the file cannot be read, or a field is missing, unknown or wrong.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            found = words(type(error).__name__)
            raise InputError(path, "", found, "a readable JSON file in UTF-8") from error
        return cls.from_json(text, str(path))

    @classmethod
    def from_json(cls, text: str, file: str = "problem") -> "Problem":
        """`load` for text at hand; `file` names it in errors."""
        # Imported where it is used: pydantic takes longer than everything else in planning.
        from airtune.planning.reading import ProblemFile, read_json

        read = read_json(ProblemFile, text, file)
        clients = read.clients
        cell_index = {cell.id: index for index, cell in enumerate(read.cells)}
        rounds = Rounds(read.rounds.base, read.rounds.penalty, _curve(read.rounds.error))
        errors = tuple(None if client.error is None else _curve(client.error) for client in clients)
        memory = [client.memory for client in clients]
        return cls(
            ids=tuple(client.id for client in clients),
            cell_ids=tuple(cell.id for cell in read.cells),
            cell=np.array([cell_index[client.cell] for client in clients]),
            bandwidth_hz=np.array([cell.bandwidth_hz for cell in read.cells]),
            rounds=rounds,
            errors=errors if any(curve is not None for curve in errors) else None,
            memory=None
            if all(limit is None for limit in memory)
            else Memory(
                budget_bytes=np.array([np.inf if limit is None else limit.budget_bytes for limit in memory]),
                fixed_bytes=np.array([0.0 if limit is None else limit.fixed_bytes for limit in memory]),
                prunable_bytes=np.array([0.0 if limit is None else limit.prunable_bytes for limit in memory]),
            ),
            rate=read.rate,
            **{name: np.array([getattr(client, name) for client in clients]) for name in _PER_CLIENT},
        )

    def to_json(self) -> str:
        """The problem file (`airtune-problem/1`)."""
        whole = {
            "schema": "airtune-problem/1",
            "cells": [
                {"id": identifier, "bandwidth_hz": float(bandwidth)}
                for identifier, bandwidth in zip(self.cell_ids, self.bandwidth_hz, strict=True)
            ],
            "clients": [self._client_fields(k) for k in range(len(self.ids))],
            "rounds": {
                "base": self.rounds.base,
                "penalty": self.rounds.penalty,
                "error": _curve_fields(self.rounds.error),
            },
            "rate": self.rate,
        }
        return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def _client_fields(self, k: int) -> dict[str, Any]:
        found: dict[str, Any] = {"id": self.ids[k], "cell": self.cell_ids[self.cell[k]]}
        found |= {name: float(getattr(self, name)[k]) for name in _PER_CLIENT}
        if found["bandwidth_min_hz"] == 0:
            del found["bandwidth_min_hz"]
        own = None if self.errors is None else self.errors[k]
        if own is not None:
            found["error"] = _curve_fields(own)
        if self.memory is not None and np.isfinite(self.memory.budget_bytes[k]):
            limit = self.memory
            found["memory"] = {part.name: float(getattr(limit, part.name)[k]) for part in fields(Memory)}
        return found

    def curves(self) -> list[tuple[ErrorCurve, npt.NDArray[np.intp]]]:
        """The error curves in use, each with the indices of the clients that have it."""
        if self.errors is None:
            return [(self.rounds.error, np.arange(len(self.ids)))]
        owners: dict[int, list[int]] = {}
        chosen = [curve or self.rounds.error for curve in self.errors]
        for k, curve in enumerate(chosen):
            owners.setdefault(id(curve), []).append(k)
        return [(chosen[clients[0]], np.array(clients)) for clients in owners.values()]

    def error_at(self, prune: Array) -> Array:
        """(K,) every client's error e(ρ) at its own ρ."""
        error = np.empty(len(self.ids))
        for curve, clients in self.curves():
            error[clients] = curve(prune[clients])
        return error

    def prune_floor(self) -> Array:
        """(K,) the least ρ that `prune_min` and memory allow.

        Raises:
            InfeasibleError: a client does not fit in its memory even at `prune_max`.
        """
        if self.memory is None:
            return self.prune_min
        limit = self.memory
        spare = limit.budget_bytes - limit.fixed_bytes
        fits = np.ones(len(self.ids))
        np.divide(spare, limit.prunable_bytes, out=fits, where=limit.prunable_bytes > np.maximum(spare, 0.0))
        floor = np.maximum(self.prune_min, 1.0 - np.maximum(fits, 0.0))
        # Rounded up where it was rounded down: a ten-quadrillionth of much may be more than there is.
        over = limit.prunable_bytes * (1.0 - floor) > spare
        floor = np.where(over, floor + np.spacing(1.0), floor)
        need = limit.fixed_bytes + limit.prunable_bytes * (1.0 - self.prune_max)
        lacking = need > limit.budget_bytes * (1 + 1e-12)
        if lacking.any():
            k = int(np.argmax(need / limit.budget_bytes))
            others = int(lacking.sum()) - 1
            raise InfeasibleError(
                self.ids[k],
                f"needs {need[k]:.6g} bytes at its largest pruning rate {self.prune_max[k]:.3g}, "
                f"has {limit.budget_bytes[k]:.6g}" + (f"; {others} more lack memory" if others else ""),
            )
        return np.minimum(floor, self.prune_max)

    def restrict(self, participates: Mask) -> "Problem":
        """The problem of the participants alone; the others' `drop_error` is part of its `rounds`.

        Weights keep their values, so that they sum to less than 1.

        Raises:
            InfeasibleError: a participant does not fit in its memory, or N is infinite without the others.
        """
        if participates.all():
            return self
        memory = self.memory
        if memory is not None:
            memory = Memory(*(getattr(memory, part.name)[participates] for part in fields(Memory)))
        part = replace(
            self,
            ids=tuple(name for name, present in zip(self.ids, participates, strict=True) if present),
            cell=self.cell[participates],
            errors=None
            if self.errors is None
            else tuple(curve for curve, present in zip(self.errors, participates, strict=True) if present),
            memory=memory,
            **{name: getattr(self, name)[participates] for name in _PER_CLIENT},
        )
        left_out = float((self.weight * self.drop_error)[~participates].sum())
        least = float(part.weight @ part.error_at(part.prune_floor()))
        if left_out > 0 and self.rounds.penalty * (left_out + least) >= 1:
            raise missed_too_much(self, participates, least)
        return replace(part, rounds=self.rounds.given(left_out))


_PER_CLIENT = (
    "weight",
    "snr_hz",
    "fixed_s",
    "compute_s",
    "fixed_bits",
    "payload_bits",
    "prune_min",
    "prune_max",
    "drop_error",
    "bandwidth_min_hz",
)


def _curve(part: "ErrorPart") -> ErrorCurve:
    if part.kind == "power":
        return ErrorPower(part.exponent)
    return ErrorTable(np.array(part.prune), np.array(part.error))


def _curve_fields(curve: ErrorCurve) -> dict[str, Any]:
    if isinstance(curve, ErrorPower):
        return {"kind": "power", "exponent": curve.exponent}
    return {"kind": "table", "prune": curve.prune.tolist(), "error": curve.error.tolist()}
