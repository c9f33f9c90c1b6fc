"""Control groups of Linux that give every client a quota of processor time, under version 1 or 2.

They are made below the group that this process is in, so whatever limits that holds for them too, and a
container needs no more of the hierarchy than it was given. Under version 2 a group that has processes may
hand controllers down to threaded groups alone ("no internal processes", in the kernel's
Documentation/admin-guide/cgroup-v2.rst), so these are threaded there; the root of all groups is exempt.
"""

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from airtune.errors import AirtuneError

PREFIX = "airtune-"
PERIOD_US = 100_000  # the kernel's own default
LEAST_US = 1_000  # the least quota that it takes


def find_place(proc: Path = Path("/proc/self")) -> Path:
    """Where groups with CPU quotas can be made: the group that this process is in.

    Under version 2 it may not have been given the cpu controller: then the next one above it that was.

    Raises:
        AirtuneError: there is none that this process may write to.
    """
    own = own_group(proc)
    if not (own / "cgroup.controllers").exists():  # version 1
        return own
    for place in [own, *own.parents]:
        controllers = place / "cgroup.controllers"
        if controllers.exists() and "cpu" in controllers.read_text(encoding="ascii").split():
            return place
    raise _none()


def own_group(proc: Path = Path("/proc/self")) -> Path:
    """The group that this process is in, in the hierarchy that has CPU quotas.

    Raises:
        AirtuneError: none is mounted that this process may write to.
    """
    paths: dict[str, str] = {}  # by controller, "" in version 2
    for line in (proc / "cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path)
    for line in (proc / "mountinfo").read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        _, _, _, root, mounted, *_ = before.split()
        kind, _, options = after.split()
        own = None
        if kind == "cgroup" and "cpu" in options.split(","):
            own = paths.get("cpu")
        elif kind == "cgroup2" and "cpu" not in paths:  # with which version 1 has it
            own = paths.get("")
        # A container may see no more of a hierarchy than its own part.
        if own is not None and Path(own).is_relative_to(root):
            group = Path(mounted) / Path(own).relative_to(root)
            if os.access(group, os.W_OK) and not os.statvfs(group).f_flag & os.ST_RDONLY:
                return group
    raise _none()


def own_cores(proc: Path = Path("/proc/self")) -> float:
    """Cores that this process may use: of its machine, as far as quotas of its groups allow.

    Raises:
        AirtuneError: as `own_group`.
    """
    own = own_group(proc)
    quotas = [_quota(group) for group in [own, *own.parents]]
    return min(float(len(os.sched_getaffinity(0))), *quotas)


@dataclass(frozen=True)
class CpuGroups:
    """The groups of one testbed, one a client, all below the folder `parent` of the hierarchy."""

    parent: Path

    @classmethod
    def of_process(cls, place: Path, process: int) -> "CpuGroups":
        """Those that belong to a process: when it is gone, whoever comes next may remove them.

        Numbers of processes mean something in their own namespace alone, so the name says which it is.
        """
        return cls(place / f"{_own_kind()}{process}")

    def make(self, clients: int) -> None:
        """Make the groups, without a quota yet. Removes what testbeds have left that were killed.

        Raises:
            OSError: the kernel refuses.
        """
        place = self.parent.parent
        for other in place.glob(f"{_own_kind()}*"):
            owner = other.name.removeprefix(_own_kind())
            if owner.isdigit() and not psutil.pid_exists(int(owner)):
                CpuGroups(other).remove()
        self.remove()
        groups = [self.parent, *map(self._group, range(clients))]
        threaded = _needs_threaded(place)
        for group in groups:
            group.mkdir()
            if threaded:
                (group / "cgroup.type").write_text("threaded")
            control = group.parent / "cgroup.subtree_control"
            if control.exists():  # version 2 hands controllers down on request
                control.write_text("+cpu")

    def limit(self, client: int, cores: float) -> None:
        """Let all processes of a client's group together compute on so many cores, 0.3 say."""
        quota = max(round(cores * PERIOD_US), LEAST_US)
        group = self._group(client)
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))

    @contextlib.contextmanager
    def inside(self, client: int) -> Iterator[None]:
        """Have this process in a client's group, and afterwards back in the one that it came from."""
        before = own_group()
        _enter(self._group(client))
        try:
            yield
        finally:
            _enter(before)

    def remove(self) -> None:
        """Remove the groups, in which no process may be left."""
        if not self.parent.exists():
            return
        for group in [*_below(self.parent), self.parent]:
            with contextlib.suppress(OSError):
                group.rmdir()
        place = self.parent.parent
        if (place / "cgroup.type").exists() and not _below(place):
            with contextlib.suppress(OSError):  # nobody is left to hand a controller down to
                (place / "cgroup.subtree_control").write_text("-cpu")

    def _group(self, client: int) -> Path:
        return self.parent / str(client)


def _quota(group: Path) -> float:
    """Cores that a group of either version is limited to; infinite where it is not."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        limited = quota != "max" and int(quota) > 0
        return int(quota) / int(period) if limited else math.inf
    except OSError:  # above the hierarchy, or its root
        return math.inf


def _none() -> AirtuneError:
    return AirtuneError("testbed: found no writable control groups with CPU quotas, expected cgroup v1 or v2")


def _own_kind() -> str:
    """What the names of groups begin with whose owners are processes of this namespace."""
    return f"{PREFIX}{os.stat('/proc/self/ns/pid').st_ino}-"


def _needs_threaded(place: Path) -> bool:
    """Whether groups below this one have to be threaded: it has processes, and is not the root of all."""
    kind = place / "cgroup.type"  # version 1 has none, and neither has the root of version 2
    return kind.exists() and ("threaded" in kind.read_text() or bool((place / "cgroup.procs").read_text()))


def _below(group: Path) -> list[Path]:
    """The groups right below one."""
    return [entry for entry in group.iterdir() if entry.is_dir()]


def _enter(group: Path) -> None:
    (group / "cgroup.procs").write_text(str(os.getpid()))
