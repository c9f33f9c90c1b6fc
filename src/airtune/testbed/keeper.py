"""Keeps one testbed, in a network namespace of its own.

`python -m airtune.testbed.keeper PLAN HOME GROUPS CLIENTS`

The keeper of Flower's processes (`federation.keeper`), which also makes the clients' control groups and
removes them when nobody is left in them.
"""

import os
import sys
from pathlib import Path

from airtune.federation import keeper
from airtune.testbed.cpu_groups import CpuGroups
from airtune.testbed.network import run_all

PRIORITY = 10  # of Flower's processes over training, and over what else the machine does

# One thread a client: a quota is a share of one core, and sums over more threads have other last bits.
ALONE = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
# Proxies are beyond reach here.
PROXIES = ("grpc_proxy", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")


def main() -> None:
    """Entry point."""
    groups = CpuGroups(Path(sys.argv[3]))
    os.environ |= ALONE | dict.fromkeys(PROXIES, "")
    os.nice(-PRIORITY)
    try:
        groups.make(int(sys.argv[4]))
        run_all([["ip", "link", "set", "lo", "up"]])
        keeper.main()
    finally:
        groups.remove()


if __name__ == "__main__":
    main()
