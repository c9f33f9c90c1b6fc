"""A whole experiment, and how its clients unfold."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from airtune.devices import CATALOGUE, Device
from airtune.errors import words
from airtune.misfits import MisfitError
from airtune.quantities import Number
from airtune.randomness import generator
from airtune.scenario.clients import Cell, Client, ClientGroup, CustomDevice, Radio
from airtune.scenario.faults import Faults
from airtune.scenario.fields import Count, Name, Part, Share, first_repeated
from airtune.scenario.learning import (
    PROJECTIONS,
    Lora,
    ModelChoice,
    Partition,
    Payload,
    Privacy,
    Task,
    Training,
)

CRITERIA = ("taylor", "lora_gradient", "flap", "wanda", "magnitude", "random")


class Convergence(Part):
    """Rounds to target loss as the planner models them: base / (1 - penalty * error).

    The error of a pruning rate is measured on calibration text and, round by round, on how unlike the others'
    gradients a client's are; then clients that together hold `anchors` of the weight train the whole model.
    Or it is `prune ** exponent` for everybody, where one is given.
    """

    base: Annotated[Number, Field(gt=0)] = 20.0
    penalty: Annotated[Number, Field(gt=0)] = 0.8
    anchors: Annotated[Number, Field(gt=0, le=1)] = 0.5
    exponent: Annotated[Number, Field(ge=1)] | None = None


class Scenario(Part):
    """A whole experiment. `load_scenario` reads one; `clients` unfolds its groups."""

    name: Name = "scenario"
    seed: Annotated[int, Field(ge=0, le=2**63 - 1, strict=True)] = 0
    method: Annotated[str, AfterValidator(lambda name: known_method(name))] = "joint"
    reduction: Literal["examples", "depth", "mixed", "width"] = "examples"
    criterion: Literal[CRITERIA] = "taylor"  # type: ignore[valid-type]
    prune_max: Share = 0.7
    bandwidth: Literal["own", "optimal"] = "own"  # the method's own shares, or those that end a round soonest
    rounds: Count = 6
    selected: Count | None = None  # by `random-selection`, in each round
    model: ModelChoice = ModelChoice()
    lora: Lora = Lora()
    task: Task = Task()
    partition: Partition = Partition()
    training: Training = Training()
    payload: Payload = Payload()
    privacy: Privacy | None = None
    convergence: Convergence = Convergence()
    radio: Radio = Radio()
    cells: Annotated[tuple[Cell, ...], Field(min_length=1)] = (Cell(),)
    clients: Annotated[tuple[ClientGroup, ...], Field(min_length=1)]
    faults: Faults = Faults()
    _devices: Mapping[int, Device] = PrivateAttr(default_factory=dict)
    _overhead_s: Mapping[int, float] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> "Scenario":
        cells = [cell.id for cell in self.cells]
        clients = [identifier for group in self.clients for identifier in group.ids()]
        for field, ids in (("cells", cells), ("clients", clients)):
            if repeated := first_repeated(ids):
                raise MisfitError(field, words(f"the id {repeated} twice"), "ids of their own")
        self.faults.check(list(dict.fromkeys([*(group.id for group in self.clients), *clients])))
        given = sum(group.count * (group.share or 0.0) for group in self.clients)
        everyone = all(group.share is not None for group in self.clients)
        if (everyone and abs(given - 1) > 1e-6) or (not everyone and given >= 1):
            expected = "shares that sum to 1" if everyone else "less than 1, as some clients have no share"
            raise MisfitError("clients", words(f"shares that sum to {given:.6g}"), expected)
        halves = {name in PROJECTIONS[:4] for name in self.lora.projections}
        if self.criterion == "lora_gradient" and self.reduction == "width" and len(halves) < 2:
            found = words(", ".join(self.lora.projections))
            raise MisfitError("lora.projections", found, "some of attention and some of the MLP")
        if self.criterion == "lora_gradient" and self.reduction == "width" and self.lora.rank == "full":
            raise MisfitError("criterion", self.criterion, "another criterion, as full rank has no adapters")
        for number, group in enumerate(self.clients):
            if group.cell not in cells:
                raise MisfitError(f"clients.{number}.cell", group.cell, f"one of {', '.join(cells)}")
            if self.partition.kind == "labels" and group.labels is None:
                raise MisfitError(f"clients.{number}.labels", None, "labels, as partition.kind is labels")
        return self

    def with_nodes(self, devices: Mapping[int, Device], overhead_s: Mapping[int, float]) -> "Scenario":
        """This scenario, but that clients (by number) have other devices or overheads than their groups'."""
        found = self.model_copy()
        found._devices, found._overhead_s = devices, overhead_s
        return found

    def members(self) -> list[Client]:
        """The clients one by one, in the order written; random distances are drawn from the seed."""
        given = sum(group.count * (group.share or 0.0) for group in self.clients)
        open_count = sum(group.count for group in self.clients if group.share is None)
        cell_index = {cell.id: index for index, cell in enumerate(self.cells)}
        found: list[Client] = []
        for group in self.clients:
            for identifier in group.ids():
                distance = group.distance
                if isinstance(distance, tuple):
                    distance = float(generator(self.seed, "distance", identifier).uniform(*distance))
                device = self._devices.get(len(found)) or _device(group.device)
                found.append(
                    Client(
                        id=identifier,
                        group=group.id,
                        device=device,
                        cell=cell_index[group.cell],
                        distance=distance,
                        link=group.link,
                        memory=group.memory or device.memory_bytes,
                        power=group.power or device.power_w,
                        overhead_s=self._overhead_s.get(len(found), group.overhead),
                        weight=group.share if group.share is not None else (1 - given) / open_count,
                        labels=None if group.labels is None else tuple(map(str, group.labels)),
                    )
                )
        return found


def _device(chosen: str | CustomDevice) -> Device:
    if isinstance(chosen, str):
        return CATALOGUE[chosen]
    return Device(chosen.name, chosen.throughput, chosen.memory, "stated", "scenario", chosen.power)


def known_method(method: str) -> str:
    """`method` if there is such a method; ValueError with the choice if not."""
    from airtune.methods import METHODS  # which need the planner, which this file is no part of

    if method not in METHODS:
        raise ValueError(f"one of {', '.join(METHODS)}")
    return method
