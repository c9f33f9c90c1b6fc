"""testbed.json: what a testbed was calibrated to be. It holds to the run's end, also where it is resumed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, ValidationError

from airtune.errors import InputError, words
from airtune.files import write_whole
from airtune.misfits import first_error
from airtune.scenario.fields import Name, Part

FACTS_FILE = "testbed.json"

Seconds = Annotated[float, Field(ge=0, le=1e9)]
Framing = Annotated[float, Field(gt=0, le=1e6)]


class ClientFacts(Part):
    """One client: processor seconds that it gets in a second, and what Flower takes of its round.

    `overhead_s` are seconds on the wall beside downloading, computing and uploading.
    """

    model_config = ConfigDict(strict=True)

    id: Name
    cores: Annotated[float, Field(gt=0, le=1)]
    overhead_s: Seconds


class Facts(Part):
    """What a testbed is like, and how much slower than simulated it runs.

    Attributes:
        factor: seconds on the wall for one simulated second, the same for devices and links.
        core_flops_per_s: of one thread in training, a processor second.
        reading_s: what the server takes from when the last update has passed its link until it has read all.
        framing_down, framing_up: bytes that links carry for every byte of the adapter, with all headers and
            what Flower says beside it.
        clients: in the order of their numbers.
    """

    model_config = ConfigDict(strict=True)

    factor: Annotated[float, Field(ge=1, le=1e9)]
    core_flops_per_s: Annotated[float, Field(gt=0, le=1e30)]
    reading_s: Seconds
    framing_down: Framing
    framing_up: Framing
    clients: Annotated[list[ClientFacts], Field(min_length=1)]

    def write(self, directory: Path) -> None:
        """Write testbed.json in one step."""
        write_whole(directory / FACTS_FILE, self.model_dump_json(indent=1) + "\n")

    @staticmethod
    def read(directory: Path) -> "Facts":
        """Read testbed.json.

        Raises:
            InputError: it cannot be read, or a field is wrong.
        """
        file = directory / FACTS_FILE
        try:
            return Facts.model_validate(json.loads(file.read_text(encoding="utf-8")))
        except ValidationError as error:
            raise first_error(file, error) from error
        except (OSError, ValueError, RecursionError) as error:
            found = words(getattr(error, "strerror", None) or "no JSON")
            raise InputError(file, "", found, "what airtune testbed has calibrated") from error

    def check_clients(self, ids: Sequence[str], directory: Path) -> None:
        """Raises InputError if these are not the clients, in this order."""
        if [client.id for client in self.clients] != list(ids):
            found = words(f"clients {', '.join(client.id for client in self.clients)}")
            raise InputError(
                directory / FACTS_FILE, "clients", found, f"{', '.join(ids)}, as in the scenario"
            )

    def simulated_overhead_s(self) -> dict[int, float]:
        """What plans and the simulated clock reckon with, by the client's number."""
        return {number: client.overhead_s / self.factor for number, client in enumerate(self.clients)}

    def lines(self) -> list[str]:
        """In sentences."""
        slowest = max(self.clients, key=lambda client: client.overhead_s)
        quotas = ", ".join(f"{client.id} {client.cores:.0%}" for client in self.clients)
        return [
            f"{self.factor:.2f} seconds on the wall for one simulated second",
            f"of a core that trains at {self.core_flops_per_s / 1e9:.4g} GFLOP/s: {quotas}",
            f"Flower takes up to {slowest.overhead_s:.1f} s a client ({slowest.id}), "
            f"{self.reading_s:.1f} s to read the last update, "
            f"{self.framing_down - 1:.1%} more bytes down and {self.framing_up - 1:.1%} up",
        ]
