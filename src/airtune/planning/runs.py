"""Large fleets in runs of whole cells that fit into a core's cache, on every core.

What comes out does not depend on the number of cores: the runs are the same, and so is the order of sums.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import pairwise
from typing import TypeVar

import numpy as np

from airtune.planning.fleet import Fleet, Index

_BLOCK = 65_536  # clients times deadlines in a run
_KEPT = 2**21

_Found = TypeVar("_Found")


class Runs(AbstractContextManager["Runs"]):
    """The runs of a fleet's cells; `each` maps a task over them. To be closed."""

    def __init__(self, fleet: Fleet) -> None:
        self.ends: Index = np.append(fleet.starts, len(fleet.order))

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        # Freeing a large array tells the C library to keep memory: runs would fault their pages in each time.
        np.empty(_KEPT)
        return ThreadPoolExecutor(os.cpu_count())

    def __exit__(self, *_: object) -> None:
        if "_pool" in vars(self):
            self._pool.shutdown()

    def each(self, task: Callable[[slice], _Found], rows: int = 1) -> list[_Found]:
        """What the task finds in every run of cells, with so many deadlines at once."""

        def quiet(cells: slice) -> _Found:
            with np.errstate(all="ignore"):
                return task(cells)

        runs = self._runs(max(1, _BLOCK // rows))
        return [task(runs[0])] if len(runs) == 1 else list(self._pool.map(quiet, runs))

    def clients(self, cells: slice) -> slice:
        """The clients of neighbouring cells."""
        return slice(self.ends[cells.start], self.ends[cells.stop])

    def _runs(self, size: int) -> list[slice]:
        """Runs of whole cells with about `size` clients."""
        if self.ends[-1] <= size:
            return [slice(0, len(self.ends) - 1)]
        group = self.ends[1:] // size
        edges = np.flatnonzero(np.diff(group)) + 1
        return [slice(int(a), int(b)) for a, b in pairwise([0, *edges, len(group)])]
