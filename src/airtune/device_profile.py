"""Device profiles: what `airtune profile` (`federation.profiling`) writes down about a machine, and scenarios
read as a device.

A profile is YAML: `name`, `throughput` and `memory` as in a scenario's own devices, under `measured` the
steps that they were taken from, and as `overhead` what a process that starts takes until it can train. That
is no part of the device: a scenario reads a profile without it, and a node reports it if it starts a process
for every message (`federation.report`).
"""

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from airtune.errors import InputError, words
from airtune.misfits import first_error, shown
from airtune.plain_yaml import read_plain_yaml
from airtune.quantities import Duration
from airtune.scenario import CustomDevice


class DeviceProfile(CustomDevice):
    """A device with the measurements behind it, in whatever form. Older ones have no `overhead` (s)."""

    overhead: Duration | None = None
    measured: dict[str, Any] = Field(default_factory=dict)


def read_device(file: Path) -> dict[str, Any]:
    """All of a profile but the measurements behind it: name, throughput, memory, power and overhead.

    Raises:
        InputError: the file cannot be read or a field is wrong; names both.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        found = words(getattr(error, "strerror", None) or "bytes that are not UTF-8")
        raise InputError(file, "", found, "a device profile of airtune profile") from error
    fields = read_plain_yaml(text, file)
    if not isinstance(fields, dict):
        raise InputError(file, "", shown(fields), "a mapping with name, throughput and memory")
    try:
        return DeviceProfile.model_validate(fields).model_dump(exclude={"measured"})
    except ValidationError as error:
        raise first_error(file, error) from error
