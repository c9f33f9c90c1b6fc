"""Problem files (`airtune-problem/1`): a problem from JSON, and back."""

import json
from dataclasses import fields
from typing import Any

import numpy as np

from airtune.planning.budgets import Energy, Memory, budgets_of
from airtune.planning.problem import PER_CLIENT, Problem
from airtune.planning.reading import ErrorPart, ProblemFile, read_json
from airtune.planning.rounds import ErrorCurve, ErrorPower, ErrorTable, Rounds
from airtune.planning.tables import Falling, Tables

# A table of a client, its values' name, and the numbers that it replaces.
_TABLES = (("payload", "bits", ("fixed_bits", "payload_bits")), ("compute", "s", ("compute_s",)))


def read_problem(text: str, file: str) -> Problem:
    """The problem in `text`; `file` names it in errors.

    Raises:
        InputError: a field is missing, unknown or wrong.
    """
    read = read_json(ProblemFile, text, file)
    clients = read.clients
    cell_index = {cell.id: index for index, cell in enumerate(read.cells)}
    errors = tuple(None if client.error is None else _curve(client.error) for client in clients)
    numbers = {name: np.array([getattr(client, name) or 0.0 for client in clients]) for name in PER_CLIENT}
    return Problem(
        ids=tuple(client.id for client in clients),
        cell_ids=tuple(cell.id for cell in read.cells),
        cell=np.array([cell_index[client.cell] for client in clients]),
        bandwidth_hz=np.array([cell.bandwidth_hz for cell in read.cells]),
        rounds=Rounds(read.rounds.base, read.rounds.penalty, _curve(read.rounds.error)),
        errors=errors if any(curve is not None for curve in errors) else None,
        memory=budgets_of(Memory, [client.memory for client in clients]),
        rate=read.rate,
        energy=budgets_of(Energy, [client.energy for client in clients]),
        payload=_tables([client.payload for client in clients], "bits"),
        compute=_tables([client.compute for client in clients], "s"),
        **numbers,
    )


def written(problem: Problem) -> str:
    """The text of a problem file."""
    rounds = problem.rounds
    whole = {
        "schema": "airtune-problem/1",
        "cells": [
            {"id": identifier, "bandwidth_hz": float(bandwidth)}
            for identifier, bandwidth in zip(problem.cell_ids, problem.bandwidth_hz, strict=True)
        ],
        "clients": [_client(problem, k) for k in range(len(problem.ids))],
        "rounds": {"base": rounds.base, "penalty": rounds.penalty, "error": _curve_fields(rounds.error)},
        "rate": problem.rate,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _client(problem: Problem, k: int) -> dict[str, Any]:
    found: dict[str, Any] = {"id": problem.ids[k], "cell": problem.cell_ids[problem.cell[k]]}
    found |= {name: float(getattr(problem, name)[k]) for name in PER_CLIENT}
    if found["bandwidth_min_hz"] == 0:
        del found["bandwidth_min_hz"]
    own = None if problem.errors is None else problem.errors[k]
    if own is not None:
        found["error"] = _curve_fields(own)
    for name, limit in (("memory", problem.memory), ("energy", problem.energy)):
        if limit is not None:
            numbers = {part.name: float(getattr(limit, part.name)[k]) for part in fields(limit)}
            if all(map(np.isfinite, numbers.values())):
                found[name] = numbers
    for name, values, instead in _TABLES:
        table = (getattr(problem, name) or [None] * len(problem.ids))[k]
        if table is not None:
            found = {key: value for key, value in found.items() if key not in instead}
            found[name] = {"prune": table.prune.tolist(), values: table.value.tolist()}
    return found


def _tables(parts: list[Any], values: str) -> Tables | None:
    """The clients' tables of one kind, if anybody has one."""
    if all(part is None for part in parts):
        return None
    return tuple(
        None if part is None else Falling(np.array(part.prune), np.array(getattr(part, values)))
        for part in parts
    )


def _curve(part: ErrorPart) -> ErrorCurve:
    if part.kind == "power":
        return ErrorPower(part.exponent)
    return ErrorTable(np.array(part.prune), np.array(part.error))


def _curve_fields(curve: ErrorCurve) -> dict[str, Any]:
    if isinstance(curve, ErrorPower):
        return {"kind": "power", "exponent": curve.exponent}
    return {"kind": "table", "prune": curve.prune.tolist(), "error": curve.error.tolist()}
