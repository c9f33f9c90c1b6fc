"""Control groups of Linux that give every client a quota of processor time, under version 1 or 2."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from airtune.errors import AirtuneError

PREFIX = "airtune-"
PERIOD_US = 100_000  # the kernel's own default
LEAST_US = 1_000  # the least quota that it takes


def find_hierarchy() -> Path:
    """Where groups with CPU quotas can be made: the root of version 1's cpu controller, or of version 2.

    Raises:
        AirtuneError: there is none that this process may write to.
    """
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, place, kind, options, *_ = line.split()
        root = Path(place)
        controllers = root / "cgroup.controllers"
        found = (kind == "cgroup" and "cpu" in options.split(",")) or (
            kind == "cgroup2" and controllers.exists() and "cpu" in controllers.read_text().split()
        )
        if found and os.access(root, os.W_OK) and not os.statvfs(root).f_flag & os.ST_RDONLY:
            return root
    raise AirtuneError("testbed: found no writable control groups with CPU quotas, expected cgroup v1 or v2")


@dataclass(frozen=True)
class CpuGroups:
    """The groups of one testbed, one a client, all below the folder `parent` of the hierarchy."""

    parent: Path

    @classmethod
    def of_process(cls, hierarchy: Path, process: int) -> "CpuGroups":
        """Those that belong to a process: when it is gone, whoever comes next may remove them."""
        return cls(hierarchy / f"{PREFIX}{process}")

    def make(self, clients: int) -> None:
        """Make the groups, without a quota yet. Removes what testbeds have left that were killed.

        Raises:
            OSError: the kernel refuses.
        """
        for other in self.parent.parent.glob(f"{PREFIX}*"):
            owner = other.name.removeprefix(PREFIX)
            if owner.isdigit() and not psutil.pid_exists(int(owner)):
                CpuGroups(other).remove()
        self.remove()
        self.parent.mkdir()
        if (self.parent / "cgroup.controllers").exists():  # version 2 hands controllers down on request
            for folder in (self.parent.parent, self.parent):
                (folder / "cgroup.subtree_control").write_text("+cpu")
        for client in range(clients):
            self._group(client).mkdir()

    def limit(self, client: int, cores: float) -> None:
        """Let all processes of a client's group together compute on so many cores, 0.3 say."""
        quota = max(round(cores * PERIOD_US), LEAST_US)
        group = self._group(client)
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))

    def join(self, client: int) -> None:
        """Put this process into a client's group."""
        (self._group(client) / "cgroup.procs").write_text(str(os.getpid()))

    def leave(self) -> None:
        """Put this process back to where no testbed limits it."""
        (self.parent.parent / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self) -> None:
        """Remove the groups, in which no process may be left."""
        if not self.parent.exists():
            return
        for folder in [*(entry for entry in self.parent.iterdir() if entry.is_dir()), self.parent]:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _group(self, client: int) -> Path:
        return self.parent / str(client)
