"""The planner's numbers: clients, cells, and how error turns into rounds. Read from and written to JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from airtune.errors import InfeasibleError, InputError, words
from airtune.planning.infeasible import missed_too_much
from airtune.planning.limits import Limits
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
class Energy:
    """transmit_w·uplink_s + fixed_j + compute_j·(1 - ρ) may be at most budget_j; each (K,).

    A client without a limit has an infinite budget.
    """

    budget_j: Array
    fixed_j: Array
    compute_j: Array
    transmit_w: Array


@dataclass(frozen=True)
class Falling:
    """Bits or seconds over ρ, linear between points: `prune` and `value` (points,), convex, never increasing,
    from ρ = 0 to `prune_max` at least."""

    prune: Array
    value: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "prune", np.asarray(self.prune, float))
        object.__setattr__(self, "value", np.asarray(self.value, float))

    def __call__(self, prune: Array | float) -> Array:
        return np.asarray(np.interp(prune, self.prune, self.value))


Tables = tuple[Falling | None, ...]


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
        energy: a limit on what computing and sending take together.
        payload: (K,) the upload's bits over ρ where they are a table, instead of the two numbers; else None.
        compute: (K,) seconds over ρ besides fixed_s where they are a table, instead of compute_s; else None.
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
    energy: Energy | None = None
    payload: Tables | None = None
    compute: Tables | None = None

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
        tables = [
            tuple(
                None if part is None else Falling(np.array(part.prune), np.array(getattr(part, values)))
                for part in parts
            )
            for parts, values in (
                ([client.payload for client in clients], "bits"),
                ([client.compute for client in clients], "s"),
            )
        ]
        payload, compute = (some if any(some) else None for some in tables)
        return cls(
            ids=tuple(client.id for client in clients),
            cell_ids=tuple(cell.id for cell in read.cells),
            cell=np.array([cell_index[client.cell] for client in clients]),
            bandwidth_hz=np.array([cell.bandwidth_hz for cell in read.cells]),
            rounds=rounds,
            errors=errors if any(curve is not None for curve in errors) else None,
            memory=_budget(Memory, [client.memory for client in clients]),
            rate=read.rate,
            energy=_budget(Energy, [client.energy for client in clients]),
            payload=payload,
            compute=compute,
            **{name: np.array([getattr(client, name) or 0.0 for client in clients]) for name in _PER_CLIENT},
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
        for name, limit in (("memory", self.memory), ("energy", self.energy)):
            if limit is not None:
                numbers = {part.name: float(getattr(limit, part.name)[k]) for part in fields(limit)}
                if all(map(np.isfinite, numbers.values())):
                    found[name] = numbers
        for name, values, instead in (
            ("payload", "bits", ("fixed_bits", "payload_bits")),
            ("compute", "s", ("compute_s",)),
        ):
            table = (getattr(self, name) or [None] * len(self.ids))[k]
            if table is not None:
                found = {key: value for key, value in found.items() if key not in instead}
                found[name] = {"prune": table.prune.tolist(), values: table.value.tolist()}
        return found

    def bits_at(self, prune: Array) -> Array:
        """(..., K) bits of every client's upload at its own ρ (..., K)."""
        return _with_tables(self.fixed_bits + self.payload_bits * (1.0 - prune), self.payload, prune)

    def busy_at(self, prune: Array) -> Array:
        """(..., K) seconds of a round besides the upload at ρ (..., K)."""
        return self.fixed_s + _with_tables(self.compute_s * (1.0 - prune), self.compute, prune)

    def joules_at(self, prune: Array, uplink_s: Array) -> Array:
        """(..., K) what clients spend at ρ and with uploads of so many seconds; 0 without budgets."""
        limit = self.energy
        if limit is None:
            return np.zeros_like(prune)
        return limit.transmit_w * uplink_s + limit.fixed_j + limit.compute_j * (1.0 - prune)

    @cached_property
    def limits(self) -> Limits | None:
        """What keeps clients with tables or energy budgets from being full; None where nobody has any."""
        if self.payload is None and self.compute is None and self.energy is None:
            return None
        return Limits.of(self)

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
        """(K,) the least ρ that `prune_min`, memory and the energy of computing allow.

        Raises:
            InfeasibleError: a client has too little memory or energy even at `prune_max`.
        """
        floor, limit = self.prune_min, self.memory
        if limit is not None:
            own = limit.fixed_bytes, limit.prunable_bytes
            floor = self._floor_by(limit.budget_bytes, *own, floor, "bytes", "memory")
        if self.energy is not None:
            own = self.energy.fixed_j, self.energy.compute_j
            floor = self._floor_by(self.energy.budget_j, *own, floor, "J", "energy")
        return floor

    def _floor_by(
        self, budget: Array, fixed: Array, prunable: Array, floor: Array, unit: str, name: str
    ) -> Array:
        """`floor` (K,), or the least ρ with fixed + prunable·(1 - ρ) ≤ budget where that is larger."""
        spare = budget - fixed
        fits = np.ones(len(self.ids))
        np.divide(spare, prunable, out=fits, where=prunable > np.maximum(spare, 0.0))
        floor = np.maximum(floor, 1.0 - np.maximum(fits, 0.0))
        # Rounded up where it was rounded down: a ten-quadrillionth of much may be more than there is.
        floor = np.where(prunable * (1.0 - floor) > spare, floor + np.spacing(1.0), floor)
        need = fixed + prunable * (1.0 - self.prune_max)
        lacking = need > budget * (1 + 1e-12)
        if lacking.any():
            k = int(np.argmax(need / budget))
            others = int(lacking.sum()) - 1
            raise InfeasibleError(
                self.ids[k],
                f"needs {need[k]:.6g} {unit} at its largest pruning rate {self.prune_max[k]:.3g}, "
                f"has {budget[k]:.6g}" + (f"; {others} more lack {name}" if others else ""),
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
        present = np.flatnonzero(participates)
        part = replace(
            self,
            ids=_some(self.ids, present) or (),
            cell=self.cell[present],
            errors=_some(self.errors, present),
            memory=_some_of(self.memory, present),
            energy=_some_of(self.energy, present),
            payload=_some(self.payload, present),
            compute=_some(self.compute, present),
            **{name: getattr(self, name)[present] for name in _PER_CLIENT},
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


_Budget = TypeVar("_Budget", Memory, Energy)
_Item = TypeVar("_Item")


def _budget(kind: type[_Budget], parts: Sequence[object]) -> _Budget | None:
    """The clients' parts of a problem file as arrays; who has none has an infinite budget."""
    if all(part is None for part in parts):
        return None
    missing = {field.name: np.inf if field.name.startswith("budget") else 0.0 for field in fields(kind)}
    return kind(
        **{name: np.array([getattr(part, name, missing[name]) for part in parts]) for name in missing}
    )


def _some_of(limit: _Budget | None, present: npt.NDArray[np.intp]) -> _Budget | None:
    """The budgets of some of the clients."""
    if limit is None:
        return None
    return replace(limit, **{part.name: getattr(limit, part.name)[present] for part in fields(limit)})


def _some(values: tuple[_Item, ...] | None, present: npt.NDArray[np.intp]) -> tuple[_Item, ...] | None:
    return None if values is None else tuple(values[k] for k in present)


def _with_tables(values: Array, tables: Tables | None, prune: Array) -> Array:
    """(..., K) values, those of clients with a table taken from it at ρ (..., K)."""
    if tables is None:
        return values
    values = values * np.ones_like(prune)
    for k, table in enumerate(tables):
        if table is not None:
            values[..., k] = table(prune[..., k])
    return values


def _curve(part: "ErrorPart") -> ErrorCurve:
    if part.kind == "power":
        return ErrorPower(part.exponent)
    return ErrorTable(np.array(part.prune), np.array(part.error))


def _curve_fields(curve: ErrorCurve) -> dict[str, Any]:
    if isinstance(curve, ErrorPower):
        return {"kind": "power", "exponent": curve.exponent}
    return {"kind": "table", "prune": curve.prune.tolist(), "error": curve.error.tolist()}
