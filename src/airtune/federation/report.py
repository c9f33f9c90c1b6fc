"""What a node says of itself when it is asked: which client it is, and what its device can do.

The latter has been measured there: it comes from a file of `airtune profile` that the node's configuration
names (`profile`). A node that loads everything once (`federation.warm_node`) leaves out what a process takes
to start, as none of its own do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from flwr.app import ConfigRecord, Context, RecordDict
from pydantic import ConfigDict, Field, ValidationError

from airtune.device_profile import read_device
from airtune.devices import Device
from airtune.errors import AirtuneError, tamed
from airtune.federation.warm_node import is_warm
from airtune.misfits import first_error
from airtune.scenario.fields import Name, Part


class ReportedDevice(Part):
    """A device as a node reports it, in FLOP/s, bytes, W and s. Nothing beyond these bounds is believed."""

    model_config = ConfigDict(strict=True)

    name: Name
    throughput: Annotated[float, Field(ge=1e3, le=1e18)]
    memory: Annotated[float, Field(ge=1e3, le=1e18)]
    power: Annotated[float, Field(ge=1e-6, le=1e9)] | None = None
    overhead: Annotated[float, Field(ge=0, le=1e6)] | None = None

    @staticmethod
    def read(fields: Mapping[str, Any], whose: str) -> "ReportedDevice":
        """The device of these fields. Raises InputError where one is wrong; `whose` they are begins it."""
        try:
            return ReportedDevice.model_validate(dict(fields))
        except ValidationError as error:
            raise first_error(whose, error) from error

    def device(self) -> Device:
        """As planners and clocks see it."""
        return Device(self.name, self.throughput, self.memory, "measured", "its node", self.power, "its node")


@dataclass(frozen=True)
class Report:
    """A node is `client`, with this `device` if it reports one.

    `refused` says what is wrong with a report that cannot be: the node takes part, as what the scenario says.
    """

    client: int
    device: ReportedDevice | None = None
    refused: str | None = None

    @staticmethod
    def of_node(context: Context) -> "Report":
        """What the node of this context has to say. A profile that cannot be read is told, not raised."""
        client, file = int(context.node_config["partition-id"]), context.node_config.get("profile")
        if not file:
            return Report(client)
        try:
            known = ReportedDevice.read(read_device(Path(str(file))), str(file))
            return Report(client, known.model_copy(update={"overhead": None}) if is_warm() else known)
        except AirtuneError as error:
            return Report(client, refused=str(error))

    def to_content(self) -> RecordDict:
        """As a RecordDict."""
        content = RecordDict({"profile": ConfigRecord({"partition-id": self.client})})
        if self.device is not None:
            content["device"] = ConfigRecord(self.device.model_dump(exclude_none=True))
        if self.refused is not None:
            content["refused"] = ConfigRecord({"reason": self.refused})
        return content

    @staticmethod
    def from_content(content: RecordDict) -> "Report":
        """The other way. Raises AirtuneError if it does not say which client it is."""
        try:
            client = int(content.config_records["profile"]["partition-id"])  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise AirtuneError("a reply that does not say which client it is") from None
        try:
            if "refused" in content.config_records:
                return Report(client, refused=tamed(str(content.config_records["refused"].get("reason"))))
            if "device" in content.config_records:
                fields = content.config_records["device"]
                return Report(client, ReportedDevice.read(fields, "its report"))
        except AirtuneError as error:
            return Report(client, refused=tamed(str(error)))
        return Report(client)
