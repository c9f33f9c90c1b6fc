"""What a testbed needs, of the machine and of the scenario; checked before anything is made."""

import os
import shutil
import sys
from pathlib import Path

from airtune.errors import AirtuneError
from airtune.methods import METHODS
from airtune.scenario import Scenario
from airtune.testbed.cpu_groups import CpuGroups, find_place

COMMANDS = ("ip", "tc", "unshare", "nsenter")
MOST_CLIENTS = 64


def check_machine() -> Path:
    """The control group to make groups in.

    Raises:
        AirtuneError: this is not Linux, not root, or something is missing or refused; says what.
    """
    if sys.platform != "linux":
        raise AirtuneError(f"testbed: found {sys.platform}, expected Linux: namespaces and tc are Linux's")
    if os.geteuid() != 0:
        raise AirtuneError(f"testbed: found user {os.geteuid()}, expected root, who may make namespaces")
    for command in COMMANDS:
        if shutil.which(command) is None:
            raise AirtuneError(f"testbed: found no command {command}, expected iproute2 and util-linux")
    place = find_place()
    groups = CpuGroups.of_process(place, os.getpid())
    try:  # containers may show what they do not let anybody use, and kernels have rules of their own
        groups.make(1)
        groups.limit(0, 1.0)
        with groups.inside(0):
            pass
    except OSError as error:
        raise AirtuneError(f"testbed: found no use of the control groups in {place}: {error}") from error
    finally:
        groups.remove()
    return place


def check_scenario(scenario: Scenario) -> None:
    """Refuse what has no meaning with real clients.

    Raises:
        AirtuneError: rounds without waiting, messages with more than is counted, simulated faults, or too
            many clients.
    """
    if METHODS[scenario.method].buffer is not None:
        raise AirtuneError(f"testbed: found method {scenario.method}, expected one whose rounds wait for all")
    if METHODS[scenario.method].stacks:
        raise AirtuneError(
            f"testbed: found method {scenario.method}, expected one whose messages hold only what is counted"
        )
    if not scenario.faults.none:
        raise AirtuneError("testbed: found faults in the scenario, expected none: nothing is simulated here")
    if len(scenario.members()) > MOST_CLIENTS:
        raise AirtuneError(
            f"testbed: found {len(scenario.members())} clients, expected at most {MOST_CLIENTS}"
        )
