"""Who takes part, where: cells, radio, devices and groups of clients."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from airtune.devices import CATALOGUE, Device
from airtune.errors import words
from airtune.misfits import MisfitError
from airtune.quantities import (
    BitRate,
    Decibel,
    Distance,
    Duration,
    Frequency,
    Memory,
    Number,
    Power,
    PowerDensity,
    Throughput,
    Watt,
)
from airtune.scenario.fields import Label, Name, Part


class Cell(Part):
    """One base station: `bandwidth` is shared by its clients' uploads, `downlink` by their downloads."""

    id: Name = "cell-0"
    bandwidth: Frequency = 10e6
    downlink: Frequency = 10e6


class Radio(Part):
    """How signals travel. Shadowing is drawn once per client, fading anew each round."""

    path_loss: Literal["urban-macro"] = "urban-macro"
    shadowing: Decibel = 8.0
    fading: Literal["per-round", "ergodic", "none"] = "per-round"
    client_power: Power = 23.0
    station_power: Power = 43.0
    noise: PowerDensity = -174.0

    @property
    def rate(self) -> Literal["shannon", "ergodic-rayleigh"]:
        """The rate model that fits the fading, as problem files name it."""
        return "ergodic-rayleigh" if self.fading == "ergodic" else "shannon"


class CustomDevice(Part):
    """A device that is not in the catalogue. What it draws while it computes, `power`, may be unknown."""

    name: Name
    throughput: Throughput
    memory: Memory
    power: Watt | None = None


class ClientGroup(Part):
    """`count` clients alike. They stand at `distance` (a range is drawn from) or have a measured `link`.

    `overhead`: seconds that a round takes a client beside downloading, computing and uploading. They lie
    between download and computing, as a client starts once it has its message.
    """

    id: Name
    count: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 1
    device: str | CustomDevice
    cell: Name = "cell-0"
    distance: Distance | tuple[Distance, Distance] | None = None
    link: BitRate | None = None
    memory: Memory | None = None
    power: Watt | None = None
    overhead: Duration = 0.0
    share: Annotated[Number, Field(gt=0, le=1)] | None = None
    labels: Annotated[tuple[Label, ...], Field(min_length=1)] | None = None

    @field_validator("device", mode="before")
    @classmethod
    def _known(cls, device: Any) -> Any:
        if not isinstance(device, dict | CustomDevice) and (
            not isinstance(device, str) or device not in CATALOGUE
        ):
            raise ValueError(f"one of {', '.join(CATALOGUE)}, a profile.yaml, or name, throughput and memory")
        return device

    @field_validator("distance", mode="before")
    @classmethod
    def _one_or_two(cls, distance: Any) -> Any:
        if isinstance(distance, list | tuple) and len(distance) != 2:
            raise ValueError("one distance, or a list of two: from near to far")
        return distance

    @model_validator(mode="after")
    def _placed(self) -> "ClientGroup":
        if self.distance is None and self.link is None:
            raise MisfitError("distance", None, "a distance, or a link instead")
        if self.distance is not None and self.link is not None:
            raise MisfitError("link", self.link, "no link where there is a distance")
        if isinstance(self.distance, tuple) and self.distance[0] > self.distance[1]:
            found = words(f"{self.distance[0]:g} m to {self.distance[1]:g} m")
            raise MisfitError("distance", found, "a range from near to far")
        return self

    def ids(self) -> list[str]:
        """The ids of its clients."""
        return [self.id] if self.count == 1 else [f"{self.id}-{number}" for number in range(self.count)]


class Client(Part):
    """One client, its group unfolded. `weight` is its share of the data; weights sum to 1."""

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)

    id: str
    group: str
    device: Device
    cell: int
    distance: float | None
    link: float | None
    memory: float
    power: float | None
    overhead_s: float
    weight: float
    labels: tuple[str, ...] | None

    @property
    def names(self) -> tuple[str, str]:
        """Its own and its group's."""
        return self.id, self.group
