"""Methods: who takes part, how a round is planned, how updates are merged. A new one is one entry here."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from airtune import planning
from airtune.costs.shapes import ModelShape
from airtune.planning import Pace, Plan, Problem
from airtune.planning.drop_slowest import stragglers
from airtune.pruning.adapters import Adapter, average_over_holders
from airtune.pruning.path import Reduction

Mask = npt.NDArray[np.bool_]
Updates = Iterable[tuple[float, Reduction, Mapping[str, npt.NDArray[np.float32]]]]


def everyone(problem: Problem) -> Mask:
    """All clients take part."""
    return np.ones(len(problem.weight), dtype=bool)


def all_but_stragglers(problem: Problem) -> Mask:
    """The slowest clients are left out for good."""
    return ~stragglers(problem)


@dataclass(frozen=True)
class Method:
    """`name` is also its planning rule's; `select` sees the mean channels once, before the first round."""

    name: str
    select: Callable[[Problem], Mask] = everyone
    aggregate: Callable[[Adapter, ModelShape, Updates], Adapter] = average_over_holders

    def plan(
        self,
        problem: Problem,
        participates: Mask,
        gap: float = 1e-6,
        pace: Pace = Pace(),
        error_budget: float | None = None,
    ) -> Plan:
        """The plan for one round's problem; `pace` is that of the rounds before."""
        return planning.plan(problem, self.name, gap, participates, pace, error_budget)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("joint"),
        Method("joint-online"),
        Method("jcpba"),
        Method("pruning-only"),
        Method("bandwidth-only"),
        Method("fedit"),
        Method("drop-slowest", select=all_but_stragglers),
    )
}
