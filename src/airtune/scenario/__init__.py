"""What the user writes: who takes part, where, with which model, data and method. Read by `scenario_file`."""

from airtune.scenario.clients import Cell, Client, ClientGroup, CustomDevice, Radio
from airtune.scenario.faults import Faults
from airtune.scenario.learning import (
    PROJECTIONS,
    TASKS,
    Lora,
    ModelChoice,
    Partition,
    Payload,
    Privacy,
    Task,
    Training,
)
from airtune.scenario.scenario import CRITERIA, Convergence, Scenario, known_method

__all__ = [
    "CRITERIA",
    "PROJECTIONS",
    "TASKS",
    "Cell",
    "Client",
    "ClientGroup",
    "Convergence",
    "CustomDevice",
    "Faults",
    "Lora",
    "ModelChoice",
    "Partition",
    "Payload",
    "Privacy",
    "Radio",
    "Scenario",
    "Task",
    "Training",
    "known_method",
]
