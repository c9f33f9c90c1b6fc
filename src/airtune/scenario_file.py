"""Scenario files: reading, checking, and writing them resolved."""

import os
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from airtune.device_profile import read_device
from airtune.errors import InputError, words
from airtune.misfits import first_error, shown
from airtune.plain_yaml import read_plain_yaml
from airtune.scenario import CustomDevice, Scenario

SCENARIO = "scenario.yaml"  # in folders of runs and comparisons
BRANCHES = ("str", "int", "float", "CustomDevice")  # of the unions in a scenario


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
    except (OSError, ValueError) as error:
        found = words(getattr(error, "strerror", None) or "bytes that are not UTF-8")
        raise InputError(path, "", found, "a readable YAML file in UTF-8") from error
    if changes.get("data") is not None:
        changes["data"] = os.path.abspath(changes["data"])
    return parse_scenario(text, str(path), Path(path).parent, **changes)


def check_unchanged(path: Path, scenario: Scenario, begun: str) -> None:
    """Whether a file still holds this very scenario.

    Args:
        begun: what began with the file's, for the error: "run".

    Raises:
        InputError: it holds another one: names the first field that differs.
    """
    found = load_scenario(path)
    for field in Scenario.model_fields:
        if getattr(found, field) != getattr(scenario, field):
            different = words("another value than the given scenario's")
            raise InputError(path, field, different, f"the scenario this {begun} began with")


def parse_scenario(text: str, file: str = "scenario", folder: Path = Path(), **changes: Any) -> Scenario:
    """`load_scenario` for text at hand; `file` names it in errors, paths in it start at `folder`."""
    fields = read_plain_yaml(text, file)
    if not isinstance(fields, dict):
        raise InputError(file, "", shown(fields), "a mapping of fields")
    task_changes = {"name": changes.pop("task", None), "data": changes.pop("data", None)}
    fields |= {key: value for key, value in changes.items() if value is not None}
    task_changes = {key: value for key, value in task_changes.items() if value is not None}
    if task_changes and isinstance(fields.setdefault("task", {}), dict):
        fields["task"] = fields["task"] | task_changes
    _read_devices(fields.get("clients"), file, folder)
    try:
        scenario = Scenario.model_validate(fields)
    except ValidationError as error:
        raise first_error(file, error, BRANCHES) from error
    changed: dict[str, Any] = {}
    if scenario.task.data:
        place = _place(file, "task.data", folder, scenario.task.data)
        changed["task"] = scenario.task.model_copy(update={"data": place})
    model = _place(file, "model.name", folder, scenario.model.name)
    if os.sep in scenario.model.name and os.path.isdir(model):
        changed["model"] = scenario.model.model_copy(update={"name": model})
    return scenario.model_copy(update=changed)


def _read_devices(clients: Any, file: str, folder: Path) -> None:
    """Put what a device profile says where a group of clients names its file."""
    for number, group in enumerate(clients if isinstance(clients, list) else []):
        device = group.get("device") if isinstance(group, dict) else None
        if isinstance(device, str) and device.endswith(".yaml"):
            known = read_device(Path(_place(file, f"clients.{number}.device", folder, device)))
            group["device"] = {name: known[name] for name in CustomDevice.model_fields}


def _place(file: str, field: str, folder: Path, name: str) -> str:
    """A path as the scenario means it: from its own folder, or from the user's home."""
    try:
        return os.path.abspath(folder / os.path.expanduser(name))
    except ValueError as error:
        raise InputError(file, field, name, "a path") from error


def configured_scenario(value: str) -> Scenario:
    """The scenario of a Flower run configuration: YAML of more than one line, or the name of a file.

    The file is looked for here and in the Flower app's folder, which Flower puts on Python's path.

    Raises:
        InputError: as `load_scenario`.
    """
    if "\n" in value:
        return parse_scenario(value)
    found = (Path(folder) / value for folder in ("", *sys.path) if (Path(folder) / value).is_file())
    return load_scenario(next(found, Path(value)))


def dump_scenario(scenario: Scenario) -> str:
    """The resolved scenario as YAML: every default spelled out, SI units, loads to the same scenario."""
    # ASCII with escapes: PyYAML writes some line separators of Unicode so that they read as others.
    return yaml.safe_dump(scenario.model_dump(mode="json"), sort_keys=False)
