"""Reading the problem and plan files: every type and range checked, every error naming its field."""

import json
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from airtune.errors import InputError, words
from airtune.misfits import MisfitError, first_error


def _number(value: object) -> float:
    """A JSON number as a float; a truth value, a text or an integer beyond all floats is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError("a number below 1.8e308") from error


def _measure(value: float) -> float:
    """A size that physics has: products and quotients of a few of them stay within floating point."""
    if value != 0 and not SMALLEST <= abs(value) <= LARGEST:
        raise ValueError(f"0 or a size from {SMALLEST:g} to {LARGEST:g}")
    return value


def _printable(text: str) -> str:
    """Names appear in errors, which are one line."""
    if not text.isprintable():
        raise ValueError("printable text")
    return text


SMALLEST, LARGEST = 1e-12, 1e18
_STEEPEST = 100  # exponent
_NEAREST = 1e-6  # pruning rates of a table
Number = Annotated[float, BeforeValidator(_number)]
NonNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Measure = Annotated[Number, AfterValidator(_measure)]
PositiveMeasure = Annotated[Measure, Field(gt=0)]
Amount = Annotated[Measure, Field(ge=0)]
Identifier = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class PowerPart(_Part):
    kind: Literal["power"]
    exponent: Annotated[Measure, Field(ge=1, le=_STEEPEST)]


class TablePart(_Part):
    kind: Literal["table"]
    prune: Annotated[list[Number], Field(min_length=2)]
    error: Annotated[list[Measure], Field(min_length=2)]

    @model_validator(mode="after")
    def _convex(self) -> Self:
        prune, error = self.prune, self.error
        if len(prune) != len(error):
            raise ValueError("as many errors as pruning rates")
        if prune[0] != 0 or error[0] != 0:
            raise ValueError("a table that starts at (0, 0)")
        steps = [right - left for left, right in pairwise(prune)]
        if min(steps) < _NEAREST:
            raise ValueError(f"pruning rates that increase, each by {_NEAREST:g} at least")
        slopes = [(right - left) / step for (left, right), step in zip(pairwise(error), steps, strict=True)]
        if min(slopes) < 0:
            raise ValueError("errors that never decrease")
        if any(after < before * (1 - 1e-9) for before, after in pairwise(slopes)):
            raise ValueError("convex errors (slopes that never decrease)")
        return self


ErrorPart = Annotated[PowerPart | TablePart, Field(discriminator="kind")]


Points = Field(min_length=2, max_length=64)


class PayloadPart(_Part):
    prune: Annotated[list[Share], Points]
    bits: Annotated[list[Amount], Points]

    @model_validator(mode="after")
    def _falling(self) -> Self:
        _check_falling(self.prune, self.bits, "bits")
        return self


class ComputePart(_Part):
    prune: Annotated[list[Share], Points]
    s: Annotated[list[Amount], Points]

    @model_validator(mode="after")
    def _falling(self) -> Self:
        _check_falling(self.prune, self.s, "seconds")
        return self


def _check_falling(prune: list[float], values: list[float], name: str) -> None:
    """Bits or seconds over pruning rates: they fall, and less and less."""
    if len(prune) != len(values):
        raise ValueError(f"as many {name} as pruning rates")
    if prune[0] != 0:
        raise ValueError("a table that starts at pruning rate 0")
    steps = [right - left for left, right in pairwise(prune)]
    if min(steps) < 1e-6:
        raise ValueError("pruning rates that increase, each by 1e-6 at least")
    slopes = [(right - left) / step for (left, right), step in zip(pairwise(values), steps, strict=True)]
    if max(slopes) > 0:
        raise ValueError(f"{name} that never increase")
    if any(after < before * (1 + 1e-9) for before, after in pairwise(slopes)):
        raise ValueError(f"convex {name} (that fall less and less)")


class RoundsPart(_Part):
    base: PositiveMeasure
    penalty: PositiveMeasure
    error: ErrorPart


class CellPart(_Part):
    id: Identifier
    bandwidth_hz: PositiveMeasure


class MemoryPart(_Part):
    budget_bytes: PositiveMeasure
    fixed_bytes: Amount
    prunable_bytes: Amount


class EnergyPart(_Part):
    budget_j: PositiveMeasure
    fixed_j: Amount
    compute_j: Amount
    transmit_w: Amount


class ClientPart(_Part):
    id: Identifier
    cell: Identifier
    weight: Annotated[Measure, Field(ge=0, le=1)]
    snr_hz: PositiveMeasure
    fixed_s: Amount
    compute_s: Amount | None = None
    compute: ComputePart | None = None
    fixed_bits: Amount | None = None
    payload_bits: Amount | None = None
    payload: PayloadPart | None = None
    prune_min: Share
    prune_max: Share
    error: ErrorPart | None = None
    drop_error: Amount = 1.0
    bandwidth_min_hz: Amount = 0.0
    memory: MemoryPart | None = None
    energy: EnergyPart | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.prune_min > self.prune_max:
            raise ValueError(f"prune_min up to prune_max ({self.prune_max:g})")
        for table, numbers in (("payload", ("fixed_bits", "payload_bits")), ("compute", ("compute_s",))):
            part = getattr(self, table)
            for name in numbers:
                given = getattr(self, name)
                if part is None and given is None:
                    raise MisfitError(name, None, f"a number, or a table `{table}`")
                if part is not None and given is not None:
                    raise MisfitError(name, given, f"nothing beside the table `{table}`")
            if part is not None and part.prune[-1] < self.prune_max:
                raise MisfitError(
                    f"{table}.prune", part.prune[-1], f"a table up to prune_max {self.prune_max:g}"
                )
        most = self.payload.bits[0] if self.payload else (self.fixed_bits or 0) + (self.payload_bits or 0)
        if most == 0:
            raise ValueError("something to upload (fixed_bits or payload_bits, or bits, above 0)")
        return self


class ProblemFile(_Part):
    schema_: Literal["airtune-problem/1"] = Field(alias="schema")
    cells: Annotated[list[CellPart], Field(min_length=1)]
    clients: Annotated[list[ClientPart], Field(min_length=1)]
    rounds: RoundsPart
    rate: Literal["shannon", "ergodic-rayleigh"] = "shannon"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        cells = _unique([cell.id for cell in self.cells], "cells")
        _unique([client.id for client in self.clients], "clients")
        for client in self.clients:
            if client.cell not in cells:
                raise ValueError(f"client {client.id} in one of the cells listed, not {client.cell!r}")
            curve = client.error or self.rounds.error
            if isinstance(curve, TablePart) and curve.prune[-1] < client.prune_max:
                raise ValueError(f"an error table up to client {client.id}'s prune_max {client.prune_max:g}")
        total = sum(client.weight for client in self.clients)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"weights that sum to 1, not {total:.9g}")
        return self


class PlannedClient(_Part):
    id: Identifier
    participates: bool = True
    prune: Share
    bandwidth_hz: NonNegative
    uplink_s: NonNegative
    round_s: NonNegative
    binds: list[Identifier] | None = None
    weight: Share | None = None


class PlanFile(_Part):
    schema_: Literal["airtune-plan/1"] = Field(alias="schema")
    method: Identifier
    round_s: NonNegative
    rounds: NonNegative
    total_s: NonNegative
    lower_bound_s: NonNegative | None = None
    relative_gap: NonNegative | None = None
    solve_s: NonNegative = 0.0
    round_lower_bound_s: NonNegative | None = None
    clients: Annotated[list[PlannedClient], Field(min_length=1)]

    @model_validator(mode="after")
    def _unique_ids(self) -> Self:
        _unique([client.id for client in self.clients], "clients")
        return self


def _unique(names: list[str], what: str) -> set[str]:
    found: set[str] = set()
    for name in names:
        if name in found:
            raise ValueError(f"{what} with ids of their own, not {name!r} twice")
        found.add(name)
    return found


_File = TypeVar("_File", bound=_Part)


def read_json(model: type[_File], text: str, file: str) -> _File:
    """`text` as the file that `model` describes.

    Raises:
        InputError: it is not JSON, repeats a key, or a field is missing, unknown or wrong.
    """
    try:
        fields = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        found = "nesting too deep" if isinstance(error, RecursionError) else str(error)
        raise InputError(file, "", words(found), "valid JSON") from error
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise first_error(file, error, ("power", "table")) from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _unique([key for key, _ in pairs], "keys")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name}, which is not a number")
