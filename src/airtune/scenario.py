"""What the user writes: who takes part, where, with which model, data and method. Read by `scenario_file`."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from airtune.devices import CATALOGUE, Device
from airtune.errors import words
from airtune.misfits import MisfitError
from airtune.quantities import (
    BitRate,
    Decibel,
    Distance,
    Frequency,
    Memory,
    Number,
    Power,
    PowerDensity,
    Throughput,
)
from airtune.randomness import generator

TASKS = ("gsm_symbolic", "gsm8k", "yahoo_answers", "jsonl")
CRITERIA = ("taylor", "lora_gradient", "flap", "wanda", "magnitude", "random")
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

MOST = 10**9  # of anything counted: beyond it a number is a slip of the keyboard


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise ValueError("at most 64 letters, digits, dots, dashes and underscores, no space")
    return text


def _place(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("a name or a path")
    return text


def _label(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("text or a whole number")
    return value


Name = Annotated[str, AfterValidator(_name)]
Label = Annotated[str | int, BeforeValidator(_label)]
Place = Annotated[str, AfterValidator(_place)]
Count = Annotated[int, Field(ge=1, le=MOST, strict=True)]
Share = Annotated[Number, Field(ge=0, le=1)]


class _Part(BaseModel):
    """Unknown fields are errors, NaN and infinities too, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Cell(_Part):
    """One base station: `bandwidth` is shared by its clients' uploads, `downlink` by their downloads."""

    id: Name = "cell-0"
    bandwidth: Frequency = 10e6
    downlink: Frequency = 10e6


class Radio(_Part):
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


class CustomDevice(_Part):
    """A device that is not in the catalogue."""

    name: Name
    throughput: Throughput
    memory: Memory


class ClientGroup(_Part):
    """`count` clients alike. They stand at `distance` (a range is drawn from) or have a measured `link`."""

    id: Name
    count: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 1
    device: str | CustomDevice
    cell: Name = "cell-0"
    distance: Distance | tuple[Distance, Distance] | None = None
    link: BitRate | None = None
    memory: Memory | None = None
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


class ModelChoice(_Part):
    """`name`: smollm2-135m (embedded), tiny, a folder, or a name on the Hugging Face hub."""

    name: Place = "smollm2-135m"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"


def _rank(value: object) -> object:
    if value == "full" or (type(value) is int and 1 <= value <= 1024):
        return value
    raise ValueError("full, or a whole number from 1 to 1024")


class Lora(_Part):
    """Low-rank adapters on the named projections of every block.

    With rank "full" the projections' weights themselves are trained, and `alpha` has no meaning. Without
    `train_a` only B is trained and sent; A stays as it was drawn (FFA-LoRA, Sun et al. 2024).
    """

    rank: Annotated[int | Literal["full"], BeforeValidator(_rank)] = 16
    alpha: Annotated[Number, Field(gt=0)] = 32.0
    projections: Annotated[tuple[Literal[PROJECTIONS], ...], Field(min_length=1)] = PROJECTIONS  # type: ignore[valid-type]
    train_a: Annotated[bool, Field(strict=True)] = True

    @field_validator("projections")
    @classmethod
    def _once(cls, projections: tuple[str, ...]) -> tuple[str, ...]:
        if repeated := _repeated(projections):
            raise MisfitError("", words(f"{repeated} twice"), "each projection once")
        return projections

    @model_validator(mode="after")
    def _has_a(self) -> "Lora":
        if self.rank == "full" and not self.train_a:
            raise MisfitError("train_a", False, "true: full rank has no A")
        return self


class Task(_Part):
    """What is learnt. `data` holds the original files; without it a hub name or a generator is used."""

    name: Literal[TASKS] = "gsm_symbolic"  # type: ignore[valid-type]
    data: str | None = None
    target: Literal["topic", "answer"] = "topic"
    train_examples: Count = 2000
    test_examples: Count = 64
    calibration_examples: Annotated[int, Field(ge=4, le=MOST, strict=True)] = 32
    max_tokens: Annotated[int, Field(ge=16, le=MOST, strict=True)] = 384


class Partition(_Part):
    """Who holds which examples: at random, Dirichlet over labels, or each group the labels it names."""

    kind: Literal["iid", "dirichlet", "labels"] = "iid"
    alpha: Annotated[Number, Field(gt=0)] = 0.5


class Training(_Part):
    """One client's work in one round; up to `most_steps` where the client would wait otherwise."""

    steps: Count = 4
    most_steps: Count | None = None
    batch_size: Count = 4
    learning_rate: Annotated[Number, Field(gt=0, le=1)] = 5e-4

    @model_validator(mode="after")
    def _ordered(self) -> "Training":
        if self.most_steps is not None and self.most_steps < self.steps:
            raise MisfitError("most_steps", self.most_steps, f"at least the {self.steps} of steps")
        return self


class Payload(_Part):
    """What a client uploads: values in `format`, and of each matrix only the `keep` largest share of entries.

    Whatever loses something is applied to the change that training made, with error feedback.
    """

    format: Literal["float32", "bfloat16", "int8", "int4"] = "float32"
    keep: Annotated[Number, Field(gt=0, le=1)] = 1.0

    @property
    def is_lossless(self) -> bool:
        """Whether the trained matrices arrive as they are."""
        return self.format == "float32" and self.keep == 1


class Convergence(_Part):
    """Rounds to target loss as the planner models them: base / (1 - penalty * error).

    The error of a pruning rate is measured on calibration text and, round by round, on how unlike the others'
    gradients a client's are; then clients that together hold `anchors` of the weight train the whole model.
    Or it is `prune ** exponent` for everybody, where one is given.
    """

    base: Annotated[Number, Field(gt=0)] = 20.0
    penalty: Annotated[Number, Field(gt=0)] = 0.8
    anchors: Annotated[Number, Field(gt=0, le=1)] = 0.5
    exponent: Annotated[Number, Field(ge=1)] | None = None


class Client(_Part):
    """One client, its group unfolded. `weight` is its share of the data; weights sum to 1."""

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)

    id: str
    group: str
    device: Device
    cell: int
    distance: float | None
    link: float | None
    memory: float
    weight: float
    labels: tuple[str, ...] | None


class Scenario(_Part):
    """A whole experiment. `load_scenario` reads one; `clients` unfolds its groups."""

    name: Name = "scenario"
    seed: Annotated[int, Field(ge=0, le=2**63 - 1, strict=True)] = 0
    method: Annotated[str, AfterValidator(lambda name: known_method(name))] = "joint"
    reduction: Literal["examples", "depth", "mixed", "width"] = "examples"
    criterion: Literal[CRITERIA] = "taylor"  # type: ignore[valid-type]
    prune_max: Share = 0.7
    rounds: Count = 6
    selected: Count | None = None  # by `random-selection`, in each round
    model: ModelChoice = ModelChoice()
    lora: Lora = Lora()
    task: Task = Task()
    partition: Partition = Partition()
    training: Training = Training()
    payload: Payload = Payload()
    convergence: Convergence = Convergence()
    radio: Radio = Radio()
    cells: Annotated[tuple[Cell, ...], Field(min_length=1)] = (Cell(),)
    clients: Annotated[tuple[ClientGroup, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> "Scenario":
        cells = [cell.id for cell in self.cells]
        clients = [identifier for group in self.clients for identifier in group.ids()]
        for field, ids in (("cells", cells), ("clients", clients)):
            if repeated := _repeated(ids):
                raise MisfitError(field, words(f"the id {repeated} twice"), "ids of their own")
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

    def members(self) -> list[Client]:
        """The clients one by one, in the order written; random distances are drawn from the seed."""
        given = sum(group.count * (group.share or 0.0) for group in self.clients)
        open_count = sum(group.count for group in self.clients if group.share is None)
        cell_index = {cell.id: index for index, cell in enumerate(self.cells)}
        found = []
        for group in self.clients:
            for identifier in group.ids():
                distance = group.distance
                if isinstance(distance, tuple):
                    distance = float(generator(self.seed, "distance", identifier).uniform(*distance))
                device = _device(group.device)
                found.append(
                    Client(
                        id=identifier,
                        group=group.id,
                        device=device,
                        cell=cell_index[group.cell],
                        distance=distance,
                        link=group.link,
                        memory=group.memory or device.memory_bytes,
                        weight=group.share if group.share is not None else (1 - given) / open_count,
                        labels=None if group.labels is None else tuple(map(str, group.labels)),
                    )
                )
        return found


def _device(chosen: str | CustomDevice) -> Device:
    if isinstance(chosen, str):
        return CATALOGUE[chosen]
    return Device(chosen.name, chosen.throughput, chosen.memory, "stated", "scenario")


def known_method(method: str) -> str:
    """`method` if there is such a method; ValueError with the choice if not."""
    from airtune.methods import METHODS  # which need the planner, which this file is no part of

    if method not in METHODS:
        raise ValueError(f"one of {', '.join(METHODS)}")
    return method


def _repeated(names: Sequence[str]) -> str | None:
    """The first name that is there more than once."""
    return next((name for name, count in Counter(names).items() if count > 1), None)
