"""What the user writes: who takes part, where, with which model, data and method. YAML, validated."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from airtune.devices import CATALOGUE, Device
from airtune.errors import InputError, words
from airtune.quantities import (
    BitRate,
    Decibel,
    Distance,
    Frequency,
    Memory,
    Power,
    PowerDensity,
    Throughput,
)
from airtune.randomness import generator

TASKS = ("gsm_symbolic", "gsm8k", "yahoo_answers", "jsonl")
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
Count = Annotated[int, Field(ge=1, strict=True)]
Share = Annotated[float, Field(ge=0, le=1)]


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


class CustomDevice(_Part):
    """A device that is not in the catalogue."""

    name: Name
    throughput: Throughput
    memory: Memory


class ClientGroup(_Part):
    """`count` clients alike. They stand at `distance` (a range is drawn from) or have a measured `link`."""

    id: Name
    count: Count = 1
    device: str | CustomDevice
    cell: Name = "cell-0"
    distance: Distance | tuple[Distance, Distance] | None = None
    link: BitRate | None = None
    memory: Memory | None = None
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    labels: tuple[str | int, ...] | None = None

    @field_validator("device")
    @classmethod
    def _known(cls, device: str | CustomDevice) -> str | CustomDevice:
        if isinstance(device, str) and device not in CATALOGUE:
            raise ValueError(f"one of {', '.join(CATALOGUE)}, or name, throughput and memory")
        return device

    @model_validator(mode="after")
    def _placed(self) -> "ClientGroup":
        if (self.distance is None) == (self.link is None):
            raise ValueError("either distance or link")
        if isinstance(self.distance, tuple) and self.distance[0] > self.distance[1]:
            raise ValueError("a distance range from near to far")
        return self


class ModelChoice(_Part):
    """`name`: smollm2-135m (embedded), tiny, a folder, or a name on the Hugging Face hub."""

    name: str = "smollm2-135m"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"


class Lora(_Part):
    """Low-rank adapters on the named projections of every block."""

    rank: Annotated[int, Field(ge=1, le=1024, strict=True)] = 16
    alpha: Annotated[float, Field(gt=0)] = 32.0
    projections: tuple[Literal[PROJECTIONS], ...] = PROJECTIONS  # type: ignore[valid-type]

    @field_validator("projections")
    @classmethod
    def _some(cls, projections: tuple[str, ...]) -> tuple[str, ...]:
        if not projections or len(set(projections)) < len(projections):
            raise ValueError("at least one projection, each named once")
        return projections


class Task(_Part):
    """What is learnt. `data` holds the original files; without it a hub name or a generator is used."""

    name: Literal[TASKS] = "gsm_symbolic"  # type: ignore[valid-type]
    data: str | None = None
    target: Literal["topic", "answer"] = "topic"
    train_examples: Count = 2000
    test_examples: Count = 64
    calibration_examples: Annotated[int, Field(ge=4, strict=True)] = 32
    max_tokens: Annotated[int, Field(ge=16, strict=True)] = 384


class Partition(_Part):
    """Who holds which examples: at random, Dirichlet over labels, or each group the labels it names."""

    kind: Literal["iid", "dirichlet", "labels"] = "iid"
    alpha: Annotated[float, Field(gt=0)] = 0.5


class Training(_Part):
    """One client's work in one round."""

    steps: Count = 4
    batch_size: Count = 4
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 5e-4


class Convergence(_Part):
    """Rounds to target loss as the planner models them: base / (1 - penalty * error)."""

    base: Annotated[float, Field(gt=0)] = 20.0
    penalty: Annotated[float, Field(gt=0)] = 0.8


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
    seed: Annotated[int, Field(ge=0, strict=True)] = 0
    method: str = "joint"
    reduction: Literal["width", "depth", "mixed"] = "mixed"
    prune_max: Share = 0.9
    rounds: Count = 6
    model: ModelChoice = ModelChoice()
    lora: Lora = Lora()
    task: Task = Task()
    partition: Partition = Partition()
    training: Training = Training()
    convergence: Convergence = Convergence()
    radio: Radio = Radio()
    cells: tuple[Cell, ...] = (Cell(),)
    clients: Annotated[tuple[ClientGroup, ...], Field(min_length=1)]

    @field_validator("method")
    @classmethod
    def _known(cls, method: str) -> str:
        from airtune.methods import METHODS  # which need the planner, which this file is no part of

        if method not in METHODS:
            raise ValueError(f"one of {', '.join(METHODS)}")
        return method

    @model_validator(mode="after")
    def _consistent(self) -> "Scenario":
        cells = Counter(cell.id for cell in self.cells)
        for name, what in ((cells, "cells"), (Counter(group.id for group in self.clients), "clients")):
            repeated = [identifier for identifier, count in name.items() if count > 1]
            if repeated:
                raise ValueError(f"{what} with ids of their own, not {repeated[0]} twice")
        for group in self.clients:
            if group.cell not in cells:
                raise ValueError(f"clients.{group.id}.cell to be one of {', '.join(cells)}")
        shares = [group.share for group in self.clients]
        given = sum(group.count * (group.share or 0.0) for group in self.clients)
        if all(share is not None for share in shares) and abs(given - 1) > 1e-6:
            raise ValueError(f"the clients' shares to sum to 1, not {given:.6g}")
        if any(share is None for share in shares) and given >= 1:
            raise ValueError(f"a sum of shares below 1 where some clients have none, not {given:.6g}")
        if self.partition.kind == "labels" and any(group.labels is None for group in self.clients):
            raise ValueError("labels for every group where partition.kind is labels")
        return self

    def members(self) -> list[Client]:
        """The clients one by one, in the order written; random distances are drawn from the seed."""
        given = sum(group.count * (group.share or 0.0) for group in self.clients)
        open_count = sum(group.count for group in self.clients if group.share is None)
        cell_index = {cell.id: index for index, cell in enumerate(self.cells)}
        found = []
        for group in self.clients:
            for number in range(group.count):
                identifier = group.id if group.count == 1 else f"{group.id}-{number}"
                distance = group.distance
                if isinstance(distance, tuple):
                    distance = float(generator(self.seed, "distance", identifier).uniform(*distance))
                device = group.device
                if isinstance(device, CustomDevice):
                    device = Device(device.name, device.throughput, device.memory, "scenario")
                else:
                    device = CATALOGUE[device]
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


class _UniqueKeys(yaml.SafeLoader):
    """A safe loader that refuses a mapping with the same key twice instead of keeping the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_scenario(path: str | Path, **changes: Any) -> Scenario:
    """Read and check a scenario file.

    Args:
        path: YAML file.
        changes: fields that replace the file's, as the command line gives them; `task="gsm8k"` and
            `data="folder"` reach into `task`.

    Raises:
        InputError: the file cannot be read, is not YAML, or a field is wrong.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, "", words(type(error).__name__), "a readable YAML file in UTF-8") from error
    folder = Path(path).parent
    if changes.get("data") is not None:
        changes["data"] = str(Path(changes["data"]).resolve())
    return parse_scenario(text, str(path), folder, **changes)


def parse_scenario(text: str, file: str = "scenario", folder: Path = Path(), **changes: Any) -> Scenario:
    """`load_scenario` for text at hand; `file` names it in errors, data paths in it start at `folder`."""
    try:
        fields = yaml.load(text, _UniqueKeys)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        raise InputError(file, place, words(problem), "valid YAML") from error
    if not isinstance(fields, dict):
        raise InputError(file, "", words(type(fields).__name__), "a mapping of fields")
    task_changes = {"name": changes.pop("task", None), "data": changes.pop("data", None)}
    if isinstance(fields.get("task"), dict) and isinstance(fields["task"].get("data"), str):
        fields["task"] = fields["task"] | {"data": str((folder / fields["task"]["data"]).resolve())}
    fields |= {key: value for key, value in changes.items() if value is not None}
    task_changes = {key: value for key, value in task_changes.items() if value is not None}
    if task_changes and isinstance(fields.setdefault("task", {}), dict):
        fields["task"] = fields["task"] | task_changes
    try:
        return Scenario.model_validate(fields)
    except ValidationError as error:
        raise _first_error(file, error) from error


def dump_scenario(scenario: Scenario) -> str:
    """The resolved scenario as YAML: every default spelled out, SI units, loads to the same scenario."""
    return yaml.safe_dump(scenario.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _first_error(file: str, error: ValidationError) -> InputError:
    """The first problem in the user's words: pydantic's places and messages, with the value found."""
    # A union reports every branch; the deepest place is the one the user meant.
    first = max(error.errors(), key=lambda item: len(item["loc"]))
    place = ".".join(str(word) for word in first["loc"] if not _is_branch(str(word)))
    kind = first["type"]
    if kind == "extra_forbidden":
        return InputError(file, place, words("an unknown field"), "a field of the scenario (airtune init lists them)")
    if kind == "missing":
        return InputError(file, place, words("nothing"), "a value")
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    found = first["input"] if not isinstance(first["input"], dict | list) else words(f"a {type(first['input']).__name__}")
    return InputError(file, place, found, message)


def _is_branch(word: str) -> bool:
    """Whether a piece of pydantic's location names a branch of a union rather than a field."""
    return word in ("str", "float", "CustomDevice") or "[" in word
