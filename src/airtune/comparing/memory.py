"""How much memory is left on this machine, and how much a process has used."""

from pathlib import Path

import psutil

# What this control group may use, and what it uses: of version 2 and of version 1.
_GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def memory_left() -> int:
    """Bytes that processes can still get."""
    left = int(psutil.virtual_memory().available)
    for limit, usage in _GROUPS:
        try:
            left = min(left, int(limit.read_text()) - int(usage.read_text()))
        except (OSError, ValueError):  # no such group, or no limit ("max")
            continue
    return left


def memory_of(process: int) -> int:
    """Bytes of memory that a process holds now, 0 if it has ended."""
    try:
        return int(psutil.Process(process).memory_info().rss)
    except psutil.Error:
        return 0
