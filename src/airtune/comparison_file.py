"""compare.json: what a comparison compares, and the runs that follow from it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
)

from airtune.budget import Budget
from airtune.errors import InputError, words
from airtune.methods import METHODS
from airtune.misfits import MisfitError, first_error
from airtune.scenario import Scenario, known_method

SETTINGS, RUNS, METRIC = "compare.json", "runs", "metric.json"  # METRIC lies in a run's folder


Spendable = Annotated[Budget, BeforeValidator(Budget.read), PlainSerializer(str)]


class Settings(BaseModel):
    """The arguments of a comparison. Seed s stands for the scenario's `seed` + s."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, serialize_by_alias=True)

    kind: Literal["airtune-compare/1"] = Field("airtune-compare/1", alias="schema")
    methods: Annotated[tuple[Annotated[str, AfterValidator(known_method)], ...], Field(min_length=1)]
    reductions: Annotated[tuple[Literal["examples", "depth", "mixed", "width"], ...], Field(min_length=1)]
    bandwidth: Annotated[tuple[Literal["own", "optimal"], ...], Field(min_length=1)] = ("own",)
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, le=10**6)], ...], Field(min_length=1)]
    target_loss: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    budget: Spendable | None = Field(None, validation_alias=AliasChoices("budget", "budget_s"))

    @field_validator("methods", "reductions", "bandwidth", "seeds")
    @classmethod
    def _once(cls, given: tuple[Any, ...]) -> tuple[Any, ...]:
        for value in given:
            if given.count(value) > 1:
                raise MisfitError("", words(f"{value} twice"), "each of them once")
        return given

    @staticmethod
    def load(directory: Path) -> "Settings":
        """Those of a comparison's folder. Raises InputError if there are none, or wrong ones."""
        file = directory / SETTINGS
        try:
            text = file.read_text(encoding="utf-8")
            fields = json.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            found = words(getattr(error, "strerror", None) or "no JSON")
            raise InputError(file, "", found, "the settings of a comparison") from error
        return checked_settings(fields, file)

    def dump(self) -> str:
        """The text of compare.json."""
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"


def checked_settings(fields: Any, file: str | Path) -> Settings:
    """`fields` as settings; `file` names where they come from. Raises InputError if one is wrong."""
    try:
        return Settings.model_validate(fields)
    except ValidationError as error:
        raise first_error(file, error, ("float", "constrained-float", "literal['auto']")) from error


@dataclass(frozen=True)
class Job:
    """One run of a comparison."""

    method: str
    reduction: str
    seed: int
    bandwidth: Literal["own", "optimal"] = "own"

    @property
    def name(self) -> str:
        """Of its folder."""
        shares = "-optimal" if self.bandwidth == "optimal" else ""
        return f"{self.method}-{self.reduction}{shares}-{self.seed}"

    def folder(self, directory: Path) -> Path:
        """Of its run, in the comparison's `directory`."""
        return directory / RUNS / self.name

    @property
    def alike(self) -> tuple[str, str, int]:
        """Jobs of which this is the same are likely to send the same clients through the same training."""
        return "" if METHODS[self.method].baseline else self.method, self.reduction, self.seed

    def scenario(self, given: Scenario) -> Scenario:
        """The scenario that this job plays. Raises InputError if it cannot be."""
        changes = {"method": self.method, "reduction": self.reduction, "bandwidth": self.bandwidth}
        try:
            return Scenario.model_validate(given.model_dump() | changes | {"seed": given.seed + self.seed})
        except ValidationError as error:
            raise first_error(f"scenario of {self.name}", error) from error


def jobs_of(settings: Settings, scenario: Scenario) -> list[Job]:
    """All runs, in an order in which jobs that are alike come late after one another.

    So the first of them has learnt what the others only clock. A method that prunes nothing is played with
    the scenario's reduction only, one that plans bandwidth or waits for no round's end with its own only.
    """
    jobs = [
        Job(method, reduction, seed, shares)
        for shares in settings.bandwidth
        for seed in settings.seeds
        for method in settings.methods
        for reduction in ((scenario.reduction,) if METHODS[method].baseline else settings.reductions)
    ]
    jobs = list(dict.fromkeys(_as_it_can_be(job, settings) for job in jobs))
    seen: dict[tuple[str, str, int], int] = {}
    turns = []
    for job in jobs:
        turns.append(seen.get(job.alike, 0))
        seen[job.alike] = turns[-1] + 1
    return [job for _, job in sorted(zip(turns, jobs, strict=True), key=lambda pair: pair[0])]


def _as_it_can_be(job: Job, settings: Settings) -> Job:
    """The job with its method's own bandwidth, where no other makes sense.

    A method that waits for no round's end is refused where nothing but "optimal" is asked for.
    """
    method = METHODS[job.method]
    own = method.shares_band or (method.buffer is not None and "own" in settings.bandwidth)
    return replace(job, bandwidth="own") if own else job


def contradiction(found: Settings, given: Settings) -> Mapping[str, tuple[object, object]]:
    """What differs, by field: (found, given)."""
    there, asked = found.model_dump(), given.model_dump()
    return {field: (there[field], asked[field]) for field in there if there[field] != asked[field]}
