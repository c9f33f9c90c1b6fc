"""Control groups on this machine, where it has any to write to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airtune import AirtuneError
from airtune.testbed.cpu_groups import PREFIX, CpuGroups, find_place, own_cores, own_group

# Joins a client's group, then says how many processor seconds it gets in one on the wall.
BUSY = """
import sys, time
from pathlib import Path
from airtune.testbed.cpu_groups import CpuGroups
with CpuGroups(Path(sys.argv[1])).inside(1):
    begin, before = time.monotonic(), time.process_time()
    while time.monotonic() < begin + 1:
        pass
    print(time.process_time() - before)
"""


@pytest.fixture
def groups():
    try:
        place = find_place()
    except AirtuneError as error:
        pytest.skip(str(error))
    if os.geteuid() != 0:
        pytest.skip("not root")
    found = CpuGroups.of_process(place, os.getpid())
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


def test_quotas_of_its_groups_limit_what_a_process_may_use(groups):
    before = own_cores()
    groups.limit(0, 0.5)
    with groups.inside(0):
        assert own_cores() == 0.5
    assert own_cores() == before >= 1


def test_a_process_goes_back_to_where_it_came_from(groups):
    before = own_group()
    with groups.inside(0):
        assert own_group() == groups.parent / "0"
        with groups.inside(1):
            assert own_group() == groups.parent / "1"
        assert own_group() == groups.parent / "0"
    assert own_group() == before


def test_groups_that_a_killed_testbed_left_are_removed(groups):
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = CpuGroups.of_process(groups.parent.parent, gone.pid)
    left.make(1)
    # Of another namespace's processes nobody here knows which are gone.
    others = groups.parent.with_name(f"{PREFIX}1-{gone.pid}")
    others.mkdir()
    try:
        groups.remove()
        groups.make(2)
        assert not left.parent.exists()
        assert others.exists()
    finally:
        others.rmdir()


# -- What other machines are like, in folders that look like theirs ----------------------------------------


class Machine:
    """A folder with mounts of control groups, and a process in one of the groups."""

    def __init__(self, home: Path) -> None:
        self.home, self.proc = home, home / "proc"
        self.proc.mkdir()
        self.mounts: list[str] = []

    def mount(self, kind: str, options: str, place: str, root: str = "/") -> None:
        line = f"30 20 0:26 {root} {self.home / place} rw,nosuid shared:9 - {kind} {kind} rw,{options}"
        self.mounts.append(line)
        (self.proc / "mountinfo").write_text("\n".join(self.mounts) + "\n")

    def group(self, place: str, **files: str) -> Path:
        """A group under version 2; the keywords are its files."""
        made = self.home / place
        made.mkdir(parents=True)
        for name, text in files.items():
            (made / f"cgroup.{name}").write_text(text)
        return made

    def process_in(self, *lines: str) -> None:
        (self.proc / "cgroup").write_text("\n".join(lines) + "\n")


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_the_first_version_is_taken_where_it_has_the_controller(machine):
    machine.mount("cgroup2", "nsdelegate", "unified")
    machine.mount("cgroup", "cpu,cpuacct", "cpu")
    machine.process_in("4:cpu,cpuacct:/batch", "1:name=systemd:/", "0::/batch")
    (machine.home / "cpu" / "batch").mkdir(parents=True)
    machine.group("unified/batch", controllers="hugetlb")
    assert find_place(machine.proc) == machine.home / "cpu" / "batch"


def test_a_container_sees_a_part_of_the_hierarchy(machine):
    machine.mount("cgroup", "cpu", "cpu", root="/docker/abc")
    machine.process_in("4:cpu:/docker/abc/inner")
    (machine.home / "cpu" / "inner").mkdir(parents=True)
    assert find_place(machine.proc) == machine.home / "cpu" / "inner"
    machine.process_in("4:cpu:/elsewhere")
    with pytest.raises(AirtuneError, match="no writable control groups"):
        find_place(machine.proc)


def test_a_group_without_the_controller_leaves_it_to_the_next_above(machine):
    machine.mount("cgroup2", "", "all")
    machine.process_in("0::/user/session")
    machine.group("all", controllers="cpuset cpu io")
    user = machine.group("all/user", controllers="cpu")
    machine.group("all/user/session", controllers="")
    assert find_place(machine.proc) == user
    (user / "cgroup.controllers").write_text("memory")
    assert find_place(machine.proc) == machine.home / "all"
    (machine.home / "all" / "cgroup.controllers").write_text("io")
    with pytest.raises(AirtuneError, match="no writable control groups"):
        find_place(machine.proc)
