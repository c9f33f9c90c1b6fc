"""What goes wrong in a scenario, the same for every method, and unknown to whoever plans."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, model_validator

from airtune.misfits import MisfitError
from airtune.quantities import Number
from airtune.randomness import generator
from airtune.scenario.fields import Count, Part


class Outage(Part):
    """Nothing is heard of `client` (its id, or that of its group) from round `first` on, or up to `last`."""

    client: str
    first: Count
    last: Count | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "Outage":
        if self.last is not None and self.last < self.first:
            raise MisfitError("last", self.last, f"at least the {self.first} of first")
        return self


class Slow(Part):
    """`client` (its id, or that of its group) computes `factor` times slower from round `first` on."""

    client: str
    first: Count = 1
    factor: Annotated[Number, Field(ge=1, le=1e6)]


class Faults(Part):
    """Uploads are lost with probability `upload_loss` each.

    The server merges what has arrived by `deadline` times the round that was planned.
    """

    upload_loss: Annotated[Number, Field(ge=0, le=1)] = 0.0
    deadline: Annotated[Number, Field(ge=1, le=1e6)] = 2.0
    outages: tuple[Outage, ...] = ()
    slow: tuple[Slow, ...] = ()

    @property
    def none(self) -> bool:
        """Whether nothing goes wrong."""
        return not (self.upload_loss or self.outages or self.slow)

    def check(self, names: Sequence[str]) -> None:
        """Raise MisfitError where a client is none of `names`, ids of clients and groups."""
        parts: dict[str, Sequence[Outage | Slow]] = {"outages": self.outages, "slow": self.slow}
        for kind, some in parts.items():
            for number, part in enumerate(some):
                if part.client not in names:
                    expected = f"one of {', '.join(names)}"
                    raise MisfitError(f"faults.{kind}.{number}.client", part.client, expected)

    def is_out(self, names: Sequence[str], number: int) -> bool:
        """Whether nothing is heard of the client of these names, its own and its group's, in a round."""
        return any(
            outage.client in names and outage.first <= number <= (outage.last or number)
            for outage in self.outages
        )

    def is_known_out(self, names: Sequence[str], number: int) -> bool:
        """Whether it was out in the round before too, so that the server knows."""
        return number > 1 and self.is_out(names, number) and self.is_out(names, number - 1)

    def loses_upload(self, seed: int, client: str, number: int) -> bool:
        """Whether a client's upload is lost in a round: the same with every method."""
        return bool(generator(seed, "upload-loss", number, client).random() < self.upload_loss)

    def slowdown(self, names: Sequence[str], number: int) -> float:
        """How many times slower the client of these names computes in a round."""
        found = 1.0
        for slow in self.slow:
            if slow.client in names and slow.first <= number:
                found *= slow.factor
        return found
