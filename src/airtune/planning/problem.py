"""The planner's numbers: clients, cells, and how error turns into rounds."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from airtune.errors import InputError, words
from airtune.planning.budgets import Energy, Memory, Need, some_budgets
from airtune.planning.infeasible import missed_too_much, too_little
from airtune.planning.limits import Limits
from airtune.planning.rounds import ErrorCurve, Rounds
from airtune.planning.tables import Tables, with_tables

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_Item = TypeVar("_Item")

# Arrays over clients: what a round takes of each, and with it all that plans are made of.
COSTS = ("fixed_s", "compute_s", "fixed_bits", "payload_bits")
PER_CLIENT = ("weight", "snr_hz", *COSTS, "prune_min", "prune_max", "drop_error", "bandwidth_min_hz")


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
        for name in (*PER_CLIENT, "bandwidth_hz"):
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
        from airtune.planning.problem_file import read_problem

        return read_problem(text, file)

    def to_json(self) -> str:
        """The problem file (`airtune-problem/1`)."""
        from airtune.planning.problem_file import written

        return written(self)

    def bits_at(self, prune: Array) -> Array:
        """(..., K) bits of every client's upload at its own ρ (..., K)."""
        return with_tables(self.fixed_bits + self.payload_bits * (1.0 - prune), self.payload, prune)

    def busy_at(self, prune: Array) -> Array:
        """(..., K) seconds of a round besides the upload at ρ (..., K)."""
        return self.fixed_s + with_tables(self.compute_s * (1.0 - prune), self.compute, prune)

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

    @property
    def needs(self) -> list[Need]:
        """What clients with budgets need for training."""
        return [limit.need for limit in (self.memory, self.energy) if limit is not None]

    def fits(self) -> Mask:
        """(K,) whether memory and the energy of computing suffice, at `prune_max` at the latest."""
        fits = np.ones(len(self.ids), bool)
        for need in self.needs:
            fits &= ~need.exceeds(self.prune_max)
        return fits

    def prune_floor(self) -> Array:
        """(K,) the least ρ that `prune_min`, memory and the energy of computing allow.

        Raises:
            InfeasibleError: a client has too little memory or energy even at `prune_max`.
        """
        floor = self.prune_min
        for need in self.needs:
            if need.exceeds(self.prune_max).any():
                raise too_little(self, need)
            floor = np.minimum(need.floor(floor), self.prune_max)
        return floor

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
            memory=some_budgets(self.memory, present),
            energy=some_budgets(self.energy, present),
            payload=_some(self.payload, present),
            compute=_some(self.compute, present),
            **{name: getattr(self, name)[present] for name in PER_CLIENT},
        )
        left_out = float((self.weight * self.drop_error)[~participates].sum())
        least = float(part.weight @ part.error_at(part.prune_floor()))
        if left_out > 0 and self.rounds.penalty * (left_out + least) >= 1:
            raise missed_too_much(self, participates, least)
        return replace(part, rounds=self.rounds.given(left_out))


def _some(values: tuple[_Item, ...] | None, present: npt.NDArray[np.intp]) -> tuple[_Item, ...] | None:
    return None if values is None else tuple(values[k] for k in present)
