"""Keeps one testbed: `python -m airtune.testbed.keeper PLAN HOME GROUPS CLIENTS`, in a network namespace of its own.

The keeper of Flower's processes (`federation.keeper`), which also makes the clients' control groups and
removes them when nobody is left in them.
"""

import sys
from pathlib import Path

from airtune.federation import keeper
from airtune.testbed.cpu_groups import CpuGroups
from airtune.testbed.network import run_all


def main() -> None:
    """Entry point."""
    groups = CpuGroups(Path(sys.argv[3]))
    try:
        groups.make(int(sys.argv[4]))
        run_all([["ip", "link", "set", "lo", "up"]])
        keeper.main()
    finally:
        groups.remove()


if __name__ == "__main__":
    main()
