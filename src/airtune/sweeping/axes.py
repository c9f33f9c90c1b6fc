"""What a sweep varies: the scenario at a value of one of four axes, all else as it was."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from airtune.errors import InputError
from airtune.misfits import MisfitError, first_error
from airtune.quantities import Frequency, Number
from airtune.scenario import ClientGroup, CustomDevice, Scenario

COMPUTE, BANDWIDTH, HETEROGENEITY, CLIENTS = "compute", "bandwidth", "heterogeneity", "clients"

Factor = Annotated[Number, Field(gt=0, le=10**6)]
Exponent = Annotated[Number, Field(ge=0, le=10)]
Count = Annotated[int, Field(ge=1, le=10_000)]


class Axes(BaseModel):
    """The values of each axis, in ascending order; none of an axis that stays as it is.

    `compute` factors of every device's speed; `bandwidth` of every cell's uplink in Hz, its downlink in
    proportion; `heterogeneity` exponents of every device's speed over the fleet's geometric mean (0 makes all
    alike, 1 changes nothing); `clients` numbers of clients.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    compute: tuple[Factor, ...] = ()
    bandwidth: tuple[Frequency, ...] = ()
    heterogeneity: tuple[Exponent, ...] = ()
    clients: tuple[Count, ...] = ()

    @model_validator(mode="after")
    def _some(self) -> "Axes":
        if not any(self.values.values()):
            raise MisfitError("", None, f"values of {COMPUTE}, {BANDWIDTH}, {HETEROGENEITY} or {CLIENTS}")
        return self

    @property
    def values(self) -> dict[str, list[float]]:
        """By axis, ascending, each once."""
        return {axis: sorted(set(values)) for axis, values in self}


def checked_axes(fields: Mapping[str, Any]) -> Axes:
    """`fields` as axes. Raises InputError if one is wrong."""
    try:
        return Axes.model_validate(fields)
    except ValidationError as error:
        raise first_error("sweep", error) from error


def scenario_at(scenario: Scenario, axis: str, value: float) -> Scenario:
    """The scenario at a value of an axis.

    Raises:
        InputError: it has no meaning there; names the field.
    """
    return _AT[axis](scenario, value)


def _faster(scenario: Scenario, factor: float) -> Scenario:
    return _with_speeds(scenario, lambda speed: speed * factor)


def _spread(scenario: Scenario, exponent: float) -> Scenario:
    speeds = [member.device.flops_per_s for member in scenario.members()]
    middle = float(np.exp(np.mean(np.log(speeds))))
    return _with_speeds(scenario, lambda speed: middle * (speed / middle) ** exponent)


def _with_speeds(scenario: Scenario, change: Callable[[float], float]) -> Scenario:
    """With every client's device replaced by one as large whose speed is changed."""
    device = {member.group: member.device for member in scenario.members()}
    groups = []
    for group in scenario.clients:
        old = device[group.id]
        new = CustomDevice(
            name=old.name, throughput=change(old.flops_per_s), memory=old.memory_bytes, power=old.power_w
        )
        groups.append(group.model_copy(update={"device": new}))
    return scenario.model_copy(update={"clients": tuple(groups)})


def _with_bandwidth(scenario: Scenario, bandwidth_hz: float) -> Scenario:
    for number, group in enumerate(scenario.clients):
        if group.link is not None:  # its received power is unknown but for the bandwidth it was measured on
            expected = "a distance, where bandwidth is swept"
            raise InputError(scenario.name, f"clients.{number}.link", group.link, expected)
    cells = [
        cell.model_copy(
            update={"bandwidth": bandwidth_hz, "downlink": cell.downlink * bandwidth_hz / cell.bandwidth}
        )
        for cell in scenario.cells
    ]
    return scenario.model_copy(update={"cells": tuple(cells)})


def _with_clients(scenario: Scenario, count: float) -> Scenario:
    """With groups as large in proportion, to the nearest whole clients; groups may go."""
    counts = _in_proportion([group.count for group in scenario.clients], int(count))
    weight = {member.group: member.weight for member in scenario.members()}
    all_of_them = sum(weight[group.id] * many for group, many in zip(scenario.clients, counts, strict=True))

    def resized(group: ClientGroup, many: int) -> ClientGroup:
        return group.model_copy(update={"count": many, "share": weight[group.id] / all_of_them})

    groups = [resized(*pair) for pair in zip(scenario.clients, counts, strict=True) if pair[1]]
    return scenario.model_copy(update={"clients": tuple(groups)})


def _in_proportion(sizes: list[int], total: int) -> list[int]:
    """Whole numbers that sum to `total`, by the largest remainders."""
    exact = np.array(sizes) * total / sum(sizes)
    found = np.floor(exact).astype(int)
    missing = total - int(found.sum())
    found[np.argsort(found - exact, kind="stable")[:missing]] += 1
    return [int(many) for many in found]


_AT: dict[str, Callable[[Scenario, float], Scenario]] = {
    COMPUTE: _faster,
    BANDWIDTH: _with_bandwidth,
    HETEROGENEITY: _spread,
    CLIENTS: _with_clients,
}
