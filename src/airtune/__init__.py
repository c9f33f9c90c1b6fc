"""airtune: fast federated fine-tuning of large language models over wireless networks.

`load_scenario` reads an experiment, `plan` chooses pruning rates and bandwidth, `run` fine-tunes,
`compare` plays methods side by side, `sweep` moves a comparison to other devices and links.
Everything is imported on first use: planning never loads torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from airtune.version import __version__

if TYPE_CHECKING:
    from airtune.api import compare, plan, run, sweep
    from airtune.errors import AirtuneError, InfeasibleError, InputError
    from airtune.planning import Plan, Problem
    from airtune.scenario import Scenario
    from airtune.scenario_file import load_scenario

__all__ = [
    "AirtuneError",
    "InfeasibleError",
    "InputError",
    "Plan",
    "Problem",
    "Scenario",
    "__version__",
    "compare",
    "load_scenario",
    "plan",
    "run",
    "sweep",
]

_HOME = {
    "AirtuneError": "errors",
    "InfeasibleError": "errors",
    "InputError": "errors",
    "Plan": "planning",
    "Problem": "planning",
    "Scenario": "scenario",
    "compare": "api",
    "load_scenario": "scenario_file",
    "plan": "api",
    "run": "api",
    "sweep": "api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'airtune' has no attribute {name!r}")
    return getattr(import_module(f"airtune.{_HOME[name]}"), name)
