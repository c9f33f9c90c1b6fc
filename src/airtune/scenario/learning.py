"""What is learnt, and how: model, adapters, task, partition, local training and what is uploaded of it."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from airtune.errors import words
from airtune.misfits import MisfitError
from airtune.quantities import Number
from airtune.scenario.fields import MOST, Count, Part, Place, first_repeated

TASKS = ("gsm_symbolic", "gsm8k", "yahoo_answers", "jsonl")
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class ModelChoice(Part):
    """`name`: smollm2-135m (embedded), tiny, a folder, or a name on the Hugging Face hub."""

    name: Place = "smollm2-135m"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"


def _rank(value: object) -> object:
    if value == "full" or (type(value) is int and 1 <= value <= 1024):
        return value
    raise ValueError("full, or a whole number from 1 to 1024")


class Lora(Part):
    """Low-rank adapters on the named projections of every block.

    With rank "full" the projections' weights themselves are trained, and `alpha` has no meaning. Without
    `train_a` only B is trained and sent; A stays as it was drawn (FFA-LoRA, Sun et al. 2024).
    """

    rank: Annotated[int | Literal["full"], BeforeValidator(_rank)] = 16
    alpha: Annotated[Number, Field(gt=0)] = 32.0
    projections: Annotated[tuple[Literal[PROJECTIONS], ...], Field(min_length=1)] = PROJECTIONS  # type: ignore[valid-type]
    train_a: Annotated[bool, Field(strict=True)] = True

    @property
    def scale(self) -> float:
        """What the product of B and A counts: α over the rank."""
        if self.rank == "full":
            return 1.0
        return float(self.alpha) / self.rank

    @field_validator("projections")
    @classmethod
    def _once(cls, projections: tuple[str, ...]) -> tuple[str, ...]:
        if repeated := first_repeated(projections):
            raise MisfitError("", words(f"{repeated} twice"), "each projection once")
        return projections

    @model_validator(mode="after")
    def _has_a(self) -> "Lora":
        if self.rank == "full" and not self.train_a:
            raise MisfitError("train_a", False, "true: full rank has no A")
        return self


class Task(Part):
    """What is learnt. `data` holds the original files; without it a hub name or a generator is used."""

    name: Literal[TASKS] = "gsm_symbolic"  # type: ignore[valid-type]
    data: str | None = None
    target: Literal["topic", "answer"] = "topic"
    train_examples: Count = 2000
    test_examples: Count = 64
    calibration_examples: Annotated[int, Field(ge=4, le=MOST, strict=True)] = 32
    max_tokens: Annotated[int, Field(ge=16, le=MOST, strict=True)] = 384


class Partition(Part):
    """Who holds which examples: at random, Dirichlet over labels, or each group the labels it names."""

    kind: Literal["iid", "dirichlet", "labels"] = "iid"
    alpha: Annotated[Number, Field(gt=0)] = 0.5


class Training(Part):
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


class Privacy(Part):
    """Differential privacy of clients' updates (`airtune.privacy`).

    An update is clipped to the L2 norm `clip`; in every coordinate it gets Gaussian noise whose standard
    deviation is `noise` times that. `delta` is the one at which epsilon is told.
    """

    clip: Annotated[Number, Field(ge=1e-9, le=1e9)]
    noise: Annotated[Number, Field(ge=1e-6, le=1e3)]
    delta: Annotated[Number, Field(gt=0, lt=1)] = 1e-5


class Payload(Part):
    """What a client uploads: values in `format`, and of each matrix only the `keep` largest share of entries.

    What loses something is applied to the change that training made. Rounding is right in the mean; what
    top-k leaves out, the client owes, and it joins its next upload. `download` is the format of the adapters
    that clients are sent.
    """

    format: Literal["float32", "bfloat16", "int8", "int4"] = "int8"
    keep: Annotated[Number, Field(gt=0, le=1)] = 1.0
    download: Literal["float32", "bfloat16"] = "bfloat16"

    @property
    def is_lossless(self) -> bool:
        """Whether the trained matrices are sent as they are."""
        return self.format == "float32" and self.keep == 1

    @property
    def owes(self) -> bool:
        """Whether uploads leave something out that later ones make up for."""
        return self.keep < 1
