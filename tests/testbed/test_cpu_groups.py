"""Control groups on this machine, where it has any to write to."""

import os
import subprocess
import sys

import pytest

from airtune import AirtuneError
from airtune.testbed.cpu_groups import CpuGroups, find_hierarchy

# Joins a client's group, then says how many processor seconds it gets in one on the wall.
BUSY = """
import sys, time
from pathlib import Path
from airtune.testbed.cpu_groups import CpuGroups
CpuGroups(Path(sys.argv[1])).join(1)
begin, before = time.monotonic(), time.process_time()
while time.monotonic() < begin + 1:
    pass
print(time.process_time() - before)
"""


@pytest.fixture
def groups():
    try:
        hierarchy = find_hierarchy()
    except AirtuneError as error:
        pytest.skip(str(error))
    if os.geteuid() != 0:
        pytest.skip("not root")
    found = CpuGroups.of_process(hierarchy, os.getpid())
    found.make(2)
    yield found
    found.remove()
    assert not found.parent.exists()


def test_a_process_gets_its_quota_and_no_more(groups):
    groups.limit(0, 0.9)
    groups.limit(1, 0.1)
    told = subprocess.run(
        [sys.executable, "-c", BUSY, str(groups.parent)], capture_output=True, text=True, check=True
    )
    assert 0 < float(told.stdout) < 0.3


def test_groups_that_a_killed_testbed_left_are_removed(groups):
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = CpuGroups.of_process(groups.parent.parent, gone.pid)
    left.make(1)
    groups.remove()
    groups.make(2)
    assert not left.parent.exists()
